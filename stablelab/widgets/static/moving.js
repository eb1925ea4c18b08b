// A picture that moves: panels of curves, redrawn whenever Python sends new ones. moving_axes.js stands in front.

const HEIGHT = 320; // CSS pixels of a panel
const FAR = 1e5; // pixels; lines that go further are cut, in their own direction

/** Undoes chart.pack: length of the header, header (JSON), float32 buffers. */
function unpack(view) {
  if (!view || !view.byteLength) return [];
  const bytes = view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
  const length = new DataView(bytes).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length)));
  let at = 4 + length;
  const buffers = header.sizes.map((size) => new Float32Array(bytes, (at += size) - size, size / 4));
  for (const panel of header.panels) {
    if (panel.heat) panel.heat.values = buffers.shift();
    for (const curve of panel.curves) [curve.xs, curve.ys] = [buffers.shift(), buffers.shift()];
  }
  return header.panels;
}

/** The pieces of a curve in pixels, cut where a number is missing or far out of sight. */
function pieces(curve, axes) {
  const found = [];
  let piece = [];
  for (let i = 0; i < curve.xs.length; i++) {
    let [x, y] = [axes.atX(curve.xs[i]), axes.atY(curve.ys[i])];
    const size = Math.max(Math.abs(x), Math.abs(y));
    const last = piece[piece.length - 1];
    if (size < FAR) piece.push([x, y]);
    else if (last && size < Infinity) piece.push([last[0] + ((x - last[0]) * FAR) / size, last[1] + ((y - last[1]) * FAR) / size]);
    if (!(size < FAR) && piece.length) {
      found.push(piece);
      piece = [];
    }
  }
  if (piece.length) found.push(piece);
  return found;
}

function stroke(context, points) {
  context.beginPath();
  points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
}

function marker(context, [x, y], kind, size) {
  context.beginPath();
  if (kind % 3 === 0) context.arc(x, y, size, 0, 2 * Math.PI);
  else if (kind % 3 === 1) context.rect(x - size, y - size, 2 * size, 2 * size);
  else context.moveTo(x, y - 1.3 * size), context.lineTo(x + 1.2 * size, y + size), context.lineTo(x - 1.2 * size, y + size);
  context.closePath();
  context.fill();
}

function arrow(context, [x1, y1], [x2, y2]) {
  const length = Math.hypot(x2 - x1, y2 - y1);
  stroke(context, [[x1, y1], [x2, y2]]);
  if (length < 7) return;
  const head = Math.min(9, length / 2);
  const [ux, uy] = [((x2 - x1) / length) * head, ((y2 - y1) / length) * head];
  context.beginPath();
  context.moveTo(x2, y2);
  context.lineTo(x2 - ux - uy * 0.45, y2 - uy + ux * 0.45);
  context.lineTo(x2 - ux + uy * 0.45, y2 - uy - ux * 0.45);
  context.fill();
}

function drawCurve(context, curve, axes, theme) {
  const faint = curve.style === "faint";
  context.strokeStyle = context.fillStyle = faint ? theme.ink : COLORS[curve.color];
  context.globalAlpha = faint ? 0.35 : 1;
  context.lineWidth = faint ? 0.8 : curve.style === "line" ? 2 : 1.4;
  context.lineJoin = "round";
  context.setLineDash(curve.style === "line" || curve.style === "path" ? DASHES[curve.color] : []);
  for (const piece of pieces(curve, axes)) {
    if (curve.style === "arrows") for (let i = 1; i < piece.length; i++) arrow(context, piece[i - 1], piece[i]);
    else if (curve.style !== "points") stroke(context, piece);
    context.setLineDash(curve.style === "line" ? DASHES[curve.color] : []);
    if (curve.style === "points" || curve.style === "path") for (const point of piece) marker(context, point, curve.color, 2.6);
    if (curve.style === "arrows" && piece.length) marker(context, piece[0], curve.color, 4);
  }
  context.setLineDash([]);
  context.globalAlpha = 1;
}

function paint(canvas, panel) {
  const [width, ratio] = [canvas.clientWidth, window.devicePixelRatio || 1];
  if (!width) return;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(HEIGHT * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const theme = themeOf(canvas);
  context.font = theme.font;
  const axes = layOut(context, panel, width, HEIGHT);
  const { left, right, top, bottom } = axes.box;
  context.save();
  context.beginPath();
  context.rect(left, top, right - left, bottom - top);
  context.clip();
  if (panel.heat) drawHeat(context, panel.heat, axes);
  const faint = (curve) => curve.style === "faint";
  for (const curve of panel.curves.filter(faint)) drawCurve(context, curve, axes, theme);
  context.restore();
  drawAxes(context, panel, axes, theme);
  context.save();
  context.beginPath();
  context.rect(left, top - 4, right - left + 4, bottom - top + 4);
  context.clip();
  for (const curve of panel.curves.filter((each) => !faint(each))) drawCurve(context, curve, axes, theme);
  for (const rule of panel.rules) drawRule(context, rule, axes, theme);
  context.restore();
  canvas.dataset.n = Number(canvas.dataset.n || 0) + 1; // how often it was drawn, for tests
}

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

/** A legend entry: a sample of the line as it is drawn, and its name. */
function entry(curve) {
  const item = element("span", "sl-entry");
  const sample = element("canvas", "");
  const ratio = window.devicePixelRatio || 1;
  [sample.width, sample.height, sample.style.width, sample.style.height] = [30 * ratio, 12 * ratio, "30px", "12px"];
  const context = sample.getContext("2d");
  context.scale(ratio, ratio);
  const scale = { atX: (x) => x, atY: (y) => y };
  drawCurve(context, { ...curve, xs: curve.style === "points" ? [15] : [4, 26], ys: [6, 6] }, scale, themeOf(document.body));
  item.append(sample, curve.label);
  return item;
}

function fill(figure, panel) {
  const title = element("div", "sl-title", panel.title);
  const legend = element("div", "sl-legend");
  legend.append(...panel.curves.filter((curve) => curve.label).map(entry));
  figure.setAttribute("role", "img");
  figure.setAttribute("aria-label", [panel.title, panel.summary].filter(Boolean).join(": "));
  figure.querySelector(".sl-head").replaceChildren(title, legend);
  figure.querySelector("figcaption").textContent = panel.summary;
  paint(figure.querySelector(".sl-canvas"), panel);
}

function build() {
  const figure = element("figure", "sl-panel");
  figure.append(element("div", "sl-head"), element("canvas", "sl-canvas"), element("figcaption", ""));
  figure.querySelector(".sl-canvas").style.height = `${HEIGHT}px`;
  return figure;
}

export default {
  initialize({ model }) {
    model.send({ type: "here" }); // there is a page that can show this
  },
  render({ model, el }) {
    const row = element("div", "sl-row");
    el.append(row);
    let panels = [];
    const draw = () => panels.forEach((panel, i) => fill(row.children[i], panel));
    const take = () => {
      panels = unpack(model.get("data"));
      if (row.children.length !== panels.length) row.replaceChildren(...panels.map(build));
      draw();
    };
    const resized = new ResizeObserver(draw);
    const themed = new MutationObserver(() => requestAnimationFrame(draw));
    model.on("change:data", take);
    take();
    resized.observe(row);
    themed.observe(document.body, { attributeFilter: ["data-jp-theme-light", "data-jp-theme-name"] });
    return () => {
      model.off("change:data", take);
      resized.disconnect();
      themed.disconnect();
    };
  },
};
