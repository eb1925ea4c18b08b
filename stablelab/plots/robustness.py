"""Robustness, looked at: an example under each corruption, and the error against the severity."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from .._formatting import one_line
from ..stability.robustness import Robustness
from . import training_curves as figures
from .display import show, table
from .training_curves import BLUE, DPI, GREEN, GRID, INK, PURPLE, VERMILLION

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOOKS = (
    (BLUE, "o", "-"),
    (VERMILLION, "s", (0, (5, 2))),
    (GREEN, "^", (0, (1, 1.2))),
    (PURPLE, "D", (0, (6, 1, 1, 1))),
)
_ACROSS = 3  # panels in a row


def show_corrupted(original: Any, rows: Mapping[str, Sequence[Any]], severities: Sequence[int]) -> None:
    """Show one example under corruptions: pictures as a gallery, a row per corruption; a sentence as a table.

    Args:
        original: the example as it is: a sentence, or a picture (H, W, 3) uint8.
        rows: corruption, and the example under it at each severity.
        severities: of the columns.

    Raises:
        ValueError: in one line: no corruption, or not an example for each severity.
    """
    if not rows or any(len(row) != len(severities) for row in rows.values()):
        raise ValueError(
            f"rows must hold at least one corruption, and {len(severities)} examples of each, one a severity"
        )
    heads = ", ".join(map(str, severities))
    words = f"one example under {', '.join(rows)}, each at severity {heads}, beside it as it is"
    if isinstance(original, str):
        cells = [
            (name, str(s), one_line(text, 240))
            for name, row in rows.items()
            for s, text in zip(severities, row, strict=True)
        ]
        markup = table(("corruption", "severity", "sentence"), [("none", "", one_line(original, 240)), *cells])
        show(f"{words}: {one_line(original, 240)}", markup=markup)
    else:
        show(words, png=_exact_png(corrupted_figure(original, rows, severities)))


def show_robustness(*found: Robustness) -> None:
    """Show the error against the severity, a panel per corruption, with the clean error as the start of each line.

    Args:
        found: of up to four models, from ``robustness``, under the same corruptions.

    Raises:
        ValueError: in one line: none, more than four, or measured under other corruptions or severities.
    """
    _check(found)
    words = "error against severity. " + ". ".join(map(str, found)) + "."
    show(words, png=figures.to_png(robustness_figure(found)))


def corrupted_figure(original: Any, rows: Mapping[str, Sequence[Any]], severities: Sequence[int]) -> Figure:
    """A row of pictures per corruption, the severity growing to the right; first the picture as it is."""
    across, down = len(severities) + 1, len(rows)
    figure = Figure(
        figsize=(min(8.0, 0.95 * across), 0.95 * down + 0.4), dpi=DPI, layout="constrained", facecolor="white"
    )
    grid = figure.subplots(down, across, squeeze=False)
    for line, (name, row) in zip(grid, rows.items(), strict=True):
        for axes, picture in zip(line, (original, *row), strict=True):
            small = max(np.shape(picture)[:2]) <= 64
            axes.imshow(picture, interpolation="nearest" if small else "auto")
            axes.set(xticks=(), yticks=())
            axes.spines[:].set_color(GRID)
        line[0].set_ylabel(name, fontsize=9, color=INK)
    for axes, head in zip(grid[0], ("as it is", *map(str, severities)), strict=True):
        axes.set_title(head, fontsize=8.5, color=INK)
    figure.supxlabel("severity", fontsize=9, color=INK)
    return figure


def robustness_figure(found: Sequence[Robustness]) -> Figure:
    """A panel per corruption: the error rate against the severity, 0 being the clean examples; a line per model."""
    names = found[0].corruptions
    across = min(_ACROSS, len(names))
    down = math.ceil(len(names) / across)
    size = (max(3.6, 2.65 * across), 1.75 * down + 0.75)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained", facecolor="white")
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(grid.flat, names, strict=False):
        for each, look in zip(found, _LOOKS, strict=False):
            _line(axes, each, name, look)
        axes.set_title(name, loc="left", fontsize=9, fontweight="bold", color=INK)
        _tidy(axes, found[0].severities)
    lines = grid[0, 0].get_lines()[::2]
    figure.legend(lines, [one_line(each.name, 40) for each in found], loc="outside upper left", ncols=len(found),
                  fontsize=8.5, frameon=False, labelcolor=INK)  # fmt: skip
    figure.supylabel("error rate", fontsize=9, color=INK)
    figure.supxlabel("severity (0: clean); thin line: the clean error; band: 95 % over examples", fontsize=9, color=INK)
    return figure


def _exact_png(figure: Figure) -> bytes:
    """The figure as a PNG file in all its colours: those of the noise would leave a palette few for the greys."""
    drawn, out = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    Image.open(drawn).convert("RGB").save(out, format="png", optimize=True)
    return out.getvalue()


def _line(axes: Axes, found: Robustness, name: str, look: tuple[Any, ...]) -> None:
    colour, marker, dash = look
    frame = found.frame()
    shown = frame[(frame["corruption"] == name) | (frame["corruption"] == "clean")]
    x = shown["severity"]
    axes.plot(x, shown["error"], color=colour, marker=marker, ls=dash, ms=4, lw=1.6)
    axes.axhline(found.clean_error, color=colour, lw=0.8, alpha=0.7, ls=dash, zorder=1.5)
    axes.fill_between(x, shown["low"], shown["high"], color=colour, alpha=0.13, lw=0)


def _tidy(axes: Axes, severities: Sequence[int]) -> None:
    axes.set(ylim=(0, 1), xticks=(0, *severities), yticks=(0, 0.5, 1))
    axes.grid(color=GRID, lw=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=8, colors=INK, labelbottom=True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#999999")


def _check(found: Sequence[Robustness]) -> None:
    if not 1 <= len(found) <= len(_LOOKS):
        raise ValueError(f"there are {len(found)} to show; give from 1 to {len(_LOOKS)}, each from robustness()")
    for other in found[1:]:
        for what in ("corruptions", "severities"):
            if getattr(other, what) != getattr(found[0], what):
                raise ValueError(f"{other.name} was measured under other {what} than {found[0].name}")
