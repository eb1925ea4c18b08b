// The chart on its canvas: which colours the curves have, where the panels stand, and what is drawn in them.

// Okabe & Ito's (2008) for the run that is shown: its curves are blue in every panel. Those of earlier runs were searched
// for to be apart from these and from each other for any kind of colour blindness; names at their ends tell them apart too.
const ON_LIGHT = {
  ...{ train: "#0072B2", validation: "#D55E00", after: "#009E73", alarm: "#D55E00" },
  earlier: ["#894277", "#7F0CF2", "#515114", "#E0115F"],
};
const ON_DARK = {
  ...{ train: "#56B4E9", validation: "#E69F00", after: "#2FB68C", alarm: "#E69F00" },
  earlier: ["#D98CC4", "#9D80FF", "#CFCB8E", "#F2545B"],
};

// The line of an earlier run or of a band; a parent's is stronger than the others, in the colour of the ink.
function earlierStyle({ parent, members, look }, theme) {
  if (parent) return { colour: theme.ink, dash: [], width: 1.7, alpha: 0.62 };
  const dash = look % 8 < 4 ? [] : [5, 3];
  return { colour: theme.earlier[look % 4], dash, width: members ? 1.8 : 1.3, alpha: members ? 0.95 : 0.8 };
}

// The lines of the columns.
function columnStyle(name, theme) {
  const styles = {
    loss: { colour: theme.train, width: 1, alpha: theme.dark ? 0.4 : 0.33 },
    smooth: { colour: theme.train, width: 2.2 },
    norm_before: { colour: theme.train, width: 1.3 },
    norm_after: { colour: theme.after, width: 1.4, dash: [5, 3] },
    max_norm: { colour: theme.ink, width: 1.3, dash: [9, 4], alpha: 0.85 },
    learning_rate: { colour: theme.train, width: 1.8 },
  };
  return styles[name] ?? { colour: theme.train, width: 1.5 };
}

// -- panels above each other

const GUTTER = { left: 58, right: 16, header: 27, foot: 38 };
const HEIGHTS = [200, 118, 70]; // of the first panels; further ones are as high as the last
const NARROW = 640; // pixels; in a narrower chart the legend stands in a line of its own, and the ends have no names

function panelHeight(i) {
  return HEIGHTS[Math.min(i, HEIGHTS.length - 1)];
}

function headerHeight(width) {
  return GUTTER.header + (width < NARROW ? 16 : 0);
}

// Where the header of panel i begins; for as many as there are panels, where the last one ends.
function panelTop(i, width) {
  return i ? panelTop(i - 1, width) + panelHeight(i - 1) + headerHeight(width) : 0;
}

function chartHeight(panels, width) {
  return panels.length ? panelTop(panels.length, width) + GUTTER.foot : 0;
}

// Smallest and largest value a panel has to hold of the steps that are shown; in a logarithmic panel only those above 0
// count.
function extent(panel, store, log, { start, end }) {
  let [low, high] = [Infinity, -Infinity];
  const take = (value) => {
    if (!Number.isFinite(value) || (log && value <= 0)) return;
    if (value < low) low = value;
    if (value > high) high = value;
  };
  const all = (table, read) => {
    const last = Math.min(table.count, table.from(end) + 1);
    for (let i = table.from(start); i < last; i++) take(read(i));
  };
  for (const name of panel.columns) if (name !== "max_norm") all(store.rows, store.rows.reader(name));
  for (const name of panel.evaluations) all(store.evaluations, store.evaluations.reader(name));
  for (const run of store.visibleEarlierRuns) {
    all(run.rows, run.rows.reader(panel.earlier));
    for (const name of panel.evaluations) all(run.evaluations, run.evaluations.reader(name));
  }
  for (const band of store.visibleBands) for (const sd of [-1, 1]) all(band, band.reader(panel.earlier, sd));
  const limit = panel.columns.includes("max_norm") && store.summary.last?.max_norm;
  // A threshold far above every norm would flatten the curves; on a logarithmic axis there is room for it.
  if (limit && (log || limit < 3 * high)) take(limit);
  return [low, high];
}

// Where everything is: the shared horizontal scale, and per panel its top, bottom and vertical scale.
function layOut(store, width, logs, range) {
  const [left, right] = [GUTTER.left, width - GUTTER.right];
  const ends = [store.rows, ...store.visibleEarlierRuns.map((run) => run.rows)].map((rows) => rows.newest("step"));
  ends.push(...store.visibleBands.map((band) => (band.count ? band.step(band.count - 1) : 0)));
  const newest = Math.max(0, ...ends.map((end) => end || 0));
  const x = horizontalScale(newest, store.summary.total, left, right, range);
  const panels = store.panels.map((panel, i) => {
    const [head, log] = [panelTop(i, width), logs.get(panel.name)];
    const top = head + headerHeight(width);
    const bottom = top + panelHeight(i);
    const y = verticalScale(...extent(panel, store, log, x), log, top, bottom, panel.from_zero && !log);
    return { ...panel, head, top, bottom, y, first: i === 0, lowest: i === store.panels.length - 1 };
  });
  return { left, right, x, panels, narrow: width < NARROW, height: chartHeight(store.panels, width) };
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
    const accuracy = evaluations.newest("accuracy");
    const scores = `validation ${short(evaluations.newest("loss"))}${Number.isNaN(accuracy) ? "" : `, accuracy ${short(accuracy)}`}`;
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
  const now = (name) => {
    for (let i = rows.count - 1; i >= 0; i--) if (!Number.isNaN(rows.reader(name)(i))) return rows.reader(name)(i);
    return NaN;
  };
  return panel.columns.map((name) => ({ text: `now ${short(last?.[name] ?? now(name))}`, ...columnStyle(name, theme) }));
}

