// The widget: a canvas, a switch for each axis, the list of earlier runs, and a readout of the step under the pointer or
// under the arrow keys. Drawn anew only when something has changed.

function make(tag, className, parent, attributes = {}) {
  const element = document.createElement(tag);
  element.className = className;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  parent.append(element);
  return element;
}

class View {
  constructor(model, el) {
    this.model = model;
    this.store = new Store();
    this.logs = new Map(); // by the name of a panel, whether its axis is logarithmic
    this.pointed = null;
    this.frame = null;
    this.root = make("div", "stablelab-chart", el);
    this.stage = make("div", "stablelab-stage", this.root);
    this.canvas = make("canvas", "", this.stage, { role: "img", tabindex: "0", "aria-label": "Training curves, no step yet" });
    this.canvas.setAttribute("aria-description", "Arrow keys go along the curve, Enter picks a step to branch from, Escape lets go");
    this.readout = make("div", "stablelab-readout", this.stage, { "aria-live": "polite" });
    this.readout.hidden = true;
    this.switches = make("div", "", this.stage);
    this.legend = make("div", "stablelab-earlier", this.root, { role: "group", "aria-label": "earlier runs" });
    this.listen();
  }

  // A switch for the axis of each panel, where there is none yet.
  listPanels() {
    const { panels } = this.store;
    if (panels.every((panel) => this.logs.has(panel.name)) && panels.length === this.logs.size) return;
    this.logs = new Map(panels.map((panel) => [panel.name, this.logs.get(panel.name) ?? panel.log]));
    this.switches.replaceChildren();
    panels.forEach((panel, i) => {
      const attributes = { type: "button", "aria-pressed": String(this.logs.get(panel.name)) };
      const button = make("button", "stablelab-scale", this.switches, attributes);
      button.textContent = "log";
      button.title = `${panel.title}: logarithmic axis`;
      button.setAttribute("aria-label", button.title);
      button.dataset.panel = panel.name;
      button.style.top = `${panelTop(i) + 4}px`;
      button.onclick = () => {
        this.logs.set(panel.name, !this.logs.get(panel.name));
        button.setAttribute("aria-pressed", String(this.logs.get(panel.name)));
        this.changed();
      };
    });
  }

