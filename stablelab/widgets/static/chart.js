// The widget: a canvas, a switch for each axis, the smoothing, the list of earlier runs, and a readout of the step under
// the pointer or under the arrow keys. Drawn anew only when something has changed.

const LONGEST = 200; // steps that the smoothing looks back at most
const TINY = 430; // pixels; in a narrower chart the smoothing is a slider alone
const STOPS = 60; // of the slider, from no smoothing to the longest

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
    this.range = null; // the steps that are shown; null for all
    this.chosen = null; // the pixels between which a range is being chosen
    this.pointed = null;
    this.frame = null;
    this.root = make("div", "stablelab-chart", el);
    this.stage = make("div", "stablelab-stage", this.root);
    const named = { role: "img", tabindex: "0", "aria-label": "Training curves, no step yet" };
    this.canvas = make("canvas", "", this.stage, named);
    this.canvas.setAttribute(
      "aria-description",
      "Arrow keys go along the curve, Enter picks a step to branch from, Escape lets go, plus and minus zoom, 0 shows all",
    );
    this.canvas.title = "click: pick a step · drag: zoom · shift and drag: move · double click: all steps";
    this.readout = make("div", "stablelab-readout", this.stage);
    this.readout.hidden = true;
    this.tools = make("div", "", this.stage);
    this.makeSmoothing();
    this.all = make("button", "stablelab-all", this.stage, { type: "button", title: "show all steps (double click, or 0)" });
    this.all.textContent = "all steps";
    this.all.onclick = () => this.show(null);
    this.legend = make("div", "stablelab-earlier", this.root, { role: "group", "aria-label": "earlier runs" });
    this.announcer = new Announcer(this.root);
    this.kernel = new Kernel(model, (gone) => this.say(gone));
    this.listen();
  }

  makeSmoothing() {
    const label = make("label", "stablelab-smoothing", this.stage);
    label.title = "how many steps the strong curve looks back; double click for the usual number";
    label.append("smoothing");
    const limits = { type: "range", min: "0", max: String(STOPS), step: "1", "data-lm-suppress-shortcuts": "true" };
    this.slider = make("input", "", label, { ...limits, "aria-label": "smoothing" });
    this.steps = make("output", "", label);
    this.slider.oninput = () => this.smooth(Math.round(LONGEST ** (this.slider.value / STOPS)));
    label.ondblclick = () => this.smooth(null);
  }

  // Let the strong curves look back so many steps; null for what the kernel has them look back.
  smooth(steps) {
    this.store.smoothing = steps;
    this.showSmoothing();
    this.changed();
  }

  showSmoothing() {
    const steps = Math.round(this.store.smoothing ?? this.store.base);
    if (this.store.smoothing === null) this.slider.value = String(Math.round((STOPS * Math.log(steps)) / Math.log(LONGEST)));
    this.steps.textContent = steps > 1 ? `${steps} steps` : "off";
    this.slider.setAttribute("aria-valuetext", this.steps.textContent);
  }

  // A switch for the axis of each panel.
  listPanels() {
    const { panels } = this.store;
    this.logs = new Map(panels.map((panel) => [panel.name, this.logs.get(panel.name) ?? panel.log]));
    this.tools.replaceChildren();
    for (const panel of panels) {
      const group = make("div", "stablelab-axis", this.tools, { role: "group", "aria-label": `${panel.title}: axis` });
      group.dataset.panel = panel.name;
      const buttons = ["lin", "log"].map((kind) => {
        const button = make("button", "", group, { type: "button", "data-kind": kind });
        button.textContent = kind;
        button.title = `${panel.title}: ${kind === "log" ? "logarithmic" : "linear"} axis`;
        button.setAttribute("aria-label", button.title);
        button.onclick = () => {
          this.logs.set(panel.name, kind === "log");
          press();
          this.changed();
        };
        return button;
      });
      const press = () => {
        for (const button of buttons) {
          button.setAttribute("aria-pressed", String((button.dataset.kind === "log") === this.logs.get(panel.name)));
        }
      };
      press();
    }
  }

  listen() {
    this.onMessage = (content, buffers) => this.receive(content, buffers);
    this.model.on("msg:custom", this.onMessage);
    this.onSnapshot = () => this.restore();
    this.model.on("change:snapshot", this.onSnapshot);
    this.onDisconnected = () => this.root.closest(".jupyter-widgets-disconnected") && this.kernel.lose();
    this.model.on("comm_live_update", this.onDisconnected);
    listenOn(this.canvas, this);
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
    this.model.off("comm_live_update", this.onDisconnected);
    for (const each of [this.resized, this.themed]) each.disconnect();
    for (const each of [this.kernel, this.announcer]) each.close();
    if (this.frame !== null) cancelAnimationFrame(this.frame);
  }

  send(content) {
    this.kernel.send(content);
  }

  // Ask the kernel for everything; unanswered where there is no kernel.
  ask() {
    this.asked = true;
    this.send({ type: "resync" });
  }

  receive(content, buffers) {
    this.kernel.hear();
    if (content.type === "pong") return;
    if (content.type === "pick") {
      this.store.picked = content.step;
      this.changed();
    } else if (this.store.accept(content, buffers)) {
      this.asked = false;
      if (content.type === "all") this.listAll();
      this.changed();
    } else if (!this.asked) this.ask();
  }

  // The kernel is gone, or back: one line instead of controls that nobody answers.
  say(gone) {
    boardOf(this.root).classList.toggle("stablelab-gone", gone);
    if (gone) this.announcer.say("the kernel is gone: run the cell again");
    this.changed();
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
    this.showSmoothing();
    this.listEarlierRuns();
  }

  listEarlierRuns() {
    const theme = readTheme(this.root);
    const items = [...this.store.earlierRuns, ...this.store.bands].map((one) => {
      const { colour, dash, width } = earlierStyle(one, theme);
      const label = document.createElement("label");
      const box = make("input", "", label, { type: "checkbox" });
      box.checked = !one.hidden;
      box.onchange = () => {
        one.hidden = !box.checked;
        this.changed();
      };
      const line = make("i", one.members ? "stablelab-band" : "", label);
      line.style.borderTop = `${Math.max(2, width)}px ${dash.length ? "dashed" : "solid"} ${colour}`;
      if (one.members) line.style.setProperty("--band", colour);
      label.append(one.label);
      return label;
    });
    this.legend.replaceChildren(...items);
    this.listed = theme.dark;
  }

  // -- which steps are shown

  // Zoom to a range of steps; null for all of them. One that reaches the newest step goes on with it.
  show(range) {
    if (!this.plan) return;
    this.range = range && within(range, this.plan.x.full);
    this.follows = this.range !== null && this.store.newest !== null && this.range[1] >= this.store.newest;
    this.changed();
  }

  choose(pixels) {
    this.chosen = pixels;
    this.changed();
  }

  // The range of steps to draw, moved along where it follows the newest one; all where there are none in it any more.
  shownRange() {
    const { newest } = this.store;
    if (this.range && (newest === null || newest < this.range[0])) this.range = null;
    if (this.range && this.follows && newest > this.range[1]) {
      this.range = [newest - (this.range[1] - this.range[0]), newest];
    }
    return this.range;
  }

  // -- the step under the pointer or the arrow keys

  point(x, y) {
    if (!this.plan) return;
    const { left, right, x: scale } = this.plan;
    this.readout.removeAttribute("aria-live"); // whoever points can see
    this.sayOf(describe(this.store, scale.back(x), (5 / (right - left)) * (scale.end - scale.start)), x, y);
  }

  // With the keys: let the range that is shown move along.
  goTo(step) {
    if (this.range && (step < this.range[0] || step > this.range[1])) {
      const half = (this.range[1] - this.range[0]) / 2;
      this.show([step - half, step + half]);
      this.plan = layOut(this.store, this.stage.clientWidth, this.logs, this.range);
    }
    this.readout.setAttribute("aria-live", "polite");
    this.sayOf(describe(this.store, step, 0.5), this.plan.x.at(step), 120);
  }

  sayOf(said, x, y) {
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

  // -- drawing

  changed() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  draw() {
    const width = this.stage.clientWidth;
    const height = chartHeight(this.store.panels, width);
    if (width < 120 || !height) return; // not laid out yet, or folded away; or nothing is known yet
    const dense = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(width * dense), Math.round(height * dense)];
    if (this.canvas.width !== w || this.canvas.height !== h) Object.assign(this.canvas, { width: w, height: h });
    this.canvas.style.height = `${height}px`;
    const pen = this.canvas.getContext("2d");
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    pen.clearRect(0, 0, width, height);
    const theme = readTheme(this.root);
    if (this.listed !== theme.dark) this.listEarlierRuns();
    this.store.smooth();
    this.plan = layOut(this.store, width, this.logs, this.shownRange());
    this.placeTools();
    const { pointed, chosen } = this;
    drawAll(pen, this.plan, this.store, theme, { pointed, chosen, reserved: (panel) => (panel.first ? 288 : 76) });
    this.publish();
  }

  placeTools() {
    this.plan.panels.forEach((panel, i) => (this.tools.children[i].style.top = `${panel.head + 4}px`));
    this.all.hidden = !this.range;
    this.all.style.top = `${this.plan.height - GUTTER.foot + 19}px`;
    this.stage.classList.toggle("stablelab-tiny", this.stage.clientWidth < TINY);
  }

  // What tests and screen readers read.
  publish() {
    const { rows, evaluations, summary, visibleEarlierRuns, visibleBands, next, picked, born, panels } = this.store;
    const values = {
      n: rows.count,
      first: rows.count ? rows.step(0) : "",
      length: next ?? 0,
      last: JSON.stringify(summary.last),
      marks: summary.marks.length,
      evaluations: evaluations.count,
      earlier: visibleEarlierRuns.length,
      bands: JSON.stringify(visibleBands.map((band) => band.short)),
      parent: visibleEarlierRuns.some((run) => run.parent),
      picked: picked ?? "",
      born,
      panels: JSON.stringify(panels.map((panel) => panel.title)),
      range: JSON.stringify([this.plan.x.start, this.plan.x.end]),
      smoothed: JSON.stringify(rows.newest("smooth")),
    };
    for (const [name, value] of Object.entries(values)) this.canvas.dataset[name] = String(value);
    const said = describe(this.store, Infinity, 0);
    if (said) this.canvas.setAttribute("aria-label", `Training curves. ${said.lines.map((line) => line.join(" ")).join(", ")}`);
    nameInputs(this.root);
    if (!this.kernel.gone) this.announcer.look();
  }
}

export default {
  render({ model, el }) {
    const view = new View(model, el);
    return () => view.close();
  },
};
