// The widget: a canvas, three switches, a readout, the list of ghosts; drawn anew only when something has changed.

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
    this.logs = PANELS.map(() => false);
    this.pointed = null;
    this.frame = null;
    this.root = make("div", "stablelab-chart", el);
    this.stage = make("div", "stablelab-stage", this.root);
    this.canvas = make("canvas", "", this.stage, { role: "img", tabindex: "0", "aria-label": "Training curves, no step yet" });
    this.canvas.setAttribute("aria-description", "Arrow keys go along the curve, Enter picks a step to branch from, Escape lets go");
    this.readout = make("div", "stablelab-readout", this.stage, { "aria-live": "polite" });
    this.readout.hidden = true;
    this.legend = make("div", "stablelab-ghosts", this.root, { role: "group", "aria-label": "earlier runs" });
    this.switches = PANELS.map((panel, i) => this.addSwitch(panel, i));
    this.listen();
  }

  addSwitch(panel, i) {
    const button = make("button", "stablelab-scale", this.stage, { type: "button", "aria-pressed": "false" });
    button.textContent = "log";
    button.title = `${panel.title}: logarithmic axis`;
    button.setAttribute("aria-label", button.title);
    button.dataset.panel = panel.name;
    const above = PANELS.slice(0, i).reduce((sum, each) => sum + each.height + GUTTER.header, 0);
    button.style.top = `${above + 4}px`;
    button.onclick = () => {
      this.logs[i] = !this.logs[i];
      button.setAttribute("aria-pressed", String(this.logs[i]));
      this.changed();
    };
    return button;
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
      if (content.type === "all") this.listGhosts();
      this.changed();
    } else if (!this.asked) this.ask();
  }

  // The curves that were kept in the widget's state, where no kernel has sent any.
  restore() {
    const snapshot = this.model.get("snapshot");
    if (this.store.next !== null || !snapshot || !snapshot.byteLength) return;
    this.store.accept(...unpack(snapshot));
    this.listGhosts();
    this.changed();
  }

  listGhosts() {
    const items = this.store.ghosts.map((ghost, i) => {
      const { colour, dash } = ghostStyle(ghost, i);
      const label = document.createElement("label");
      const box = make("input", "", label, { type: "checkbox" });
      box.checked = !ghost.hidden;
      box.onchange = () => {
        ghost.hidden = !box.checked;
        this.changed();
      };
      const line = make("i", "", label);
      line.style.borderTop = `2px ${dash.length ? "dashed" : "solid"} ${colour}`;
      label.append(ghost.label);
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
    placeReadout(this.readout, x, y, this.stage.clientWidth);
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
    if (width < 120) return; // not laid out yet, or folded away
    const dense = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(width * dense), Math.round(HEIGHT * dense)];
    if (this.canvas.width !== w || this.canvas.height !== h) Object.assign(this.canvas, { width: w, height: h });
    const pen = this.canvas.getContext("2d");
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    pen.clearRect(0, 0, width, HEIGHT);
    this.plan = layOut(this.store, width, this.logs);
    drawAll(pen, this.plan, this.store, readTheme(this.root), this.pointed);
    this.publish();
  }

  // What tests and screen readers read.
  publish() {
    const { rows, evaluations, summary, ghosts, next, picked, born } = this.store;
    const values = {
      n: rows.count,
      first: rows.count ? rows.at(0, 0) : "",
      length: next ?? 0,
      last: JSON.stringify(summary.last),
      marks: summary.marks.length,
      evaluations: evaluations.count,
      ghosts: ghosts.filter((ghost) => !ghost.hidden).length,
      parent: ghosts.some((ghost) => ghost.parent),
      picked: picked ?? "",
      born,
    };
    for (const [name, value] of Object.entries(values)) this.canvas.dataset[name] = String(value);
    const said = describe(this.store, Infinity, 0);
    if (said) this.canvas.setAttribute("aria-label", `Training curves. ${said.lines.map((line) => line.join(" ")).join(", ")}`);
    nameSliders(this.root);
  }
}

export default {
  render({ model, el }) {
    const view = new View(model, el);
    return () => view.close();
  },
};
