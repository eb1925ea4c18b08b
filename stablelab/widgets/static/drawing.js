// The chart on its canvas: colours, strokes, panels, and what stands at a step.

// Colours: those of the page for ink and ground, Okabe & Ito's (2008) for curves. Dashes and markers tell them apart too.
const ON_LIGHT = { train: "#0072B2", validation: "#D55E00", before: "#009E73", after: "#CC79A7", alarm: "#D55E00" };
const ON_DARK = { train: "#56B4E9", validation: "#E69F00", before: "#009E73", after: "#CC79A7", alarm: "#E69F00" };
const EARLIER = ["#CC79A7", "#009E73", "#E69F00", "#56B4E9"];

// The line of the i-th earlier run; a parent's is stronger than the others, in the colour of the ink.
function earlierStyle(run, i, ink = "currentColor") {
  if (run.parent) return { colour: ink, dash: [], width: 1.7, alpha: 0.62 };
  return { colour: EARLIER[i % 4], dash: i % 8 < 4 ? [] : [5, 3], width: 1.3, alpha: 0.65 };
}

// The lines of the columns.
function columnStyle(name, theme) {
  const styles = {
    loss: { colour: theme.train, width: 1, alpha: theme.dark ? 0.4 : 0.33 },
    smooth: { colour: theme.train, width: 2.2 },
    norm_before: { colour: theme.before, width: 1.3 },
    norm_after: { colour: theme.after, width: 1.4, dash: [5, 3] },
    max_norm: { colour: theme.ink, width: 1.3, dash: [9, 4], alpha: 0.85 },
    learning_rate: { colour: theme.train, width: 1.8 },
  };
  return styles[name] ?? { colour: theme.ink, width: 1.4 };
}

function luminance(colour) {
  const parts = colour.match(/[\d.]+/g);
  return parts ? (0.299 * parts[0] + 0.587 * parts[1] + 0.114 * parts[2]) / 255 : 0;
}

function readTheme(element) {
  const style = getComputedStyle(element);
  const ink = style.color;
  const dark = luminance(ink) > 0.5;
  return {
    dark,
    ink,
    ground: style.backgroundColor,
    soft: dark ? "rgba(255,255,255,0.62)" : "rgba(0,0,0,0.6)",
    grid: dark ? "rgba(255,255,255,0.14)" : "rgba(0,0,0,0.1)",
    faintGrid: dark ? "rgba(255,255,255,0.06)" : "rgba(0,0,0,0.045)",
    axis: dark ? "rgba(255,255,255,0.38)" : "rgba(0,0,0,0.35)",
    font: style.fontFamily,
    ...(dark ? ON_DARK : ON_LIGHT),
  };
}

// -- strokes: a curve through many points, a legend line, a text

// A curve through column `column` of the table. Where several points share a pixel, their lowest and highest are drawn.
function drawCurve(pen, table, column, x, y, { stepped = false } = {}) {
  pen.beginPath();
  let broken = true;
  let [pixel, low, high, last] = [null, 0, 0, 0];
  const flush = () => {
    if (pixel === null || low === high) return;
    pen.lineTo(pixel, low);
    pen.lineTo(pixel, high);
    pen.lineTo(pixel, last);
  };
  for (let i = 0; i < table.count; i++) {
    const [px, py] = [x(table.at(i, 0)), y(table.at(i, column))];
    if (!Number.isFinite(py)) {
      flush();
      [pixel, broken] = [null, true];
    } else if (pixel !== null && Math.abs(px - pixel) < 0.5) {
      [low, high, last] = [Math.min(low, py), Math.max(high, py), py];
    } else {
      flush();
      if (stepped && !broken) pen.lineTo(px, last);
      if (broken) pen.moveTo(px, py);
      else pen.lineTo(px, py);
      [pixel, low, high, last, broken] = [px, py, py, py, false];
    }
  }
  flush();
  pen.stroke();
}

function drawMarkers(pen, table, column, x, y, ground, radius = 3.2) {
  let before = -Infinity;
  for (let i = 0; i < table.count; i++) {
    const [px, py] = [x(table.at(i, 0)), y(table.at(i, column))];
    if (!Number.isFinite(py) || (px - before < 3 * radius && i < table.count - 1)) continue;
    before = px;
    pen.beginPath();
    pen.arc(px, py, radius, 0, 2 * Math.PI);
    pen.fillStyle = ground;
    pen.fill();
    pen.stroke();
  }
}

function stroke(pen, { colour, width = 1.2, dash = [], alpha = 1 }) {
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.setLineDash(dash);
  pen.globalAlpha = alpha;
}

