"""Still pictures of a sweep: a heatmap of mean and spread, the loss curves of all seeds, a dot for each run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from .._formatting import format_number
from ..stability.sweeps.results import Results
from .heatmaps import two_panels
from .sweep_cells import cells
from .sweep_tables import Group, Row, axes_of, checked_score, finite, groups, rows_of, say, spaced
from .training_curves import BLUE, DPI, GRID, INK, VERMILLION

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS = 16  # settings whose curves fit a figure
MOST_LINES = 40  # settings that a strip has room for
_ACROSS = 4
_SMOOTH = 0.9  # of an exponential average that a curve is drawn with


def heatmap(results: Results, x: str | None = None, y: str | None = None, score: str = "validation_loss") -> Figure:
    """A score over two settings: its mean in one panel, its standard deviation over seeds in the other.

    Brighter is better in both. A cell whose runs all diverged is hatched, one without a run is empty; where some
    diverged, the cell says how many, and its mean and spread are those of the others.

    Arguments:
        results: of a sweep, complete or not.
        x, y: settings of the grid; if not given, learning rate and clip threshold where they vary, else the first that
            do. Settings besides them are averaged over, and the title says so.
        score: validation_loss, train_loss, accuracy, clipped_share, sharpness or seconds.

    Raises:
        ValueError: in one line: no such score or setting, or nothing varies.
    """
    label = checked_score(score).label
    x, y = axes_of(results.grid, x, y)
    if not x:
        raise ValueError("no setting of this sweep has more than one value: there is no heatmap; draw strip(results)")
    return two_panels(cells(rows_of(results), results.grid, x, y, score), title=label)


def seed_curves(results: Results) -> Figure:
    """The training loss of each run over its steps, a panel for each setting and a thin line for each seed.

    The lines are exponential averages (0.9 of what was, 0.1 of what is); a cross is where a run diverged. Of more than
    16 settings, 16 evenly chosen ones are drawn, and the title says so.

    Arguments:
        results: of a sweep, with at least one run.

    Raises:
        ValueError: in one line: there is no run.
    """
    every = [group for group in groups(results.trials, results.grid) if group.positions]
    if not every:
        raise ValueError("this sweep has no finished run yet: there is no curve to draw")
    chosen = [every[i] for i in np.unique(np.linspace(0, len(every) - 1, MOST_PANELS).round().astype(int))]
    across = min(_ACROSS, len(chosen))
    down = math.ceil(len(chosen) / across)
    size = (max(4.8, 2.3 * across), 0.75 + 1.55 * down)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained", facecolor="white")
    panels = np.ravel(figure.subplots(down, across, sharex=True, sharey=True, squeeze=False))
    for axes, group in zip(panels, chosen, strict=False):
        _curves(axes, group, results)
    for axes in panels[len(chosen) :]:
        axes.set_visible(False)
    for axes in panels[max(0, len(chosen) - across) : len(chosen)]:
        axes.tick_params(labelbottom=True)
    some = f" · {len(chosen)} of {len(every)} settings" if len(chosen) < len(every) else ""
    figure.suptitle(f"training loss, a line a run{some}", x=0.01, ha="left", **_bold())
    figure.supxlabel("optimizer step", fontsize=9, color=INK)
    figure.supylabel("training loss (nats)", fontsize=9, color=INK)
    return figure


def strip(results: Results, score: str = "accuracy", by: str | None = None) -> Figure:
    """A dot for each run, a line for each setting; a tick at their mean.

    Runs that failed (Mosbach et al. 2021: ended at or below the majority class) are crosses, those that diverged stand
    at the edge. For the accuracy, a dotted line is what always guessing the largest class would score.

    Arguments:
        results: of a sweep, with at least one run.
        score: one of those of ``heatmap``.
        by: a setting of the grid to group the runs by; all that vary if not given.

    Raises:
        ValueError: in one line: no run, no such score or setting, or more than 40 lines.
    """
    label = checked_score(score).label
    if by is not None:
        axes_of(results.grid, by, None)
    grid = results.grid if by is None else {by: results.grid[by]}
    rows = rows_of(results)
    lines = [group for group in groups(results.trials, grid) if group.positions]
    if not rows:
        raise ValueError("this sweep has no finished run yet: there is no dot to draw")
    if len(lines) > MOST_LINES:
        raise ValueError(f"{len(lines)} settings are too many lines; group them, such as by={next(iter(grid))!r}")
    figure = Figure(figsize=(8.0, 1.35 + 0.24 * len(lines)), dpi=DPI, layout="constrained", facecolor="white")
    axes = figure.subplots()
    _dots(axes, lines, rows, score)
    axes.set_yticks(range(len(lines)), [group.label for group in lines])
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlabel(label, fontsize=9, color=INK)
    _tidy(axes)
    axes.grid(axis="y", visible=False)
    figure.legend(handles=_keys(rows, score), loc="outside upper left", ncols=5, fontsize=7.5, frameon=False)
    return figure


def _curves(axes: Axes, group: Group, results: Results) -> None:
    for i in group.positions:
        outcome = results.outcomes[i]
        values = _smooth(outcome.losses[np.isfinite(outcome.losses)].astype(np.float64))
        steps = np.arange(1, len(values) + 1)
        ended = outcome.diverged is not None
        axes.plot(steps, values, color=VERMILLION if ended else BLUE, lw=0.8, alpha=0.75)
        if ended and len(values):
            axes.plot(steps[-1], values[-1], color=VERMILLION, marker="x", ms=5, mew=1.4)
    axes.set_title("\n".join(f"{spaced(name)} {say(value)}" for name, value in group.values.items()), **_small())
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda at, _: format_number(at)))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    _tidy(axes)


def _dots(axes: Axes, lines: Sequence[Group], rows: Sequence[Row], score: str) -> None:
    for line, group in enumerate(lines):
        here = [rows[i] for i in group.positions]
        ended = [row for row in here if not row.diverged]
        x = np.array([row.scores[score] for row in ended])
        y = line + _spread_out(len(ended))
        failed = np.array([row.failed for row in ended], dtype=bool)
        axes.plot(x[~failed], y[~failed], ls="none", marker="o", ms=4.5, color=BLUE, alpha=0.6, mew=0)
        axes.plot(x[failed], y[failed], ls="none", marker="x", ms=5, mew=1.4, color=VERMILLION)
        values = finite(here, score)
        if len(values) > 1:
            axes.plot([values.mean()] * 2, [line - 0.36, line + 0.36], color=INK, lw=1.6)
        diverged = len(here) - len(ended)
        if diverged:
            said = f"×{diverged} diverged"
            look: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 7.5}
            axes.text(1.005, line, said, color=VERMILLION, **look)
    if score == "accuracy":
        axes.axvline(rows[0].majority, color=INK, lw=1.0, ls=":")


def _keys(rows: Sequence[Row], score: str) -> list[Line2D]:
    keys = [Line2D([], [], ls="none", marker="o", ms=4.5, color=BLUE, alpha=0.6, mew=0, label="a run")]
    if any(row.failed and not row.diverged for row in rows):
        keys.append(Line2D([], [], ls="none", marker="x", ms=5, mew=1.4, color=VERMILLION, label="a failed run"))
    keys.append(Line2D([], [], ls="none", marker="|", ms=9, mew=1.6, color=INK, label="mean"))
    if score == "accuracy":
        keys.append(Line2D([], [], color=INK, lw=1.0, ls=":", label="majority class"))
    return keys


def _spread_out(n: int) -> np.ndarray:
    """(n,) heights that keep equal dots apart."""
    return np.zeros(n) if n < 2 else 0.5 * ((np.arange(n) * 0.618) % 1.0 - 0.5)


def _smooth(values: np.ndarray) -> np.ndarray:
    """The exponential average, started so that it is one from the first step on."""
    smooth, weight, sum_ = np.empty_like(values), 0.0, 0.0
    for i, value in enumerate(values.tolist()):
        sum_, weight = _SMOOTH * sum_ + (1 - _SMOOTH) * value, _SMOOTH * weight + 1 - _SMOOTH
        smooth[i] = sum_ / weight
    return smooth


def _tidy(axes: Axes) -> None:
    axes.grid(color=GRID, lw=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, labelsize=8, colors=INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#999999")


def _bold() -> dict[str, Any]:
    return {"fontsize": 9.5, "fontweight": "bold", "color": INK}


def _small() -> dict[str, Any]:
    return {"fontsize": 7.5, "color": INK, "loc": "left"}