function drawCurves(pen, plan, panel, store, theme) {
  const { rows, evaluations, summary } = store;
  for (const name of panel.columns) {
    if (name === "norm_after" && !summary.clipped) continue;
    stroke(pen, columnStyle(name, theme));
    const how = { stepped: panel.stepped || name === "max_norm", gaps: panel.gaps };
    const [read, clipped] = [rows.reader(name), rows.reader("clipped")];
    const shown = name === "norm_after" ? (row) => (clipped(row) ? read(row) : NaN) : read; // else it is the one before
    drawCurve(pen, rows, shown, plan, panel.y.at, how);
  }
  for (const name of panel.evaluations) {
    stroke(pen, { colour: theme.validation, width: 1.6 });
    drawCurve(pen, evaluations, evaluations.reader(name), plan, panel.y.at, { gaps: false });
    drawMarkers(pen, evaluations, evaluations.reader(name), plan, panel.y.at, theme.ground);
  }
  pen.setLineDash([]);
  pen.globalAlpha = 1;
}

// The bands, then the runs over them: the first is the parent, if there is one, and is drawn last.
function drawEarlier(pen, plan, panel, store, theme) {
  for (const one of [...store.visibleBands, ...store.visibleEarlierRuns.toReversed()]) {
    const [style, table] = [earlierStyle(one, theme), one.rows ?? one];
      const faint = panel.name === "norm" && !one.members ? 0.5 : 1; // there they are above each other
    const read = table.reader(panel.earlier);
    if (one.members) {
      const deviating = (deviations) => table.reader(panel.earlier, deviations);
      drawBand(pen, table, deviating, plan, panel.y.at, panel.bottom, { colour: style.colour, alpha: 0.2 * faint });
    }
    stroke(pen, { ...style, alpha: style.alpha * faint });
    drawCurve(pen, table, read, plan, panel.y.at, { stepped: panel.stepped, gaps: panel.gaps });
    pen.globalAlpha = 1;
    pen.setLineDash([]);
  }
}

// What the curves of earlier runs are called, where each of them ends; one above the other where they end at one place.
function drawNames(pen, plan, panel, store, theme) {
  const taken = [];
  for (const one of [...store.visibleEarlierRuns, ...store.visibleBands]) {
    const table = one.rows ?? one;
    const row = table.from(plan.x.end + 0.5) - 1;
    if (row < 0) continue;
    const [px, py] = [plan.x.at(table.step(row)), panel.y.at(table.reader(panel.earlier)(row))];
    if (!Number.isFinite(py) || px < plan.left) continue;
    let lifted = Math.max(panel.top + 11, py - 2);
    for (const other of taken) if (Math.abs(other[0] - px) < 60 && Math.abs(other[1] - lifted) < 11) lifted = other[1] - 11;
    if (lifted < panel.top + 9) continue;
    taken.push([px, lifted]);
    const place = { font: `600 10px ${theme.font}`, align: "right", baseline: "bottom", halo: theme.ground };
    drawText(pen, one.short, px - 3, lifted, { ...place, colour: earlierStyle(one, theme).colour });
  }
}

function drawAll(pen, plan, store, theme, { pointed, chosen, reserved }) {
  for (const panel of plan.panels) {
    const bold = { colour: theme.ink, font: `600 12px ${theme.font}` };
    drawFrame(pen, plan, panel, theme);
    const titleEnd = plan.left + drawText(pen, panel.title, plan.left, panel.head + 18, bold);
    const [x, y] = plan.narrow ? [plan.left, panel.head + 35] : [titleEnd + 18, panel.head + 18];
    drawLegend(pen, legend(panel, store, theme), x, y, plan.right - (plan.narrow ? 0 : reserved(panel)), theme);
    pen.save();
    pen.beginPath();
    pen.rect(plan.left - 1, panel.top - 1, plan.right - plan.left + 5, panel.bottom - panel.top + 2);
    pen.clip();
    drawEarlier(pen, plan, panel, store, theme);
    drawCurves(pen, plan, panel, store, theme);
    if (panel.first) drawNames(pen, plan, panel, store, theme);
    drawBirth(pen, plan, panel, store, theme);
    drawMarks(pen, plan, panel, store, theme);
    if (pointed !== null) {
      const px = plan.x.at(pointed);
      drawLine(pen, px, panel.top, px, panel.bottom, { colour: theme.ink, width: 1, alpha: 0.6 });
    }
    if (chosen) drawChosen(pen, plan, panel, chosen, theme);
    pen.restore();
  }
  drawPick(pen, plan, store, theme);
}
