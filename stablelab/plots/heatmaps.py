"""A score over two settings as colours: one panel for its mean, one for its spread over seeds."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import Colormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from PIL import Image

from .._formatting import format_number
from .display import ink_on
from .shades import SINGLE, beyond, colours, shades_of
from .sweep_cells import Cells
from .sweep_tables import say, spaced, written
from .training_curves import DPI, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NUMBERED = 8  # columns and rows whose cells have room for a number
_LABELLED = 9  # columns and rows that have room for a label each
_DIVERGED = "#DDDDDD"
_WIDE = 118  # characters of a title


def two_panels(cells: Cells, *, title: str = "", size: tuple[float, float] | None = None) -> Figure:
    """Mean and spread side by side, on a white ground that is legible in a dark notebook too.

    In both panels brighter is better. A cell whose runs all diverged is hatched, one without a run is empty, and where
    only some diverged their number stands in the cell: mean and spread are those of the others.

    Arguments:
        cells: what is drawn.
        title: above both.
        size: of the figure (inches), by the number of cells if not given.
    """
    down = len(cells.rows)
    figure = Figure(
        figsize=size or (9.0, min(4.6, 2.3 + 0.36 * down)), dpi=DPI, layout="constrained", facecolor="white"
    )
    left, right = figure.subplots(1, 2, sharey=True)
    _panel(left, cells, cells.mean, 0)
    _panel(right, cells, cells.std, 1)
    kinds = _legend(cells)
    if kinds:
        figure.legend(handles=kinds, loc="outside lower left", ncols=4, fontsize=7.5, frameon=False, labelcolor=INK)
    over = f"averaged over {', '.join(map(spaced, cells.over))}" if cells.over else ""
    words = " · ".join(filter(None, (title, over)))
    if words:
        figure.suptitle(textwrap.fill(words, _WIDE), x=0.01, ha="left", fontsize=9.5, fontweight="bold", color=INK)
    return figure


def to_png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file, in which the shades of the cells stay as they are."""
    drawn, out = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    palette = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    palette.save(out, format="png", optimize=True)
    return out.getvalue()


def described(cells: Cells) -> str:
    """What the two panels show, in words, numbers included."""
    about = f"{cells.label} over {spaced(cells.x)}" + (f" and {spaced(cells.y)}" if cells.y else "")
    there = f"{int(cells.runs.sum())} runs in {int((cells.runs > 0).sum())} of {cells.runs.size} cells"
    ends = f"{about}: {there}, {int(cells.diverged.sum())} diverged."
    if not np.isfinite(cells.mean).any():
        return ends
    best = np.nanargmin(cells.mean) if cells.falls else np.nanargmax(cells.mean)
    ends += f" Best mean {written(cells.mean.flat[best])} at {cells.where(*divmod(int(best), len(cells.columns)))}."
    if np.isfinite(cells.std).any():
        widest = int(np.nanargmax(cells.std))
        where = cells.where(*divmod(widest, len(cells.columns)))
        ends += f" Largest standard deviation {written(cells.std.flat[widest])} at {where}."
    return ends