function drawLine(pen, x1, y1, x2, y2, style) {
  stroke(pen, style);
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
  pen.stroke();
  pen.globalAlpha = 1;
  pen.setLineDash([]);
}

function drawText(pen, text, x, y, { colour, font, align = "left", baseline = "alphabetic", halo = null }) {
  pen.font = font;
  pen.textAlign = align;
  pen.textBaseline = baseline;
  if (halo) {
    pen.strokeStyle = halo;
    pen.lineWidth = 3;
    pen.lineJoin = "round";
    pen.strokeText(text, x, y);
  }
  pen.fillStyle = colour;
  pen.fillText(text, x, y);
  return pen.measureText(text).width;
}

// A row of "— name" items from x on; what does not fit before `end` is left out.
function drawLegend(pen, items, x, y, end, theme) {
  for (const item of items) {
    pen.font = `11px ${theme.font}`;
    const room = (item.colour ? 25 : 0) + pen.measureText(item.text).width;
    if (x + room > end) return;
    if (item.colour) {
      drawLine(pen, x, y - 4, x + 19, y - 4, item);
      if (item.marker) {
        stroke(pen, { colour: item.colour, width: 1.5 });
        pen.beginPath();
        pen.arc(x + 9.5, y - 4, 3, 0, 2 * Math.PI);
        pen.fillStyle = theme.ground;
        pen.fill();
        pen.stroke();
      }
    }
    drawText(pen, item.text, x + (item.colour ? 25 : 0), y, { colour: theme.soft, font: `11px ${theme.font}` });
    x += room + 16;
  }
}

// -- panels above each other

const GUTTER = { left: 58, right: 16, header: 27, foot: 38 };
const HEIGHTS = [176, 104, 62]; // of the first panels; further ones are as high as the last

function panelHeight(i) {
  return HEIGHTS[Math.min(i, HEIGHTS.length - 1)];
}

// Where the header of panel i begins; for as many as there are panels, where the last one ends.
function panelTop(i) {
  return i ? panelTop(i - 1) + panelHeight(i - 1) + GUTTER.header : 0;
}

function chartHeight(panels) {
  return panels.length ? panelTop(panels.length) + GUTTER.foot : 0;
}

// Smallest and largest value a panel has to hold; in a logarithmic panel only those above 0 count.
function extent(panel, store, log) {
  let [low, high] = [Infinity, -Infinity];
  const take = (value) => {
    if (!Number.isFinite(value) || (log && value <= 0)) return;
    if (value < low) low = value;
    if (value > high) high = value;
  };
  const all = (table, name) => {
    const column = table.index[name];
    for (let i = 0; i < table.count; i++) take(table.at(i, column));
  };
  for (const name of panel.columns) if (name !== "max_norm") all(store.rows, name);
  for (const name of panel.evaluations) all(store.evaluations, name);
  for (const run of store.visibleEarlierRuns) {
    all(run.rows, panel.earlier);
    for (const name of panel.evaluations) all(run.evaluations, name);
  }
  const limit = panel.columns.includes("max_norm") && store.summary.last?.max_norm;
  // A threshold far above every norm would flatten the curves; on a logarithmic axis there is room for it.
  if (limit && (log || limit < 3 * high)) take(limit);
  return [low, high];
}

// Where everything is: the shared horizontal scale, and per panel its top, bottom and vertical scale.
function layOut(store, width, logs) {
  const [left, right] = [GUTTER.left, width - GUTTER.right];
  const ends = [store.rows, ...store.visibleEarlierRuns.map((run) => run.rows)];
  const newest = Math.max(0, ...ends.map((rows) => rows.newest("step") || 0));
  const x = horizontalScale(newest, store.summary.total, left, right);
  const panels = store.panels.map((panel, i) => {
    const [head, log] = [panelTop(i), logs.get(panel.name)];
    const top = head + GUTTER.header;
    const bottom = top + panelHeight(i);
    const y = verticalScale(...extent(panel, store, log), log, top, bottom, panel.from_zero && !log);
    return { ...panel, head, top, bottom, y, first: i === 0, lowest: i === store.panels.length - 1 };
  });
  return { left, right, x, panels, height: chartHeight(store.panels) };
}

