// What is done on the canvas. A click picks a step to branch from. Dragging chooses a range of steps to zoom to, with Shift
// it moves the range; the wheel with Ctrl or Cmd zooms where it stands, and without them belongs to the page. A double
// click shows all steps again. Keys: arrows, Home and End go along the curve, Enter picks, Escape lets go, + and − zoom, 0
// shows all.

const CLICK = 5; // pixels; whoever moves less does not drag
const KEYS = ["ArrowLeft", "ArrowRight", "Home", "End", "Enter", "Escape", "+", "=", "-", "−", "0"];

function listenOn(canvas, view) {
  let drag = null;
  let before = null; // the step that was picked before the first click of two
  canvas.onpointerdown = (event) => {
    if (event.button || !view.plan) return;
    const { start, end } = view.plan.x;
    drag = { from: event.offsetX, range: [start, end], pan: event.shiftKey, moved: false };
    canvas.setPointerCapture(event.pointerId);
  };
  canvas.onmousedown = (event) => {
    if (event.detail === 1) before = view.store.picked;
  };
  canvas.onpointermove = (event) => {
    if (!drag) return view.point(event.offsetX, event.offsetY);
    drag.moved ||= Math.abs(event.offsetX - drag.from) > CLICK;
    if (!drag.moved) return;
    view.unpoint();
    const { left, right } = view.plan;
    if (drag.pan) {
      const [start, end] = drag.range;
      const by = ((drag.from - event.offsetX) / (right - left)) * (end - start);
      view.show([start + by, end + by]);
    } else view.choose([drag.from, event.offsetX].map((x) => Math.max(left, Math.min(right, x))));
  };
  canvas.onpointerup = () => {
    const { chosen, plan } = view;
    if (drag?.moved && chosen) view.show(chosen.map(plan.x.back).sort((a, b) => a - b));
    view.choose(null);
    if (drag && !drag.moved) drag = null; // else the click that comes with it is none
  };
  canvas.onpointercancel = () => {
    drag = null;
    view.choose(null);
  };
  canvas.onclick = (event) => {
    if (!drag) clicked(view, event.offsetX);
    drag = null;
  };
  canvas.ondblclick = () => {
    pick(view, before);
    view.show(null);
  };
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (!(event.ctrlKey || event.metaKey) || !view.plan) return;
      event.preventDefault();
      zoom(view, Math.exp(Math.max(-1, Math.min(1, event.deltaY * 0.004))), view.plan.x.back(event.offsetX));
    },
    { passive: false },
  );
  canvas.onpointerleave = () => view.unpoint();
  canvas.onblur = () => view.unpoint();
  canvas.onkeydown = (event) => typed(view, event);
}

// So many times as many steps as now, with this one where it is.
function zoom(view, times, around) {
  const { start, end } = view.plan.x;
  const middle = Math.max(start, Math.min(end, around));
  view.show([middle - (middle - start) * times, middle + (end - middle) * times]);
}

// A range of steps as it can be shown: within those there are, at least two of them; null for all of them.
function within([start, end], full) {
  const length = Math.max(Math.min(2, full), Math.min(end - start, full));
  const first = Math.max(0, Math.min((start + end - length) / 2, full - length));
  return length >= full * 0.999 ? null : [first, first + length];
}

// A step to branch from: the one that was clicked; none where that is the one picked already.
function clicked(view, x) {
  const { plan, store } = view;
  if (!plan || store.newest === null || x < plan.left - 8 || x > plan.right + 8) return;
  const again = store.picked !== null && Math.abs(plan.x.at(store.picked) - x) <= 4;
  pick(view, again ? null : Math.max(0, Math.min(store.newest, Math.round(plan.x.back(x)))));
}

function typed(view, event) {
  const { plan, store, pointed } = view;
  const rows = store.rows;
  if (!plan || !rows.count || !KEYS.includes(event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Enter" && event.shiftKey) return; // that runs the cell
  event.preventDefault();
  event.stopPropagation();
  if (event.key === "Enter") return pick(view, pointed ?? store.newest);
  if (event.key === "Escape") {
    pick(view, null);
    return view.unpoint();
  }
  if (event.key === "0") return view.show(null);
  const times = { "+": 0.5, "=": 0.5, "-": 2, "−": 2 }[event.key];
  if (times) return zoom(view, times, pointed ?? store.picked ?? Math.min(store.newest, plan.x.end));
  const here = pointed === null ? rows.nearest(Math.min(store.newest, plan.x.end)) : rows.nearest(pointed);
  const [first, end] = [rows.from(plan.x.start), rows.from(plan.x.end)];
  const move = Math.max(1, Math.round((end - first) / 200)) * (event.shiftKey ? 10 : 1);
  const to = { ArrowLeft: here - move, ArrowRight: here + move, Home: 0, End: rows.count - 1 }[event.key];
  view.goTo(rows.step(Math.max(0, Math.min(rows.count - 1, to))));
}

// The kernel says it back, so that all views of a chart show the same.
function pick(view, step) {
  if (view.store.picked === step) return;
  view.store.picked = step;
  view.send({ type: "pick", step });
  view.changed();
}
