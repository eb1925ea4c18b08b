// The readout: all values of the step under the pointer, or under the arrow keys.

// What to say about the step nearest to `step`: lines of [name, value], and the changes made close to it.
function describe(store, step, reach) {
  const { rows, evaluations, summary } = store;
  const row = rows.nearest(step);
  if (row < 0) return null;
  const at = (column) => rows.at(row, column);
  const limit = at(COLUMN.limit);
  const lines = [
    ["step", thousands(at(COLUMN.step))],
    ["training loss", short(at(COLUMN.loss))],
    ["smoothed", short(at(COLUMN.smooth))],
    ["‖g‖ before clipping", short(at(COLUMN.before))],
    ["‖g‖ after", Number.isNaN(limit) ? "not clipped" : short(at(COLUMN.after))],
    ["clip threshold", Number.isNaN(limit) ? "off" : short(limit)],
    ["learning rate", short(at(COLUMN.rate))],
  ];
  const judged = evaluations.nearest(at(COLUMN.step));
  if (judged >= 0) {
    const when = evaluations.at(judged, 0);
    const place = when === at(COLUMN.step) ? "" : ` (step ${thousands(when)})`;
    lines.push(["validation loss", short(evaluations.at(judged, 1)) + place]);
    lines.push(["accuracy", short(evaluations.at(judged, 2))]);
  }
  const parent = store.visibleGhosts.find((ghost) => ghost.parent);
  if (parent && at(COLUMN.step) > store.born) {
    const there = parent.rows.nearest(at(COLUMN.step));
    const reached = parent.rows.at(parent.rows.count - 1, 0) >= at(COLUMN.step);
    if (reached) lines.splice(3, 0, ["parent, smoothed", short(parent.rows.at(there, COLUMN.smooth))]);
  }
  const marks = summary.marks.filter((mark) => Math.abs(mark.step - step) <= reach).slice(-4);
  return { step: at(COLUMN.step), lines, marks: marks.map((mark) => mark.text) };
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
function placeReadout(box, x, y, width) {
  box.hidden = false;
  const right = x + 16 + box.offsetWidth < width;
  box.style.left = `${right ? x + 16 : Math.max(0, x - 16 - box.offsetWidth)}px`;
  box.style.top = `${Math.max(4, Math.min(y - box.offsetHeight / 2, HEIGHT - box.offsetHeight - 4))}px`;
}

// A step to branch from: the one that was clicked; none where that is the one picked already.
function clicked(view, x) {
  const { plan, store } = view;
  if (!plan || store.newest === null || x < plan.left - 8 || x > plan.right + 8) return;
  const again = store.picked !== null && Math.abs(plan.x.at(store.picked) - x) <= 4;
  pick(view, again ? null : Math.max(0, Math.min(store.newest, Math.round(plan.x.back(x)))));
}

const KEYS = ["ArrowLeft", "ArrowRight", "Home", "End", "Enter", "Escape"];

// Arrows, Home and End go along the curve, Enter picks where they stand, Escape lets go.
function typed(view, event) {
  const { plan, store, pointed } = view;
  const rows = store.rows;
  if (!plan || !rows.count || !KEYS.includes(event.key) || event.ctrlKey || event.metaKey) return;
  if (event.key === "Enter" && event.shiftKey) return; // that runs the cell
  event.preventDefault();
  event.stopPropagation();
  if (event.key === "Enter") return pick(view, pointed ?? store.newest);
  if (event.key === "Escape") {
    pick(view, null);
    return view.unpoint();
  }
  const here = pointed === null ? rows.count - 1 : rows.nearest(pointed);
  const move = Math.max(1, Math.round(rows.count / 200)) * (event.shiftKey ? 10 : 1);
  const to = { ArrowLeft: here - move, ArrowRight: here + move, Home: 0, End: rows.count - 1 }[event.key];
  const step = rows.at(Math.max(0, Math.min(rows.count - 1, to)), 0);
  view.say(describe(store, step, 0.5), plan.x.at(step), 120);
}

// The kernel says it back, so that all views of a chart show the same.
function pick(view, step) {
  if (view.store.picked === step) return;
  view.store.picked = step;
  view.model.send({ type: "pick", step });
  view.changed();
}

// ipywidgets gives a slider's handle no name; a screen reader needs one.
function nameSliders(root) {
  for (const slider of root.closest(".stablelab-live")?.querySelectorAll(".widget-hslider") ?? []) {
    const handle = slider.querySelector(".noUi-handle");
    if (handle && !handle.hasAttribute("aria-label")) {
      handle.setAttribute("aria-label", slider.querySelector("label, .widget-label")?.textContent || "slider");
    }
  }
}
