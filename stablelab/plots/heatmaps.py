"""A score over two settings as colours: one panel for its mean, one for its spread over seeds; a figure, or HTML."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .._formatting import format_number, format_setting, format_value, setting_label
from ..stability.sweeps.results import Results
from .display import GREY, ink_on, label_powers, styled
from .sweep_tables import ScoreTable, axes_of, checked_score, rows_of, score_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch, Rectangle

NUMBERED = 8  # columns and rows whose cells have room for a number
_LABELLED = 9  # columns and rows that have room for a label each
_HTML_LABELLED = 6  # of a row of many narrow cells
_WIDE = 118  # characters of a title
_STEPS = 9  # of the colours of an HTML scale
_PANELS = ("mean", "standard deviation over seeds")
_NO_NUMBER = "#8A8A8A40"  # a grey through which the page is seen
_HATCHED: dict[str, Any] = {"facecolor": _NO_NUMBER, "edgecolor": "#8A8A8A", "hatch": "////", "linewidth": 0.0}
_DOTTED: dict[str, Any] = {"edgecolor": "#8A8A8A", "linestyle": ":", "linewidth": 0.8}
_LEVELS = 40  # shades of a colour map
_FAR = 30.0  # the largest over the smallest number, from which on the colours are logarithmic
_DECADES = 2.5  # that logarithmic colours reach over at most
_MAPS = ("viridis", "cividis")  # mean, spread: perceptually uniform, legible with every kind of colour blindness
# Words of the HTML take the colours of the page, so that they are legible in the light and the dark theme.
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
.stablelab-heats td.single { background: rgba(128, 128, 128, 0.25); }
.stablelab-heats td.diverged {
  background: repeating-linear-gradient(45deg, #8a8a8a 0 1px, #dddddd 1px 5px); color: #111; font-weight: bold;
}
.stablelab-scale { display: flex; align-items: center; gap: 6px; font-size: 11px; padding: 3px 0 0; }
.stablelab-scale i { display: inline-block; width: 140px; height: 9px; }
.stablelab-marks { font-size: 11px; opacity: 0.8; padding: 0 0 4px; }
"""


# -- a figure ----------------------------------------------------------------------------------------------------------


def heatmap(results: Results, x: str | None = None, y: str | None = None, score: str = "validation_loss") -> Figure:
    """A score over two settings: its mean in one panel, its standard deviation over seeds in the other.

    Brighter is better in both. A cell whose runs all diverged is hatched, one without a run is empty; where some
    diverged, the cell says how many, and its mean and spread are those of the others.

    Args:
        results: of a sweep, complete or not.
        x: a setting of the grid; if not given, the learning rate where it varies, else the first that does. Settings
            besides x and y are averaged over, and the title says so.
        y: another; if not given, the clip threshold where it varies, else the next that does.
        score: validation_loss, train_loss, accuracy, clipped_share, sharpness or seconds.

    Raises:
        ValueError: in one line: no such score or setting, or nothing varies.
    """
    label = checked_score(score).label
    x, y = axes_of(results.grid, x, y)
    if not x:
        raise ValueError("no setting of this sweep has more than one value: there is no heatmap; draw strip(results)")
    return heatmap_figure(score_table(rows_of(results), results.grid, x, y, score), title=label)


