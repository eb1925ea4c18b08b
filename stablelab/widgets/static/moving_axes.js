// Scales, ticks, rules and shades of a moving picture. Shares its scope with moving.js.

// Okabe & Ito (2008), "Color Universal Design"; each with a dash pattern, so that colour is never the only difference.
const COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"];
const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3], [12, 4], [4, 2]];
const FONT = 12; // CSS pixels

function themeOf(element) {
  const style = getComputedStyle(element);
  const value = (name, other) => style.getPropertyValue(name).trim() || other;
  return {
    ink: value("--jp-ui-font-color1", "#333333"),
    paper: value("--jp-layout-color0", "#ffffff"),
    font: `${FONT}px ${value("--jp-ui-font-family", "sans-serif")}`,
  };
}

/** Where the axes lie, in CSS pixels, and how numbers map to them. */
function layOut(context, panel, width, height) {
  const ticksY = ticks(...panel.ylim, panel.logY, Math.max(3, height / 50));
  const widest = Math.max(...ticksY.map((tick) => context.measureText(tick.text).width), 10);
  const box = { left: widest + (panel.y ? 30 : 12), top: 8, right: width - 14, bottom: height - (panel.x ? 42 : 24) };
  let [x, y] = [panel.xlim, panel.ylim];
  if (panel.equal) {
    const unit = Math.max((x[1] - x[0]) / (box.right - box.left), (y[1] - y[0]) / (box.bottom - box.top));
    x = widen(x, unit * (box.right - box.left));
    y = widen(y, unit * (box.bottom - box.top));
  }
  return {
    box,
    ticksX: ticks(...x, panel.logX, Math.max(2, (box.right - box.left) / 75)),
    ticksY: ticks(...y, panel.logY, Math.max(3, height / 50)),
    atX: (value) => box.left + ((value - x[0]) / (x[1] - x[0])) * (box.right - box.left),
    atY: (value) => box.bottom - ((value - y[0]) / (y[1] - y[0])) * (box.bottom - box.top),
  };
}

function widen([low, high], length) {
  const middle = (low + high) / 2;
  return [middle - length / 2, middle + length / 2];
}

/** About `count` round values between low and high; on a logarithmic axis those are powers of ten. */
function ticks(low, high, log, count) {
  if (log && high - low >= 1.2) {
    const step = Math.max(1, Math.ceil((high - low) / count));
    return range(Math.ceil(low / step) * step, high, step).map((at) => ({ at, text: power(Math.round(at)) }));
  }
  if (log) {
    const marks = [];
    for (let decade = Math.floor(low); decade <= high; decade++) {
      for (const digit of [1, 2, 5]) marks.push({ at: decade + Math.log10(digit), text: number(digit * 10 ** decade) });
    }
    return marks.filter(({ at }) => at >= low && at <= high);
  }
  const rough = (high - low) / count;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= rough * 0.999);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return range(Math.ceil(low / step - 1e-9) * step, high + step * 1e-9, step).map((at) => ({
    at,
    text: Math.max(Math.abs(low), Math.abs(high)) >= 1e5 || digits > 4 ? number(at) : (Math.abs(at) < step / 2 ? 0 : at).toFixed(digits).replace("-", "−"),
  }));
}

function range(first, last, step) {
  const values = [];
  for (let i = 0; first + i * step <= last; i++) values.push(first + i * step);
  return values;
}

function power(exponent) {
  if (exponent >= -2 && exponent <= 3) return number(10 ** exponent);
  return "10" + [...String(exponent)].map((digit) => (digit === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)])).join("");
}

function number(value) {
  return String(Number(value.toPrecision(4))).replace("-", "−");
}

function drawAxes(context, panel, axes, theme) {
  const { left, right, top, bottom } = axes.box;
  context.strokeStyle = context.fillStyle = theme.ink;
  context.lineWidth = 1;
  const line = (x1, y1, x2, y2, alpha) => {
    context.globalAlpha = alpha;
    context.beginPath();
    context.moveTo(x1, y1);
    context.lineTo(x2, y2);
    context.stroke();
    context.globalAlpha = 1;
  };
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const { at, text } of axes.ticksX) {
    const x = Math.round(axes.atX(at)) + 0.5;
    line(x, top, x, bottom, 0.12);
    context.fillText(text, x, bottom + 6);
  }
  if (panel.x) context.fillText(panel.x, (left + right) / 2, bottom + 24);
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const { at, text } of axes.ticksY) {
    const y = Math.round(axes.atY(at)) + 0.5;
    line(left, y, right, y, 0.12);
    context.fillText(text, left - 6, y);
  }
  line(left, bottom + 0.5, right, bottom + 0.5, 0.6);
  if (!panel.y) return;
  context.save();
  context.translate(8, (top + bottom) / 2);
  context.rotate(-Math.PI / 2);
  context.textAlign = "center";
  context.fillText(panel.y, 0, 0);
  context.restore();
}

function drawHeat(context, heat, axes) {
  const [rows, columns] = heat.shape;
  const image = new ImageData(columns, rows);
  heat.values.forEach((value, i) => {
    const at = 4 * ((rows - 1 - Math.floor(i / columns)) * columns + (i % columns));
    image.data.set([0, 114, 178, 70 * value], at);
  });
  const small = new OffscreenCanvas(columns, rows);
  small.getContext("2d").putImageData(image, 0, 0);
  const [left, right, low, high] = heat.extent;
  context.drawImage(small, axes.atX(left), axes.atY(high), axes.atX(right) - axes.atX(left), axes.atY(low) - axes.atY(high));
}

function drawRule(context, rule, axes, theme) {
  const { left, right, top, bottom } = axes.box;
  const at = rule.axis === "x" ? axes.atX(rule.at) : axes.atY(rule.at);
  if (rule.axis === "x" ? at < left || at > right : at < top || at > bottom) return;
  context.strokeStyle = context.fillStyle = theme.ink;
  context.lineWidth = 1.2;
  context.setLineDash([3, 3]);
  stroke(context, rule.axis === "x" ? [[at, top], [at, bottom]] : [[left, at], [right, at]]);
  context.setLineDash([]);
  const before = rule.axis === "x" ? at > (left + right) / 2 : true;
  const [x, y] = rule.axis === "x" ? [at + (before ? -5 : 5), top + 3] : [right - 4, at - FONT - 4];
  context.textAlign = before ? "right" : "left";
  context.textBaseline = "top";
  context.lineWidth = 4;
  context.strokeStyle = theme.paper;
  context.strokeText(rule.label, x, y); // a halo, so that it can be read across lines
  context.fillText(rule.label, x, y);
}
