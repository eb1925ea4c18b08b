// Numbers as they are written, from values to pixels, and where the grid lines go.

const SUPERSCRIPTS = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

function power(exponent) {
  return "10" + [...String(exponent)].map((c) => SUPERSCRIPTS[c]).join("");
}

// At most `digits` significant digits: 0.0123, 12.3, 3×10⁻⁵.
function short(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const exponent = Math.floor(Math.log10(Math.abs(value)) + 1e-9);
  if (exponent >= -3 && exponent < 5) {
    return String(Number(value.toPrecision(digits))).replace("-", "−");
  }
  const mantissa = Number((value / 10 ** exponent).toPrecision(digits));
  return (mantissa === 1 ? "" : `${mantissa}×`) + power(exponent);
}

function thousands(value) {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+(?!\d))/g, " ");
}

function niceStep(span, count) {
  const rough = span / Math.max(1, count);
  const unit = 10 ** Math.floor(Math.log10(rough));
  const leading = rough / unit;
  return unit * (leading <= 1 ? 1 : leading <= 2 ? 2 : leading <= 5 ? 5 : 10);
}

function linearTicks(low, high, count, least = 0) {
  const step = Math.max(niceStep(high - low, count), least);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-6); i * step <= high + step * 1e-6; i++) ticks.push(i * step);
  const largest = Math.max(Math.abs(low), Math.abs(high));
  const decimals = Math.min(8, Math.max(0, -Math.floor(Math.log10(step) + 1e-6)));
  const plain = largest >= 1e-2 && largest < 1e5;
  const label = (value) => (plain ? value.toFixed(decimals).replace("-", "−") : short(value, 2));
  return ticks.map((value) => ({ value, label: value === 0 ? "0" : label(value), strong: true }));
}

function logTicks(low, high, room) {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const decades = Math.log10(high / low);
  const every = Math.max(1, Math.ceil((decades * 18) / room));
  const ticks = [];
  const label = (digit, exponent) => (digit === 1 && Math.abs(exponent) > 3 ? power(exponent) : short(digit * 10 ** exponent, 2));
  for (let exponent = first; exponent <= last; exponent++) {
    for (let digit = 1; digit < 10; digit++) {
      const value = digit * 10 ** exponent;
      if (value < low * 0.999 || value > high * 1.001) continue;
      const named = (digit === 1 && exponent % every === 0) || (decades < 1.6 && (digit === 2 || digit === 5));
      const shown = named || (decades < 0.5 && room > 60);
      if (shown || decades < 4) ticks.push({ value, label: shown ? label(digit, exponent) : "", strong: named });
    }
  }
  return ticks;
}

// A vertical scale that holds the values from low to high. top and bottom are pixels.
function verticalScale(low, high, log, top, bottom, zero) {
  if (!(low <= high)) [low, high] = log ? [0.1, 1] : [0, 1];
  const room = bottom - top;
  if (log) {
    const pad = Math.max(1.12, (high / low) ** 0.06);
    [low, high] = [low / pad, high * pad];
    const [a, b] = [Math.log10(low), Math.log10(high)];
    const at = (value) => (value > 0 ? bottom - ((Math.log10(value) - a) / (b - a)) * room : NaN);
    return { at, ticks: logTicks(low, high, room) };
  }
  const base = zero || (low >= 0 && low < 0.4 * high) ? 0 : low;
  let span = high - base || Math.abs(high) || 1;
  const floor = base === 0 ? 0 : base - 0.06 * span;
  const ceiling = high + 0.08 * span;
  span = ceiling - floor;
  return { at: (value) => bottom - ((value - floor) / span) * room, ticks: linearTicks(floor, ceiling, room / 30) };
}

// The horizontal scale: a range of steps that was zoomed to, or all of them: from 0 to a little beyond the newest step, in
// few jumps, and never beyond the end of a run that has one.
function horizontalScale(newest, total, left, right, range = null) {
  const wanted = Math.max(newest * 1.02, Math.min(total || 20, 20));
  const unit = niceStep(wanted, 5) / 2;
  const full = Math.max(newest, Math.min(Math.ceil(wanted / unit) * unit, total ? Math.max(total, newest) : Infinity), 1);
  const [start, end] = range ?? [0, full];
  const at = (step) => left + ((step - start) / (end - start)) * (right - left);
  const back = (x) => start + ((x - left) / (right - left)) * (end - start);
  return { at, back, start, end, full, ticks: linearTicks(start, end, (right - left) / 90, 1) };
}