function drawFrame(pen, plan, panel, theme) {
  const small = `11px ${theme.font}`;
  for (const tick of plan.x.ticks) {
    const px = Math.round(plan.x.at(tick.value)) + 0.5;
    drawLine(pen, px, panel.top, px, panel.bottom, { colour: theme.faintGrid, width: 1 });
    if (panel.lowest) drawText(pen, thousands(tick.value), px, panel.bottom + 16, { colour: theme.soft, font: small, align: "center" });
  }
  for (const tick of panel.y.ticks) {
    const py = Math.round(panel.y.at(tick.value)) + 0.5;
    if (py < panel.top - 1 || py > panel.bottom + 1) continue;
    drawLine(pen, plan.left, py, plan.right, py, { colour: tick.strong ? theme.grid : theme.faintGrid, width: 1 });
    const place = { colour: theme.soft, font: small, align: "right", baseline: "middle" };
    if (tick.label && py > panel.top + 3) drawText(pen, tick.label, plan.left - 8, py, place);
  }
  drawLine(pen, plan.left, panel.bottom + 0.5, plan.right, panel.bottom + 0.5, { colour: theme.axis, width: 1 });
  if (panel.lowest) {
    const place = { colour: theme.ink, font: small, align: "center" };
    drawText(pen, "optimizer step", (plan.left + plan.right) / 2, panel.bottom + 32, place);
  }
}

function legend(panel, store, theme) {
  const { rows, evaluations, summary } = store;
  const { last } = summary;
  if (panel.name === "loss") {
    const items = [
      { text: `training ${short(rows.newest("smooth"))}`, ...columnStyle("smooth", theme) },
      { text: "each batch", ...columnStyle("loss", theme), alpha: 0.4 },
    ];
    const scores = `validation ${short(evaluations.newest("loss"))}, accuracy ${short(evaluations.newest("accuracy"))}`;
    if (evaluations.count) items.splice(1, 0, { text: scores, colour: theme.validation, width: 1.6, marker: true });
    return items;
  }
  if (panel.name === "norm") {
    const percent = rows.count ? (100 * summary.clipped) / store.next : 0;
    const share = percent > 0 && percent < 1 ? "< 1" : Math.round(percent);
    const after = { text: `after (${share} % of steps clipped)`, ...columnStyle("norm_after", theme) };
    const items = [{ text: "before clipping", ...columnStyle("norm_before", theme) }];
    items.push(summary.clipped ? after : { text: "no step clipped" });
    if (last?.max_norm) items.push({ text: `threshold ${short(last.max_norm)}`, ...columnStyle("max_norm", theme), alpha: 1 });
    return items;
  }
  return panel.columns.map((name) => ({ text: `now ${short(last?.[name] ?? rows.newest(name))}`, ...columnStyle(name, theme) }));
}

function drawCurves(pen, plan, panel, store, theme) {
  const { rows, evaluations, summary } = store;
  const [x, y] = [plan.x.at, panel.y.at];
  for (const name of panel.columns) {
    if (name === "norm_after" && !summary.clipped) continue;
    stroke(pen, columnStyle(name, theme));
    drawCurve(pen, rows, rows.index[name], x, y, { stepped: panel.stepped || name === "max_norm" });
  }
  for (const name of panel.evaluations) {
    stroke(pen, { colour: theme.validation, width: 1.6 });
    drawCurve(pen, evaluations, evaluations.index[name], x, y);
    drawMarkers(pen, evaluations, evaluations.index[name], x, y, theme.ground);
  }
  pen.setLineDash([]);
  pen.globalAlpha = 1;
}

function drawEarlierRuns(pen, plan, panel, store, theme) {
  // The first is the parent, if there is one: it is drawn last, over the others.
  for (let i = store.earlierRuns.length - 1; i >= 0; i--) {
    const run = store.earlierRuns[i];
    if (run.hidden) continue;
    const [style, column] = [earlierStyle(run, i, theme.ink), run.rows.index[panel.earlier]];
    stroke(pen, { ...style, alpha: style.alpha * (panel.name === "norm" ? 0.46 : 1) });
    drawCurve(pen, run.rows, column, plan.x.at, panel.y.at, { stepped: panel.stepped });
    pen.globalAlpha = 1;
    pen.setLineDash([]);
    if (!panel.first) continue;
    const [px, py] = [plan.x.at(run.rows.newest("step")), panel.y.at(run.rows.newest(panel.earlier))];
    const place = { colour: theme.soft, font: `600 10px ${theme.font}`, align: "right", baseline: "bottom", halo: theme.ground };
    if (Number.isFinite(py)) drawText(pen, run.parent ? "parent" : String(run.id), px - 3, py - 2, place);
  }
}

