// Colours: those of the page for ink and ground, Okabe & Ito's (2008) for curves. Dashes and markers tell them apart too.

const ON_LIGHT = { train: "#0072B2", validation: "#D55E00", before: "#009E73", after: "#CC79A7", alarm: "#D55E00" };
const ON_DARK = { train: "#56B4E9", validation: "#E69F00", before: "#009E73", after: "#CC79A7", alarm: "#E69F00" };
const GHOST_COLOURS = ["#CC79A7", "#009E73", "#E69F00", "#56B4E9"];

// The i-th ghost's line; a parent's is stronger than the others, in the colour of the ink.
function ghostStyle(ghost, i, ink = "currentColor") {
  if (ghost.parent) return { colour: ink, dash: [], width: 1.7, alpha: 0.62 };
  return { colour: GHOST_COLOURS[i % 4], dash: i % 8 < 4 ? [] : [5, 3], width: 1.3, alpha: 0.65 };
}

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
    font: style.fontFamily,
    ...(dark ? ON_DARK : ON_LIGHT),
  };
}
