// The readout: what there is to say about a step, in a small box beside the pointer.

// What to say about the step nearest to `step`: lines of [name, value], and the changes made close to it.
function describe(store, step, reach) {
  const { rows, evaluations, summary } = store;
  const row = rows.nearest(step);
  if (row < 0) return null;
  const at = (name) => rows.reader(name)(row);
  const drawn = new Set(store.panels.flatMap((panel) => panel.columns));
  const sparse = new Set(store.panels.filter((panel) => !panel.gaps).flatMap((panel) => panel.columns));
  const missing = { norm_after: "not clipped", max_norm: "off" };
  const off = Number.isNaN(at("max_norm"));
  const lines = rows.columns
    .filter(({ name }) => drawn.has(name) && !(sparse.has(name) && Number.isNaN(at(name))))
    .map(({ name, label }) => [label, off && missing[name] ? missing[name] : short(at(name))]);
  lines.unshift(["step", thousands(at("step"))]);
  const judged = evaluations.nearest(at("step"));
  if (judged >= 0) {
    const when = evaluations.step(judged);
    const scores = evaluations.columns
      .slice(1)
      .map(({ name, label }) => [label, evaluations.reader(name)(judged)])
      .filter(([, value]) => !Number.isNaN(value))
      .map(([label, value]) => [label, short(value)]);
    if (when !== at("step") && scores.length) scores[0][1] += ` (step ${thousands(when)})`;
    lines.push(...scores);
  }
  const parent = store.visibleEarlierRuns.find((run) => run.parent);
  if (parent && at("step") > store.born && parent.rows.newest("step") >= at("step")) {
    lines.splice(3, 0, ["parent, smoothed", short(parent.rows.reader("smooth")(parent.rows.nearest(at("step"))))]);
  }
  const marks = summary.marks.filter((mark) => Math.abs(mark.step - step) <= reach).slice(-4);
  return { step: at("step"), lines, marks: marks.map((mark) => mark.text) };
}

function fillReadout(box, said) {
  const rows = said.lines.map(([name, value]) => {
    const line = document.createElement("div");
    const [label, number] = [document.createElement("span"), document.createElement("b")];
    label.textContent = name;
    number.textContent = value;
    line.append(label, number);
    return line;
  });
  const marks = said.marks.map((text) => {
    const line = document.createElement("p");
    line.textContent = text;
    return line;
  });
  box.replaceChildren(...rows, ...marks);
}

// Beside the pointer, on the side where there is room.
function placeReadout(box, x, y, { clientWidth: width, clientHeight: height }) {
  box.hidden = false;
  const right = x + 16 + box.offsetWidth < width;
  box.style.left = `${right ? x + 16 : Math.max(0, x - 16 - box.offsetWidth)}px`;
  box.style.top = `${Math.max(4, Math.min(y - box.offsetHeight / 2, height - box.offsetHeight - 4))}px`;
}
