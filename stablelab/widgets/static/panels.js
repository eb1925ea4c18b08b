// The three panels: what each shows, and how they stand above each other.

const GUTTER = { left: 58, right: 16, header: 27, foot: 38 };
const PANELS = [
  { name: "loss", title: "loss (nats)", height: 176, columns: [COLUMN.loss, COLUMN.smooth], ghost: COLUMN.smooth },
  { name: "norm", title: "gradient norm ‖g‖", height: 104, columns: [COLUMN.before, COLUMN.after], ghost: COLUMN.before },
  { name: "rate", title: "learning rate", height: 62, columns: [COLUMN.rate], ghost: COLUMN.rate, zero: true },
];
const HEIGHT = PANELS.reduce((sum, panel) => sum + panel.height + GUTTER.header, 0) + GUTTER.foot;

// Smallest and largest value a panel has to hold; in a logarithmic panel only those above 0 count.
function extent(panel, store, log) {
  let [low, high] = [Infinity, -Infinity];
  const take = (value) => {
    if (!Number.isFinite(value) || (log && value <= 0)) return;
    if (value < low) low = value;
    if (value > high) high = value;
  };
  const all = (table, column) => {
    for (let i = 0; i < table.count; i++) take(table.at(i, column));
  };
  for (const column of panel.columns) all(store.rows, column);
  if (panel.name === "loss") all(store.evaluations, 1);
  for (const ghost of store.visibleGhosts) {
    all(ghost.rows, panel.ghost);
    if (panel.name === "loss") all(ghost.evaluations, 1);
  }
  const limit = store.summary.last?.max_norm;
  // A threshold far above every norm would flatten the curves; on a logarithmic axis there is room for it.
  if (panel.name === "norm" && limit && (log || limit < 3 * high)) take(limit);
  return [low, high];
}

// Where everything is: the shared horizontal scale, and per panel its top, bottom and vertical scale.
function layOut(store, width, logs) {
  const [left, right] = [GUTTER.left, width - GUTTER.right];
  const ends = [store.rows, ...store.visibleGhosts.map((ghost) => ghost.rows)];
  const newest = Math.max(0, ...ends.map((rows) => (rows.count ? rows.at(rows.count - 1, 0) : 0)));
  const x = horizontalScale(newest, store.summary.total, left, right);
  let top = 0;
  const panels = PANELS.map((panel, i) => {
    const head = top;
    top += GUTTER.header;
    const bottom = top + panel.height;
    const y = verticalScale(...extent(panel, store, logs[i]), logs[i], top, bottom, panel.zero && !logs[i]);
    const placed = { ...panel, head, top, bottom, y };
    top = bottom;
    return placed;
  });
  return { left, right, x, panels };
}

function drawFrame(pen, plan, panel, theme, lowest) {
  const small = `11px ${theme.font}`;
  for (const tick of plan.x.ticks) {
    const px = Math.round(plan.x.at(tick.value)) + 0.5;
    drawLine(pen, px, panel.top, px, panel.bottom, { colour: theme.faintGrid, width: 1 });
    if (lowest) drawText(pen, thousands(tick.value), px, panel.bottom + 16, { colour: theme.soft, font: small, align: "center" });
  }
  for (const tick of panel.y.ticks) {
    const py = Math.round(panel.y.at(tick.value)) + 0.5;
    if (py < panel.top - 1 || py > panel.bottom + 1) continue;
    drawLine(pen, plan.left, py, plan.right, py, { colour: tick.strong ? theme.grid : theme.faintGrid, width: 1 });
    const place = { colour: theme.soft, font: small, align: "right", baseline: "middle" };
    if (tick.label && py > panel.top + 3) drawText(pen, tick.label, plan.left - 8, py, place);
  }
  drawLine(pen, plan.left, panel.bottom + 0.5, plan.right, panel.bottom + 0.5, { colour: theme.axis, width: 1 });
  if (lowest) {
    const place = { colour: theme.ink, font: small, align: "center" };
    drawText(pen, "optimizer step", (plan.left + plan.right) / 2, panel.bottom + 32, place);
  }
}