function drawAll(pen, plan, store, theme, pointed) {
  for (const panel of plan.panels) {
    const bold = { colour: theme.ink, font: `600 12px ${theme.font}` };
    drawFrame(pen, plan, panel, theme);
    const titleEnd = plan.left + drawText(pen, panel.title, plan.left, panel.head + 18, bold);
    drawLegend(pen, legend(panel, store, theme), titleEnd + 18, panel.head + 18, plan.right - 52, theme);
    pen.save();
    pen.beginPath();
    pen.rect(plan.left - 1, panel.top - 1, plan.right - plan.left + 5, panel.bottom - panel.top + 2);
    pen.clip();
    drawEarlierRuns(pen, plan, panel, store, theme);
    drawCurves(pen, plan, panel, store, theme);
    drawBirth(pen, plan, panel, store, theme);
    drawMarks(pen, plan, panel, store, theme);
    if (pointed !== null) {
      const px = plan.x.at(pointed);
      drawLine(pen, px, panel.top, px, panel.bottom, { colour: theme.ink, width: 1, alpha: 0.6 });
    }
    pen.restore();
  }
  drawPick(pen, plan, store, theme);
}

// -- what stands at a step: changes made by hand, where a branch parted from its parent, the step that is picked

const FLAGS = { learning_rate: "η", max_norm: "c", clip: "c", weight_decay: "λ", optimizer: "o", schedule: "s", diverged: "✕" };

// A thin line for every change made by hand, with a flag in the first panel that says which kind it was.
function drawMarks(pen, plan, panel, store, theme) {
  let free = -Infinity;
  for (const mark of store.summary.marks) {
    const px = Math.round(plan.x.at(mark.step)) + 0.5;
    const colour = mark.kind === "diverged" ? theme.alarm : theme.ink;
    drawLine(pen, px, panel.top, px, panel.bottom, { colour, width: 1, dash: [2, 3], alpha: 0.55 });
    if (!panel.first || px < free) continue;
    pen.fillStyle = colour;
    pen.beginPath();
    pen.roundRect(px, panel.top, 13, 13, [0, 3, 3, 0]);
    pen.fill();
    const place = { colour: theme.ground, font: `600 10px ${theme.font}`, align: "center", baseline: "middle" };
    drawText(pen, FLAGS[mark.kind] ?? "•", px + 6.5, panel.top + 7, place);
    free = px + 14;
  }
}

// Where the run parted from its parent: a line, and a ring on the curve in the first panel.
function drawBirth(pen, plan, panel, store, theme) {
  if (!store.born) return;
  const px = Math.round(plan.x.at(store.born)) + 0.5;
  drawLine(pen, px, panel.top, px, panel.bottom, { colour: theme.train, width: 1.2, alpha: 0.7 });
  if (!panel.first) return;
  drawRing(pen, px, panel.y.at(store.rows.at(store.rows.nearest(store.born), store.rows.index[panel.earlier])), theme.train, theme);
  const room = px - plan.left > 110; // on the other side the flag of the branch's first change may stand
  const place = { colour: theme.soft, font: `11px ${theme.font}`, align: room ? "right" : "left", halo: theme.ground };
  drawText(pen, `branched at ${thousands(store.born)}`, px + (room ? -6 : 6), panel.top + (room ? 11 : 26), place);
}

function drawRing(pen, x, y, colour, theme) {
  if (!Number.isFinite(y)) return;
  stroke(pen, { colour, width: 2 });
  pen.beginPath();
  pen.arc(x, y, 4.2, 0, 2 * Math.PI);
  pen.fillStyle = theme.ground;
  pen.fill();
  pen.stroke();
}

// The step that is picked: a line through all panels, its number on the axis, a ring on the curve.
function drawPick(pen, plan, store, theme) {
  if (store.picked === null) return;
  const px = Math.round(plan.x.at(store.picked)) + 0.5;
  for (const panel of plan.panels) drawLine(pen, px, panel.top, px, panel.bottom, { colour: theme.ink, width: 1.6 });
  const [first, lowest] = [plan.panels[0], plan.panels.at(-1)];
  const row = store.rows.nearest(store.picked);
  if (row >= 0 && store.picked > 0) drawRing(pen, px, first.y.at(store.rows.at(row, store.rows.index[first.earlier])), theme.ink, theme);
  const [font, number] = [`600 11px ${theme.font}`, thousands(store.picked)];
  pen.font = font;
  const width = pen.measureText(number).width + 12;
  const left = Math.min(px - width / 2, plan.right + GUTTER.right - width - 1);
  pen.fillStyle = theme.ink;
  pen.beginPath();
  pen.roundRect(left, lowest.bottom + 3, width, 17, 8);
  pen.fill();
  drawText(pen, number, left + width / 2, lowest.bottom + 12, { colour: theme.ground, font, align: "center", baseline: "middle" });
}