  listen() {
    this.onMessage = (content, buffers) => this.receive(content, buffers);
    this.model.on("msg:custom", this.onMessage);
    this.onSnapshot = () => this.restore();
    this.model.on("change:snapshot", this.onSnapshot);
    this.canvas.onpointermove = (event) => this.point(event.offsetX, event.offsetY);
    this.canvas.onclick = (event) => clicked(this, event.offsetX);
    this.canvas.onpointerleave = () => this.unpoint();
    this.canvas.onblur = () => this.unpoint();
    this.canvas.onkeydown = (event) => typed(this, event);
    this.resized = new ResizeObserver(() => this.changed());
    this.resized.observe(this.stage);
    // JupyterLab says its theme on the body; others on the root element.
    this.themed = new MutationObserver(() => this.changed());
    for (const element of [document.body, document.documentElement]) {
      this.themed.observe(element, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "class", "style"] });
    }
    this.restore();
    this.ask();
  }

  close() {
    this.model.off("msg:custom", this.onMessage);
    this.model.off("change:snapshot", this.onSnapshot);
    this.resized.disconnect();
    this.themed.disconnect();
    if (this.frame !== null) cancelAnimationFrame(this.frame);
  }

  // Ask the kernel for everything; unanswered where there is no kernel.
  ask() {
    this.asked = true;
    this.model.send({ type: "resync" });
  }

  receive(content, buffers) {
    if (content.type === "pick") {
      this.store.picked = content.step;
      this.changed();
    } else if (this.store.accept(content, buffers)) {
      this.asked = false;
      if (content.type === "all") this.listAll();
      this.changed();
    } else if (!this.asked) this.ask();
  }

  // The curves that were kept in the widget's state, where no kernel has sent any.
  restore() {
    const snapshot = this.model.get("snapshot");
    if (this.store.next !== null || !snapshot || !snapshot.byteLength) return;
    this.store.accept(...unpack(snapshot));
    this.listAll();
    this.changed();
  }

  listAll() {
    this.listPanels();
    this.listEarlierRuns();
  }

  listEarlierRuns() {
    const items = this.store.earlierRuns.map((run, i) => {
      const { colour, dash } = earlierStyle(run, i);
      const label = document.createElement("label");
      const box = make("input", "", label, { type: "checkbox" });
      box.checked = !run.hidden;
      box.onchange = () => {
        run.hidden = !box.checked;
        this.changed();
      };
      const line = make("i", "", label);
      line.style.borderTop = `2px ${dash.length ? "dashed" : "solid"} ${colour}`;
      label.append(run.label);
      return label;
    });
    this.legend.replaceChildren(...items);
  }

  point(x, y) {
    if (!this.plan) return;
    const step = this.plan.x.back(x);
    const reach = (5 / (this.plan.right - this.plan.left)) * this.plan.x.end;
    this.say(describe(this.store, step, reach), x, y);
  }

  say(said, x, y) {
    if (!said) return;
    this.pointed = said.step;
    fillReadout(this.readout, said);
    placeReadout(this.readout, x, y, this.stage);
    this.changed();
  }

  unpoint() {
    this.pointed = null;
    this.readout.hidden = true;
    this.changed();
  }

  changed() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  draw() {
    const width = this.stage.clientWidth;
    const height = chartHeight(this.store.panels);
    if (width < 120 || !height) return; // not laid out yet, or folded away; or nothing is known yet
    const dense = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(width * dense), Math.round(height * dense)];
    if (this.canvas.width !== w || this.canvas.height !== h) Object.assign(this.canvas, { width: w, height: h });
    this.canvas.style.height = `${height}px`;
    const pen = this.canvas.getContext("2d");
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    pen.clearRect(0, 0, width, height);
    this.plan = layOut(this.store, width, this.logs);
    drawAll(pen, this.plan, this.store, readTheme(this.root), this.pointed);
    this.publish();
  }

  // What tests and screen readers read.
  publish() {
    const { rows, evaluations, summary, earlierRuns, next, picked, born } = this.store;
    const values = {
      n: rows.count,
      first: rows.count ? rows.at(0, 0) : "",
      length: next ?? 0,
      last: JSON.stringify(summary.last),
      marks: summary.marks.length,
      evaluations: evaluations.count,
      earlier: earlierRuns.filter((run) => !run.hidden).length,
      parent: earlierRuns.some((run) => run.parent),
      picked: picked ?? "",
      born,
    };
    for (const [name, value] of Object.entries(values)) this.canvas.dataset[name] = String(value);
    const said = describe(this.store, Infinity, 0);
    if (said) this.canvas.setAttribute("aria-label", `Training curves. ${said.lines.map((line) => line.join(" ")).join(", ")}`);
    nameSliders(this.root);
  }
}

// -- the readout, and the step that is picked

// What to say about the step nearest to `step`: lines of [name, value], and the changes made close to it.
function describe(store, step, reach) {
  const { rows, evaluations, summary } = store;
  const row = rows.nearest(step);
  if (row < 0) return null;
  const at = (name) => rows.at(row, rows.index[name]);
  const drawn = new Set(store.panels.flatMap((panel) => panel.columns));
  const missing = { norm_after: "not clipped", max_norm: "off" };
  const off = Number.isNaN(at("max_norm"));
  const lines = rows.columns
    .filter(({ name }) => drawn.has(name))
    .map(({ name, label }) => [label, off && missing[name] ? missing[name] : short(at(name))]);
  lines.unshift(["step", thousands(at("step"))]);
  const judged = evaluations.nearest(at("step"));
  if (judged >= 0) {
    const when = evaluations.at(judged, 0);
    const scores = evaluations.columns.slice(1).map(({ name, label }) => [label, short(evaluations.at(judged, evaluations.index[name]))]);
    if (when !== at("step")) scores[0][1] += ` (step ${thousands(when)})`;
    lines.push(...scores);
  }
  const parent = store.visibleEarlierRuns.find((run) => run.parent);
  if (parent && at("step") > store.born && parent.rows.newest("step") >= at("step")) {
    const there = parent.rows.nearest(at("step"));
    lines.splice(3, 0, ["parent, smoothed", short(parent.rows.at(there, parent.rows.index.smooth))]);
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

export default {
  render({ model, el }) {
    const view = new View(model, el);
    return () => view.close();
  },
};