function legend(panel, store, theme) {
  const { rows, evaluations, summary } = store;
  const latest = (table, column) => short(table.count ? table.at(table.count - 1, column) : null);
  if (panel.name === "loss") {
    const items = [
      { text: `training ${latest(rows, COLUMN.smooth)}`, colour: theme.train, width: 2.2 },
      { text: "each batch", colour: theme.train, width: 1, alpha: 0.4 },
    ];
    const scores = `validation ${latest(evaluations, 1)}, accuracy ${latest(evaluations, 2)}`;
    if (evaluations.count) items.splice(1, 0, { text: scores, colour: theme.validation, width: 1.6, marker: true });
    return items;
  }
  if (panel.name === "norm") {
    const percent = rows.count ? (100 * summary.clipped) / store.next : 0;
    const share = percent > 0 && percent < 1 ? "< 1" : Math.round(percent);
    const items = [{ text: "before clipping", colour: theme.before, width: 1.4 }];
    const after = { text: `after (${share} % of steps clipped)`, colour: theme.after, width: 1.4, dash: [5, 3] };
    items.push(summary.clipped ? after : { text: "no step clipped" });
    const limit = summary.last?.max_norm;
    if (limit) items.push({ text: `threshold ${short(limit)}`, colour: theme.ink, width: 1.3, dash: [9, 4] });
    return items;
  }
  return [{ text: `now ${short(summary.last?.learning_rate)}`, colour: theme.train, width: 1.8 }];
}

function drawCurves(pen, plan, panel, store, theme) {
  const { rows, evaluations } = store;
  const [x, y] = [plan.x.at, panel.y.at];
  const curve = (column, style, how) => {
    stroke(pen, style);
    drawCurve(pen, rows, column, x, y, how);
  };
  if (panel.name === "loss") {
    curve(COLUMN.loss, { colour: theme.train, width: 1, alpha: theme.dark ? 0.4 : 0.33 });
    curve(COLUMN.smooth, { colour: theme.train, width: 2.2 });
    stroke(pen, { colour: theme.validation, width: 1.6 });
    drawCurve(pen, evaluations, 1, x, y);
    drawMarkers(pen, evaluations, 1, x, y, theme.ground);
  } else if (panel.name === "norm") {
    curve(COLUMN.before, { colour: theme.before, width: 1.3 });
    if (store.summary.clipped) curve(COLUMN.after, { colour: theme.after, width: 1.4, dash: [5, 3] });
    curve(COLUMN.limit, { colour: theme.ink, width: 1.3, dash: [9, 4], alpha: 0.85 }, { stepped: true });
  } else {
    curve(COLUMN.rate, { colour: theme.train, width: 1.8 }, { stepped: true });
  }
  pen.setLineDash([]);
  pen.globalAlpha = 1;
}

function drawGhosts(pen, plan, panel, store, theme) {
  // The first is the parent, if there is one: it is drawn last, over the others.
  for (let i = store.ghosts.length - 1; i >= 0; i--) {
    const ghost = store.ghosts[i];
    if (ghost.hidden) continue;
    const style = ghostStyle(ghost, i, theme.ink);
    stroke(pen, { ...style, alpha: style.alpha * (panel.name === "norm" ? 0.46 : 1) });
    drawCurve(pen, ghost.rows, panel.ghost, plan.x.at, panel.y.at, { stepped: panel.name === "rate" });
    pen.globalAlpha = 1;
    pen.setLineDash([]);
    if (panel.name !== "loss") continue;
    const last = ghost.rows.count - 1;
    const [px, py] = [plan.x.at(ghost.rows.at(last, 0)), panel.y.at(ghost.rows.at(last, panel.ghost))];
    const place = { colour: theme.soft, font: `600 10px ${theme.font}`, align: "right", baseline: "bottom", halo: theme.ground };
    if (Number.isFinite(py)) drawText(pen, ghost.parent ? "parent" : String(ghost.id), px - 3, py - 2, place);
  }
}

function drawAll(pen, plan, store, theme, pointed) {
  plan.panels.forEach((panel, i) => {
    const bold = { colour: theme.ink, font: `600 12px ${theme.font}` };
    drawFrame(pen, plan, panel, theme, i === plan.panels.length - 1);
    const titleEnd = plan.left + drawText(pen, panel.title, plan.left, panel.head + 18, bold);
    drawLegend(pen, legend(panel, store, theme), titleEnd + 18, panel.head + 18, plan.right - 52, theme);
    pen.save();
    pen.beginPath();
    pen.rect(plan.left - 1, panel.top - 1, plan.right - plan.left + 5, panel.bottom - panel.top + 2);
    pen.clip();
    drawGhosts(pen, plan, panel, store, theme);
    drawCurves(pen, plan, panel, store, theme);
    drawBirth(pen, plan, panel, store, theme);
    drawMarks(pen, plan, panel, store, theme);
    if (pointed !== null) {
      const px = plan.x.at(pointed);
      drawLine(pen, px, panel.top, px, panel.bottom, { colour: theme.ink, width: 1, alpha: 0.6 });
    }
    pen.restore();
  });
  drawPick(pen, plan, store, theme);
}
