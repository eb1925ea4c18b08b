// What stands at a step: changes made by hand, where a branch parted from its parent, the step that is picked, the range
// that is being chosen.

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
  if (!store.born || store.born < plan.x.start || store.born > plan.x.end) return;
  const px = Math.round(plan.x.at(store.born)) + 0.5;
  drawLine(pen, px, panel.top, px, panel.bottom, { colour: theme.train, width: 1.2, alpha: 0.7 });
  if (!panel.first) return;
  drawRing(pen, px, panel.y.at(store.rows.reader(panel.earlier)(store.rows.nearest(store.born))), theme.train, theme);
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
  if (store.picked === null || store.picked < plan.x.start || store.picked > plan.x.end) return;
  const px = Math.round(plan.x.at(store.picked)) + 0.5;
  for (const panel of plan.panels) drawLine(pen, px, panel.top, px, panel.bottom, { colour: theme.ink, width: 1.6 });
  const [first, lowest] = [plan.panels[0], plan.panels.at(-1)];
  const row = store.rows.nearest(store.picked);
  if (row >= 0 && store.picked > 0) drawRing(pen, px, first.y.at(store.rows.reader(first.earlier)(row)), theme.ink, theme);
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

// The range of steps that is being chosen to zoom to, from one pixel to another.
function drawChosen(pen, plan, panel, [from, to], theme) {
  const [left, right] = [Math.min(from, to), Math.max(from, to)];
  pen.fillStyle = theme.chosen;
  pen.fillRect(left, panel.top, right - left, panel.bottom - panel.top);
  for (const px of [left, right]) drawLine(pen, px, panel.top, px, panel.bottom, { colour: theme.train, width: 1 });
}
