"""Robustness, looked at: an example under each corruption, and the error against the severity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._formatting import one_line
from ..stability.robustness import Robustness
from .display import BLUE, GREEN, GREY, PURPLE, VERMILLION, draw_pixels, show, styled, table, to_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
        show(words, png=to_png(corrupted_figure(original, rows, severities)))


def show_robustness(*found: Robustness) -> None:
    """Show the error against the severity, a panel per corruption, with the clean error as the start of each line.

    Args:
        found: of up to four models, from ``robustness``, under the same corruptions.

    Raises:
        ValueError: in one line: none, more than four, or measured under other corruptions or severities.
    """
    _check(found)
    words = "error against severity. " + ". ".join(map(str, found)) + "."
    show(words, png=to_png(robustness_figure(found)))


@styled
def corrupted_figure(original: Any, rows: Mapping[str, Sequence[Any]], severities: Sequence[int]) -> Figure:
    """A row of pictures per corruption, the severity growing to the right; first the picture as it is."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    across, down = len(severities) + 1, len(rows)
    figure = Figure(figsize=(min(8.0, 0.95 * across), 0.95 * down + 0.4), layout="constrained")
    axes = figure.subplots()  # one for all pictures: an axes for each would take twice as long to draw
    for i, row in enumerate(rows.values()):
        for j, picture in enumerate((original, *row)):
            draw_pixels(axes, picture, extent=(j - 0.45, j + 0.45, i + 0.45, i - 0.45))
            axes.add_patch(Rectangle((j - 0.45, i - 0.45), 0.9, 0.9, fill=False, edgecolor=GREY, linewidth=0.8))
    axes.set(xlim=(-0.5, across - 0.5), ylim=(down - 0.5, -0.5))
    axes.set_xticks(range(across), ["as it is", *map(str, severities)], fontsize=8.5)
    axes.set_yticks(range(down), list(rows), rotation=90, va="center")
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("severity", fontsize=9)
    return figure


@styled
def robustness_figure(found: Sequence[Robustness]) -> Figure:
    """A panel per corruption: the error rate against the severity, 0 being the clean examples; a line per model."""
    from matplotlib.figure import Figure

    names = found[0].corruptions
    across = min(_ACROSS, len(names))
    down = math.ceil(len(names) / across)
    figure = Figure(figsize=(max(3.6, 2.65 * across), 1.75 * down + 0.75), layout="constrained")
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(grid.flat, names, strict=False):
        for each, look in zip(found, _LOOKS, strict=False):
            _line(axes, each, name, *look)
        axes.set_title(name, fontsize=9)
        axes.set(ylim=(0, 1), xticks=(0, *found[0].severities), yticks=(0, 0.5, 1))
        axes.tick_params(labelbottom=True)
    lines = grid[0, 0].get_lines()[::2]
    figure.legend(lines, [one_line(each.name, 40) for each in found], loc="outside upper left", ncols=len(found))
    figure.supylabel("error rate", fontsize=9)
    figure.supxlabel("severity (0: clean); thin line: the clean error; bars: 95 % over examples", fontsize=9)
    return figure


def _line(axes: Axes, found: Robustness, name: str, colour: str, marker: str, dash: Any) -> None:
    """A mark with its interval at each severity; the line between them only leads the eye."""
    frame = found.frame()
    shown = frame[(frame["corruption"] == name) | (frame["corruption"] == "clean")]
    error = shown["error"]
    around = np.maximum(0.0, [error - shown["low"], shown["high"] - error])
    look: dict[str, Any] = {"color": colour, "marker": marker, "ls": dash, "ms": 4.5, "lw": 1.0, "elinewidth": 1.6}
    axes.errorbar(shown["severity"], error, around, **look)
    axes.axhline(found.clean_error, color=colour, lw=0.8, alpha=0.7, ls=dash, zorder=1.5)


def _check(found: Sequence[Robustness]) -> None:
    if not 1 <= len(found) <= len(_LOOKS):
        raise ValueError(f"there are {len(found)} to show; give from 1 to {len(_LOOKS)}, each from robustness()")
    for other in found[1:]:
        for what in ("corruptions", "severities"):
            if getattr(other, what) != getattr(found[0], what):
                raise ValueError(f"{other.name} was measured under other {what} than {found[0].name}")