def ticks(values: Sequence[Any]) -> tuple[list[float], list[str]]:
    """Where an axis of cells has its labels, and which: each value, or where they are many, powers of ten."""
    if len(values) <= _LABELLED:
        return list(range(len(values))), [say(value) for value in values]
    numbers = {i: float(v) for i, v in enumerate(values) if isinstance(v, float | int) and v > 0}
    logs = np.log10(list(numbers.values()))
    if len(numbers) < 2 or (np.diff(logs) <= 0).any():
        every = -(-len(values) // _LABELLED)
        return list(range(0, len(values), every)), [say(value) for value in values[::every]]
    powers = np.arange(np.ceil(logs[0] - 1e-9), np.floor(logs[-1] + 1e-9) + 1)
    if len(powers) < 2:
        powers = logs[[0, -1]]
    at = [float(each) for each in np.interp(powers, logs, list(numbers))]
    others = [i for i in range(len(values)) if i not in numbers]
    return at + others, [format_number(10.0**each) for each in powers] + [say(values[i]) for i in others]


def _panel(axes: Axes, cells: Cells, values: np.ndarray, which: int) -> None:
    norm = colours(values)
    shades = shades_of(which, cells.falls)
    image = axes.imshow(np.ma.masked_invalid(values), cmap=shades, norm=norm, origin="lower", aspect="auto")
    for row, column in np.ndindex(values.shape):
        _cell(axes, cells, (row, column), values, shades, norm)
    axes.set_title(("mean", "standard deviation over seeds")[which], loc="left", fontsize=9, color=INK)
    axes.set_xticks(*ticks(cells.columns))
    axes.set_xlabel(spaced(cells.x), fontsize=9, color=INK)
    if cells.y:
        axes.set_yticks(*ticks(cells.rows))
        axes.set_ylabel("" if which else spaced(cells.y), fontsize=9, color=INK)
    else:
        axes.set_yticks([])
    axes.tick_params(length=2, labelsize=8, colors=INK, labelleft=not which)
    axes.spines[:].set_color("#999999")
    ends = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    look: dict[str, Any] = {"fraction": 0.06, "pad": 0.02, "extend": ends[beyond(values, norm)]}
    bar = axes.figure.colorbar(image, ax=axes, format=FuncFormatter(lambda at, _: format_number(at)), **look)
    if isinstance(norm, LogNorm):
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        bar.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.set_label(cells.label, fontsize=8, color=INK)
    bar.ax.tick_params(length=2, labelsize=8, colors=INK)
    bar.outline.set_visible(False)
    if not np.isfinite(values).any():
        bar.set_ticks([])


def _cell(axes: Axes, cells: Cells, at: tuple[int, int], values: np.ndarray, colors: Colormap, norm: Normalize) -> None:
    """The marks in a cell: a hatch, a frame, and where there is room, its number."""
    runs, diverged = int(cells.runs[at]), int(cells.diverged[at])
    few = max(values.shape) <= NUMBERED
    if not runs:
        axes.add_patch(_frame(at, facecolor="white", edgecolor="#BBBBBB", linestyle=":", linewidth=0.8))
        return
    if diverged == runs:
        axes.add_patch(_frame(at, facecolor=_DIVERGED, edgecolor="#777777", hatch="////", linewidth=0.0))
    value = values[at]
    ink = ink_on(colors(norm(value))) if np.isfinite(value) else INK
    lines = [written(value) if diverged < runs else ""] if few else []
    lines += [f"×{diverged}" if few else "×"] if diverged else []
    text = "\n".join(filter(None, lines))
    ground = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"} if diverged == runs else None
    if text and (few or diverged):
        axes.text(at[1], at[0], text, ha="center", va="center", fontsize=7.5, color=ink, bbox=ground if few else None)


def _frame(at: tuple[int, int], **look: Any) -> Rectangle:
    return Rectangle((at[1] - 0.5, at[0] - 0.5), 1, 1, **look)


def _legend(cells: Cells) -> list[Patch]:
    """What the marks mean, of those that are there."""
    few = max(cells.mean.shape) <= NUMBERED
    hatched: dict[str, Any] = {"edgecolor": "#777777", "hatch": "////", "linewidth": 0.0}
    found = []
    if (cells.diverged > 0).any():
        some = "×n: n runs diverged" if few else "×: some diverged"
        found.append(Patch(fill=False, linewidth=0.0, label=some))
    if ((cells.diverged == cells.runs) & (cells.runs > 0)).any():
        found.append(Patch(facecolor=_DIVERGED, label="all diverged", **hatched))
    if (cells.runs == 0).any():
        found.append(Patch(fill=False, edgecolor="#BBBBBB", linestyle=":", label="no run yet"))
    if (cells.runs - cells.diverged == 1).any():
        found.append(Patch(facecolor=SINGLE, label="one run: no spread"))
    return found
