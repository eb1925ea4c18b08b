"""The heatmap as a piece of HTML: quick enough to be made anew while a sweep runs or a slider is dragged."""

from __future__ import annotations

import html
from functools import cache

import numpy as np
from matplotlib.colors import Normalize, to_hex

from .display import ink_on
from .heatmaps import NUMBERED
from .shades import beyond, colours, shades_of
from .sweep_cells import Cells
from .sweep_tables import say, spaced, written

# Words take the colours of the page, so that they are legible in the light and the dark theme.
STYLE = """
.stablelab-heats { display: flex; flex-wrap: wrap; gap: 6px 28px; line-height: 1.3; }
.stablelab-heats figure { margin: 4px 0; }
.stablelab-heats figcaption { font-size: 12px; padding: 0 0 4px; }
.stablelab-heats table { border-collapse: separate; border-spacing: 1px; font-variant-numeric: tabular-nums; }
.stablelab-heats th { font-weight: normal; font-size: 11px; padding: 0 5px; background: none; color: inherit; }
.stablelab-heats tbody th { text-align: right; white-space: nowrap; }
.stablelab-heats thead th, .stablelab-heats tfoot th { text-align: center; }
.stablelab-heats td { width: 46px; height: 30px; padding: 0; text-align: center; font-size: 11px; line-height: 1.15; }
.stablelab-heats .many td { width: 18px; height: 18px; min-width: 18px; font-size: 10px; line-height: 1; }
.stablelab-heats .many th { max-width: 0; padding: 0; overflow: visible; white-space: nowrap; }
.stablelab-heats .many tbody th { max-width: none; padding: 0 5px; line-height: 1; }
.stablelab-heats td.none { outline: 1px dotted currentColor; outline-offset: -2px; opacity: 0.45; }
.stablelab-heats td.single { background: #efefef; color: #333; }
.stablelab-heats td.diverged {
  background: repeating-linear-gradient(45deg, #8a8a8a 0 1px, #dddddd 1px 5px); color: #111; font-weight: bold;
}
.stablelab-scale { display: flex; align-items: center; gap: 6px; font-size: 11px; padding: 3px 0 0; }
.stablelab-scale i { display: inline-block; width: 140px; height: 9px; }
.stablelab-marks { font-size: 11px; opacity: 0.8; padding: 0 0 4px; }
"""
_PANELS = ("mean", "standard deviation over seeds")
_LABELS = 6  # of a row of many narrow cells
_STEPS = 9  # of a scale's colours


def tables(cells: Cells) -> str:
    """Mean and spread as two tables of coloured cells; pointing at a cell says all that is known of it."""
    panels = "".join(_panel(cells, values, which) for which, values in enumerate((cells.mean, cells.std)))
    over = f" Averaged over {', '.join(map(spaced, cells.over))}." if cells.over else ""
    marks = f"Brighter is better. Hatched: every run diverged. ×: some did. Dotted: no run yet.{over}"
    return f'<div class="stablelab-heats">{panels}</div><div class="stablelab-marks">{html.escape(marks)}</div>'


def _panel(cells: Cells, values: np.ndarray, which: int) -> str:
    norm, shades = colours(values), _shades(which, cells.falls)
    places = np.ma.filled(norm(np.ma.masked_invalid(values)) * len(shades), 0.0).astype(int).clip(0, len(shades) - 1)
    few = max(values.shape) <= NUMBERED
    lines = []
    for row in reversed(range(len(cells.rows))):  # the first value at the bottom, as on an axis
        label = say(cells.rows[row]) if cells.y and (few or row % _every(len(cells.rows)) == 0) else ""
        line = "".join(_cell(cells, (row, i), values, *shades[places[row, i]]) for i in range(len(cells.columns)))
        lines.append(f'<tr><th scope="row">{html.escape(label)}</th>{line}</tr>')
    every = 1 if few else _every(len(cells.columns))
    heads = "".join(
        f'<th scope="col">{html.escape(say(value)) if i % every == 0 else ""}</th>'
        for i, value in enumerate(cells.columns)
    )
    foot = f'<tr><th></th>{heads}</tr><tr><th></th><th colspan="{len(cells.columns)}">{spaced(cells.x)}</th></tr>'
    down = f"{spaced(cells.y)} ↑ · " if cells.y else ""
    caption = f"<figcaption>{down}<b>{_PANELS[which]}</b> of the {html.escape(cells.label)}</figcaption>"
    table = f'<table class="{"" if few else "many"}"><tbody>{"".join(lines)}</tbody><tfoot>{foot}</tfoot></table>'
    return f"<figure>{caption}{table}{_scale(values, norm, shades)}</figure>"


def _cell(cells: Cells, at: tuple[int, int], values: np.ndarray, ground: str, ink: str) -> str:
    runs, diverged, value = int(cells.runs[at]), int(cells.diverged[at]), values[at]
    title = f'title="{html.escape(_told(cells, at), quote=True)}"'
    if not runs:
        return f'<td class="none" {title}></td>'
    few = max(values.shape) <= NUMBERED
    cross = (f"×{diverged}" if few else "×") if diverged else ""
    if diverged == runs:
        return f'<td class="diverged" {title}>{cross}</td>'
    if not np.isfinite(value):
        return f'<td class="single" {title}>{cross or ("–" if few else "")}</td>'
    text = "<br>".join(filter(None, (written(value) if few else "", cross)))
    return f'<td style="background:{ground};color:{ink}" {title}>{text}</td>'


def _told(cells: Cells, at: tuple[int, int]) -> str:
    runs, diverged = int(cells.runs[at]), int(cells.diverged[at])
    if not runs:
        return f"{cells.where(*at)}: no run yet"
    said = written(cells.mean[at]) + (f" ± {written(cells.std[at])}" if np.isfinite(cells.std[at]) else "")
    return f"{cells.where(*at)}: {said}, {runs} run{'s' * (runs != 1)}, {diverged} diverged"


def _scale(values: np.ndarray, norm: Normalize, shades: tuple[tuple[str, str], ...]) -> str:
    """The bar that says which colour is which number."""
    if not np.isfinite(values).any():
        return '<div class="stablelab-scale">&nbsp;</div>'
    at = np.linspace(0, len(shades) - 1, _STEPS).round().astype(int)
    ramp = ", ".join(shades[i][0] for i in at)
    below, above = beyond(values, norm)
    low, high = f"{'≤ ' * below}{written(norm.vmin or 0.0)}", f"{'≥ ' * above}{written(norm.vmax or 0.0)}"
    bar = f'<i style="background:linear-gradient(90deg, {ramp})"></i>'
    return f'<div class="stablelab-scale">{low} {bar} {high}</div>'


def _every(n: int) -> int:
    return -(-n // _LABELS)


@cache
def _shades(which: int, falls: bool) -> tuple[tuple[str, str], ...]:
    """Each colour of a panel with the ink that is legible on it."""
    map_ = shades_of(which, falls)
    return tuple((to_hex(map_(i)), ink_on(map_(i))) for i in range(map_.N))
