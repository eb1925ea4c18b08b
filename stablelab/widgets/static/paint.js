// Strokes: a curve through many points, a legend line, a text.

// A curve through column `column` of the table. Where several points share a pixel, their lowest and highest are drawn.
function drawCurve(pen, table, column, x, y, { stepped = false } = {}) {
  pen.beginPath();
  let broken = true;
  let [pixel, low, high, last] = [null, 0, 0, 0];
  const flush = () => {
    if (pixel === null || low === high) return;
    pen.lineTo(pixel, low);
    pen.lineTo(pixel, high);
    pen.lineTo(pixel, last);
  };
  for (let i = 0; i < table.count; i++) {
    const [px, py] = [x(table.at(i, 0)), y(table.at(i, column))];
    if (!Number.isFinite(py)) {
      flush();
      [pixel, broken] = [null, true];
    } else if (pixel !== null && Math.abs(px - pixel) < 0.5) {
      [low, high, last] = [Math.min(low, py), Math.max(high, py), py];
    } else {
      flush();
      if (stepped && !broken) pen.lineTo(px, last);
      if (broken) pen.moveTo(px, py);
      else pen.lineTo(px, py);
      [pixel, low, high, last, broken] = [px, py, py, py, false];
    }
  }
  flush();
  pen.stroke();
}

function drawMarkers(pen, table, column, x, y, ground, radius = 3.2) {
  let before = -Infinity;
  for (let i = 0; i < table.count; i++) {
    const [px, py] = [x(table.at(i, 0)), y(table.at(i, column))];
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
