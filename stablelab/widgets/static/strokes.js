// Strokes: a curve through many points, a band, a legend line, a text; and the colours of the page.

function luminance(colour) {
  const parts = colour.match(/[\d.]+/g);
  return parts ? (0.299 * parts[0] + 0.587 * parts[1] + 0.114 * parts[2]) / 255 : 0;
}

function readTheme(element) {
  const style = getComputedStyle(element);
  const ink = style.color;
  const dark = luminance(ink) > 0.5;
  return {
    dark,
    ink,
    ground: style.backgroundColor,
    soft: dark ? "rgba(255,255,255,0.62)" : "rgba(0,0,0,0.6)",
    grid: dark ? "rgba(255,255,255,0.14)" : "rgba(0,0,0,0.1)",
    faintGrid: dark ? "rgba(255,255,255,0.06)" : "rgba(0,0,0,0.045)",
    axis: dark ? "rgba(255,255,255,0.38)" : "rgba(0,0,0,0.35)",
    chosen: dark ? "rgba(86,180,233,0.22)" : "rgba(0,114,178,0.14)",
    font: style.fontFamily,
    ...(dark ? ON_DARK : ON_LIGHT),
  };
}

// The rows of a table (or a band) between two steps, and one beyond on either side, so that lines go on to the edge.
function rowsBetween(table, start, end) {
  return [Math.max(0, table.from(start) - 1), Math.min(table.count, table.from(end) + 2)];
}

// A curve through what `read` says of each row. Where several points share a pixel, their lowest and highest are drawn. A
// row without a number breaks the curve where `gaps` says so; else it goes on to the next number there is. Points that
// stand alone, or are few, are drawn as dots.
function drawCurve(pen, table, read, plan, y, { stepped = false, gaps = true } = {}) {
  pen.beginPath();
  let [pixel, low, high, last] = [null, 0, 0, 0];
  let alone = []; // the point of a stretch that has only one so far
  const [dots, points] = [[], []];
  const flush = () => {
    if (pixel === null || low === high) return;
    pen.lineTo(pixel, low);
    pen.lineTo(pixel, high);
    pen.lineTo(pixel, last);
  };
  const [first, end] = rowsBetween(table, plan.x.start, plan.x.end);
  for (let i = first; i < end; i++) {
    const [px, py] = [plan.x.at(table.step(i)), y(read(i))];
    if (!Number.isFinite(py)) {
      if (!gaps) continue;
      flush();
      dots.push(...alone);
      [pixel, alone] = [null, []];
    } else if (pixel !== null && Math.abs(px - pixel) < 0.5) {
      [low, high, last] = [Math.min(low, py), Math.max(high, py), py];
    } else {
      flush();
      if (stepped && pixel !== null) pen.lineTo(px, last);
      if (pixel === null) pen.moveTo(px, py);
      else pen.lineTo(px, py);
      alone = pixel === null ? [[px, py]] : [];
      if (!gaps) points.push([px, py]);
      [pixel, low, high, last] = [px, py, py, py];
    }
  }
  flush();
  pen.stroke();
  const few = points.length > 1 && (points.at(-1)[0] - points[0][0]) / points.length > 6;
  drawDots(pen, few ? points : [...dots, ...alone]);
}

function drawDots(pen, dots) {
  pen.fillStyle = pen.strokeStyle;
  for (const [px, py] of dots) {
    pen.beginPath();
    pen.arc(px, py, 1.2 + pen.lineWidth / 2, 0, 2 * Math.PI);
    pen.fill();
  }
}

// The ground between two curves, as of `read(row, deviations)`; below the ends of a logarithmic axis it ends at the floor.
function drawBand(pen, band, read, plan, y, floor, { colour, alpha }) {
  const [first, end] = rowsBetween(band, plan.x.start, plan.x.end);
  const edge = (deviations) => {
    const [get, points] = [read(deviations), []];
    for (let i = first; i < end; i++) {
      const [value, py] = [get(i), y(get(i))];
      if (Number.isFinite(value)) points.push([plan.x.at(band.step(i)), Number.isFinite(py) ? py : floor]);
    }
    return points;
  };
  const around = [...edge(1), ...edge(-1).reverse()];
  if (around.length < 4) return;
  pen.globalAlpha = alpha;
  pen.fillStyle = colour;
  pen.beginPath();
  around.forEach(([px, py], i) => (i ? pen.lineTo(px, py) : pen.moveTo(px, py)));
  pen.fill();
  pen.globalAlpha = 1;
}

function drawMarkers(pen, table, read, plan, y, ground, radius = 3.2) {
  let before = -Infinity;
  const [first, end] = rowsBetween(table, plan.x.start, plan.x.end);
  for (let i = first; i < end; i++) {
    const [px, py] = [plan.x.at(table.step(i)), y(read(i))];
    if (!Number.isFinite(py) || (px - before < 3 * radius && i < table.count - 1)) continue;
    before = px;
    pen.beginPath();
    pen.arc(px, py, radius, 0, 2 * Math.PI);
    pen.fillStyle = ground;
    pen.fill();
    pen.stroke();
  }
}

function stroke(pen, { colour, width = 1.2, dash = [], alpha = 1 }) {
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.setLineDash(dash);
  pen.globalAlpha = alpha;
}

function drawLine(pen, x1, y1, x2, y2, style) {
  stroke(pen, style);
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
  pen.stroke();
  pen.globalAlpha = 1;
  pen.setLineDash([]);
}

function drawText(pen, text, x, y, { colour, font, align = "left", baseline = "alphabetic", halo = null }) {
  pen.font = font;
  pen.textAlign = align;
  pen.textBaseline = baseline;
  if (halo) {
    pen.strokeStyle = halo;
    pen.lineWidth = 3;
    pen.lineJoin = "round";
    pen.strokeText(text, x, y);
  }
  pen.fillStyle = colour;
  pen.fillText(text, x, y);
  return pen.measureText(text).width;
}

// A row of "— name" items from x on; what does not fit before `end` is left out.
function drawLegend(pen, items, x, y, end, theme) {
  for (const item of items) {
    pen.font = `11px ${theme.font}`;
    const room = (item.colour ? 25 : 0) + pen.measureText(item.text).width;
    if (x + room > end) return;
    if (item.colour) {
      drawLine(pen, x, y - 4, x + 19, y - 4, item);
      if (item.marker) {
        stroke(pen, { colour: item.colour, width: 1.5 });
        pen.beginPath();
        pen.arc(x + 9.5, y - 4, 3, 0, 2 * Math.PI);
        pen.fillStyle = theme.ground;
        pen.fill();
        pen.stroke();
      }
    }
    drawText(pen, item.text, x + (item.colour ? 25 : 0), y, { colour: theme.soft, font: `11px ${theme.font}` });
    x += room + 16;
  }
}