@styled
def heatmap_figure(table: ScoreTable, *, title: str = "", size: tuple[float, float] | None = None) -> Figure:
    """Mean and spread side by side.

    In both panels brighter is better. A cell whose runs all diverged is hatched, one without a run is empty, and where
    only some diverged their number stands in the cell: mean and spread are those of the others.

    Args:
        table: what is drawn.
        title: above both.
        size: of the figure (inches), by the number of cells if not given.
    """
    from matplotlib.figure import Figure

    down = len(table.rows)
    figure = Figure(figsize=size or (9.0, min(4.6, 2.3 + 0.36 * down)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _panel(left, table, table.mean, 0)
    _panel(right, table, table.std, 1)
    kinds = _legend(table)
    if kinds:
        figure.legend(handles=kinds, loc="outside lower left", ncols=4, fontsize=7.5)
    words = " · ".join(filter(None, (title, table.averaged_over)))
    if words:
        figure.suptitle(textwrap.fill(words, _WIDE), x=0.01, ha="left", fontsize=9.5, fontweight="bold")
    return figure


def heatmap_words(table: ScoreTable) -> str:
    """What the two panels show, in words, numbers included."""
    about = f"{table.label} over {setting_label(table.x)}" + (f" and {setting_label(table.y)}" if table.y else "")
    there = f"{int(table.runs.sum())} runs in {int((table.runs > 0).sum())} of {table.runs.size} cells"
    words = f"{about}: {there}, {int(table.diverged.sum())} diverged."
    if not np.isfinite(table.mean).any():
        return words
    best = np.nanargmin(table.mean) if table.falls else np.nanargmax(table.mean)
    where = table.where(*divmod(int(best), len(table.columns)))
    words += f" Best mean {format_number(table.mean.flat[best])} at {where}."
    if np.isfinite(table.std).any():
        widest = int(np.nanargmax(table.std))
        where = table.where(*divmod(widest, len(table.columns)))
        words += f" Largest standard deviation {format_number(table.std.flat[widest])} at {where}."
    return words


def axis_ticks(values: Sequence[Any]) -> tuple[list[float], list[str]]:
    """Where an axis of cells has its labels, and which: each value, or where they are many, powers of ten."""
    if len(values) <= _LABELLED:
        return list(range(len(values))), [format_value(value) for value in values]
    numbers = {i: float(v) for i, v in enumerate(values) if isinstance(v, float | int) and v > 0}
    logs = np.log10(list(numbers.values()))
    if len(numbers) < 2 or (np.diff(logs) <= 0).any():
        every = -(-len(values) // _LABELLED)
        return list(range(0, len(values), every)), [format_value(value) for value in values[::every]]
    powers = np.arange(np.ceil(logs[0] - 1e-9), np.floor(logs[-1] + 1e-9) + 1)
    if len(powers) < 2:
        powers = logs[[0, -1]]
    at = [float(each) for each in np.interp(powers, logs, list(numbers))]
    others = [i for i in range(len(values)) if i not in numbers]
    return at + others, [format_number(10.0**each) for each in powers] + [format_value(values[i]) for i in others]


def _panel(axes: Axes, table: ScoreTable, values: np.ndarray, which: int) -> None:
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import FuncFormatter

    norm, colors = color_norm(values), color_map(which, table.falls)
    image = axes.imshow(np.ma.masked_invalid(values), cmap=colors, norm=norm, origin="lower", aspect="auto")
    for row, column in np.ndindex(values.shape):
        _cell(axes, table, (row, column), values, colors, norm)
    axes.grid(False)
    axes.set_title(_PANELS[which], fontsize=9, fontweight="normal")
    axes.set_xticks(*axis_ticks(table.columns))
    axes.set_xlabel(setting_label(table.x))
    if table.y:
        axes.set_yticks(*axis_ticks(table.rows))
        axes.set_ylabel("" if which else setting_label(table.y))
    else:
        axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=2, labelleft=not which)
    ends = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    look: dict[str, Any] = {"fraction": 0.06, "pad": 0.02, "extend": ends[out_of_range(values, norm)]}
    bar = axes.figure.colorbar(image, ax=axes, format=FuncFormatter(lambda at, _: format_number(at)), **look)
    if isinstance(norm, LogNorm):
        label_powers(bar.ax)
    bar.set_label(table.label, fontsize=8)
    bar.ax.tick_params(length=2)
    bar.outline.set_visible(False)
    if not np.isfinite(values).any():
        bar.set_ticks([])


def _cell(
    axes: Axes, table: ScoreTable, at: tuple[int, int], values: np.ndarray, colors: Colormap, norm: Normalize
) -> None:
    """The marks in a cell: a hatch, a frame, and where there is room, its number."""
    runs, diverged = int(table.runs[at]), int(table.diverged[at])
    few = max(values.shape) <= NUMBERED
    if not runs:
        axes.add_patch(_frame(at, fill=False, **_DOTTED))
        return
    if diverged == runs:
        axes.add_patch(_frame(at, **_HATCHED))
    value = values[at]
    ink = ink_on(colors(norm(value))) if np.isfinite(value) else GREY
    lines = [format_number(value) if diverged < runs else ""] if few else []
    lines += [f"×{diverged}" if few else "×"] if diverged else []
    text = "\n".join(filter(None, lines))
    if not text or not (few or diverged):
        return
    ground = None
    if few and diverged == runs:
        ink, ground = "white", {"boxstyle": "round,pad=0.15", "facecolor": "#555555", "edgecolor": "none"}
    axes.text(at[1], at[0], text, ha="center", va="center", fontsize=7.5, color=ink, bbox=ground)


def _frame(at: tuple[int, int], **look: Any) -> Rectangle:
    from matplotlib.patches import Rectangle

    return Rectangle((at[1] - 0.5, at[0] - 0.5), 1, 1, **look)


def _legend(table: ScoreTable) -> list[Patch]:
    """What the marks mean, of those that are there."""
    from matplotlib.patches import Patch

    few = max(table.mean.shape) <= NUMBERED
    found = []
    if (table.diverged > 0).any():
        some = "×n: n runs diverged" if few else "×: some diverged"
        found.append(Patch(fill=False, linewidth=0.0, label=some))
    if ((table.diverged == table.runs) & (table.runs > 0)).any():
        found.append(Patch(label="all diverged", **_HATCHED))
    if (table.runs == 0).any():
        found.append(Patch(fill=False, label="no run yet", **_DOTTED))
    if (table.runs - table.diverged == 1).any():
        found.append(Patch(facecolor=_NO_NUMBER, label="one run: no spread"))
    return found


# -- colours -----------------------------------------------------------------------------------------------------------


def color_norm(values: np.ndarray) -> Normalize:
    """From a number to its place on a colour map: logarithmic where they are far apart.

    Logarithmic colours begin near the smallest numbers and end 2.5 decades above: what trains well is told apart, and
    what is hundreds of times as bad is all the same.
    """
    from matplotlib.colors import LogNorm, Normalize

    finite = values[np.isfinite(values)]
    if not len(finite):
        return Normalize(0.0, 1.0)
    low, high = float(finite.min()), float(finite.max())
    positive = finite[finite > 0]
    if low >= 0 and len(positive) and high > _FAR * positive.min():
        low = float(np.percentile(positive, 5))
        return LogNorm(low, min(high, low * 10**_DECADES), clip=True)
    pad = 0.0 if high > low else 0.5 * abs(low) or 0.5
    return Normalize(low - pad, high + pad, clip=True)


def out_of_range(values: np.ndarray, norm: Normalize) -> tuple[bool, bool]:
    """Whether there are numbers below and above what the colours reach over."""
    finite = values[np.isfinite(values)]
    return bool((finite < (norm.vmin or 0.0)).any()), bool((finite > (norm.vmax or 0.0)).any())


def color_map(which: int, falls: bool) -> Colormap:
    """The colours of the mean (0) or the spread (1), the brightest being the best; ``falls``: less is better."""
    import matplotlib

    colors = matplotlib.colormaps[_MAPS[which]].resampled(_LEVELS)
    return (colors.reversed() if which or falls else colors).with_extremes(bad=_NO_NUMBER)


# -- HTML, quick enough to be made anew while a sweep runs or a slider is dragged --------------------------------------


def heatmap_html(table: ScoreTable) -> str:
    """Mean and spread as two tables of coloured cells; pointing at a cell says all that is known of it."""
    panels = "".join(_html_panel(table, values, which) for which, values in enumerate((table.mean, table.std)))
    over = f" {table.averaged_over.capitalize()}." if table.over else ""
    marks = f"Brighter is better. Hatched: every run diverged. ×: some did. Dotted: no run yet.{over}"
    return f'<div class="stablelab-heats">{panels}</div><div class="stablelab-marks">{html.escape(marks)}</div>'


def _html_panel(table: ScoreTable, values: np.ndarray, which: int) -> str:
    norm, colors = color_norm(values), _colors_with_ink(which, table.falls)
    places = np.ma.filled(norm(np.ma.masked_invalid(values)) * len(colors), 0.0).astype(int).clip(0, len(colors) - 1)
    few = max(values.shape) <= NUMBERED
    down, across = (1 if few else -(-n // _HTML_LABELLED) for n in values.shape)
    lines = []
    for row in reversed(range(len(table.rows))):  # the first value at the bottom, as on an axis
        label = format_setting(table.y, table.rows[row]) if table.y and row % down == 0 else ""
        line = "".join(_html_cell(table, (row, i), values, *colors[places[row, i]]) for i in range(len(table.columns)))
        lines.append(f'<tr><th scope="row">{html.escape(label)}</th>{line}</tr>')
    heads = "".join(
        f'<th scope="col">{html.escape(format_setting(table.x, value)) if i % across == 0 else ""}</th>'
        for i, value in enumerate(table.columns)
    )
    x, y = html.escape(setting_label(table.x)), html.escape(setting_label(table.y))
    foot = f'<tr><th></th>{heads}</tr><tr><th></th><th colspan="{len(table.columns)}">{x}</th></tr>'
    up = f"{y} ↑ · " if table.y else ""
    caption = f"<figcaption>{up}<b>{_PANELS[which]}</b> of the {html.escape(table.label)}</figcaption>"
    body = f'<table class="{"" if few else "many"}"><tbody>{"".join(lines)}</tbody><tfoot>{foot}</tfoot></table>'
    return f"<figure>{caption}{body}{_html_scale(values, norm, colors)}</figure>"


def _html_cell(table: ScoreTable, at: tuple[int, int], values: np.ndarray, ground: str, ink: str) -> str:
    runs, diverged, value = int(table.runs[at]), int(table.diverged[at]), values[at]
    title = f'title="{html.escape(_cell_words(table, at), quote=True)}"'
    if not runs:
        return f'<td class="none" {title}></td>'
    few = max(values.shape) <= NUMBERED
    cross = (f"×{diverged}" if few else "×") if diverged else ""
    if diverged == runs:
        return f'<td class="diverged" {title}>{cross}</td>'
    if not np.isfinite(value):
        return f'<td class="single" {title}>{cross or ("–" if few else "")}</td>'
    text = "<br>".join(filter(None, (format_number(value) if few else "", cross)))
    return f'<td style="background:{ground};color:{ink}" {title}>{text}</td>'


def _cell_words(table: ScoreTable, at: tuple[int, int]) -> str:
    runs, diverged = int(table.runs[at]), int(table.diverged[at])
    if not runs:
        return f"{table.where(*at)}: no run yet"
    spread = f" ± {format_number(table.std[at])}" if np.isfinite(table.std[at]) else ""
    words = f"{format_number(table.mean[at])}{spread}, {runs} run{'s' * (runs != 1)}, {diverged} diverged"
    return f"{table.where(*at)}: {words}"


def _html_scale(values: np.ndarray, norm: Normalize, colors: tuple[tuple[str, str], ...]) -> str:
    """The bar that says which colour is which number."""
    if not np.isfinite(values).any():
        return '<div class="stablelab-scale">&nbsp;</div>'
    at = np.linspace(0, len(colors) - 1, _STEPS).round().astype(int)
    ramp = ", ".join(colors[i][0] for i in at)
    below, above = out_of_range(values, norm)
    low = f"{'≤ ' * below}{format_number(norm.vmin or 0.0)}"
    high = f"{'≥ ' * above}{format_number(norm.vmax or 0.0)}"
    bar = f'<i style="background:linear-gradient(90deg, {ramp})"></i>'
    return f'<div class="stablelab-scale">{low} {bar} {high}</div>'


@cache
def _colors_with_ink(which: int, falls: bool) -> tuple[tuple[str, str], ...]:
    """Each colour of a panel with the ink that is legible on it."""
    from matplotlib.colors import to_hex

    colors = color_map(which, falls)
    return tuple((to_hex(colors(i)), ink_on(colors(i))) for i in range(colors.N))
