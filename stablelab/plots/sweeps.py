"""Still pictures of a sweep: the loss curves of all seeds, and a dot for each run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..stability.sweeps.results import Results
from .display import BLUE, GREY, VERMILLION, label_powers, show, styled, to_png
from .sweep_tables import Group, Row, axes_of, checked_score, finite, groups, rows_of, runs_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

MOST_PANELS = 16  # settings whose curves fit a figure
MOST_LINES = 40  # settings that a strip has room for
_ACROSS = 4
_SMOOTH = 0.9  # of an exponential average that a curve is drawn with


def show_strip(results: Results, score: str = "accuracy", by: str | None = None) -> None:
    """Show a dot for each run and a line for each setting; its words say mean, spread and failures.

    Args:
        results: as of ``strip``.
        score: as of ``strip``.
        by: as of ``strip``.

    Raises:
        ValueError: in one line, as ``strip``.
    """
    picture = to_png(strip(results, score, by))
    rows = rows_of(results)
    grid = results.grid if by is None else {by: results.grid[by]}
    lines = [(group, [rows[i] for i in group.positions]) for group in groups(results.trials, grid)]
    show("; ".join(f"{group.label}: {runs_words(own)[:-1]}" for group, own in lines if own) + ".", png=picture)


@styled
def seed_curves(results: Results) -> Figure:
    """The training loss of each run over its steps, a panel for each setting and a thin line for each seed.

    The lines are exponential averages (0.9 of what was, 0.1 of what is); a cross is where a run diverged. Of more than
    16 settings, 16 evenly chosen ones are drawn, and the title says so.

    Args:
        results: of a sweep, with at least one run.

    Raises:
        ValueError: in one line: there is no run.
    """
    from matplotlib.figure import Figure

    every = [group for group in groups(results.trials, results.grid) if group.positions]
    if not every:
        raise ValueError("this sweep has no finished run yet: there is no curve to draw")
    chosen = [every[i] for i in np.unique(np.linspace(0, len(every) - 1, MOST_PANELS).round().astype(int))]
    across = min(_ACROSS, len(chosen))
    down = math.ceil(len(chosen) / across)
    size = (max(4.8, 2.3 * across), 0.75 + 1.55 * down)
    figure = Figure(figsize=size, layout="constrained")
    panels = np.ravel(figure.subplots(down, across, sharex=True, sharey=True, squeeze=False))
    for axes, group in zip(panels, chosen, strict=False):
        _curves(axes, group, results)
    panels[0].set_yscale("log")  # the others share its axis
    label_powers(panels[0])
    for axes in panels[len(chosen) :]:
        axes.set_visible(False)
    for axes in panels[max(0, len(chosen) - across) : len(chosen)]:
        axes.tick_params(labelbottom=True)
    some = f" · {len(chosen)} of {len(every)} settings" if len(chosen) < len(every) else ""
    figure.suptitle(f"training loss, a line a run{some}", x=0.01, ha="left", fontsize=9.5, fontweight="bold")
    figure.supxlabel("optimizer step", fontsize=9)
    figure.supylabel("training loss (nats)", fontsize=9)
    return figure


@styled
def strip(results: Results, score: str = "accuracy", by: str | None = None) -> Figure:
    """A dot for each run, a line for each setting; a tick at their mean.

    Runs that failed (Mosbach et al. 2021: ended at or below the majority class) are crosses, those that diverged stand
    at the edge. For the accuracy, a dotted line is what always guessing the largest class would score.

    Args:
        results: of a sweep, with at least one run.
        score: one of those of ``heatmap``.
        by: a setting of the grid to group the runs by; all that vary if not given.

    Raises:
        ValueError: in one line: no run, no such score or setting, or more than 40 lines.
    """
    from matplotlib.figure import Figure

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
    figure = Figure(figsize=(8.0, 1.35 + 0.24 * len(lines)), layout="constrained")
    axes = figure.subplots()
    _dots(axes, lines, rows, score)
    axes.set_yticks(range(len(lines)), [group.label for group in lines])
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlabel(label)
    axes.grid(axis="y", visible=False)
    figure.legend(handles=_keys(rows, score), loc="outside upper left", ncols=5, fontsize=7.5)
    return figure


def _curves(axes: Axes, group: Group, results: Results) -> None:
    from matplotlib.ticker import MaxNLocator

    for i in group.positions:
        outcome = results.outcomes[i]
        values = _smooth(outcome.losses[np.isfinite(outcome.losses)].astype(np.float64))
        steps = np.arange(1, len(values) + 1)
        ended = outcome.diverged is not None
        axes.plot(steps, values, color=VERMILLION if ended else BLUE, ls="-", lw=0.9, alpha=0.9)
        if ended and len(values):
            axes.plot(steps[-1], values[-1], color=VERMILLION, marker="x", ms=5, mew=1.4)
    axes.set_title(group.label.replace(", ", "\n"), fontsize=7.5, fontweight="normal")
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))


def _dots(axes: Axes, lines: Sequence[Group], rows: Sequence[Row], score: str) -> None:
    for line, group in enumerate(lines):
        here = [rows[i] for i in group.positions]
        ended = [row for row in here if not row.diverged]
        x = np.array([row.scores[score] for row in ended])
        y = line + _spread_out(len(ended))
        failed = np.array([row.failed for row in ended], dtype=bool)
        axes.plot(x[~failed], y[~failed], ls="none", marker="o", ms=4.5, color=BLUE, alpha=0.85, mew=0)
        axes.plot(x[failed], y[failed], ls="none", marker="x", ms=5, mew=1.4, color=VERMILLION)
        values = finite(here, score)
        if len(values) > 1:
            axes.plot([values.mean()] * 2, [line - 0.36, line + 0.36], color=GREY, ls="-", lw=1.6)
        diverged = len(here) - len(ended)
        if diverged:
            look: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 7.5}
            axes.text(1.005, line, f"×{diverged} diverged", color=VERMILLION, **look)
    if score == "accuracy":
        axes.axvline(rows[0].majority, color=GREY, lw=1.0, ls=":")


def _keys(rows: Sequence[Row], score: str) -> list[Line2D]:
    from matplotlib.lines import Line2D

    keys = [Line2D([], [], ls="none", marker="o", ms=4.5, color=BLUE, alpha=0.85, mew=0, label="a run")]
    if any(row.failed and not row.diverged for row in rows):
        keys.append(Line2D([], [], ls="none", marker="x", ms=5, mew=1.4, color=VERMILLION, label="a failed run"))
    keys.append(Line2D([], [], ls="none", marker="|", ms=9, mew=1.6, color=GREY, label="mean"))
    if score == "accuracy":
        keys.append(Line2D([], [], color=GREY, lw=1.0, ls=":", label="majority class"))
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
