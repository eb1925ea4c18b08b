"""The parts of a stability report that show results: tiles, tables and figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..plots import heatmaps
from ..plots import sweeps as sweep_figures
from ..plots.sweep_cells import cells
from ..plots.sweep_tables import SCORES, Group, Row, axes_of, finite, rows_of, say, spaced, varied, written
from ..plots.sweep_words import mean_and_spread
from ..stability.spread import failed_rate
from ..stability.sweeps.results import Results
from .numbers import BEHAVIOUR, CURVATURE, RESULT, SENSITIVITY, Quantity, Runs, percent, plain, sensitivities, splits
from .page import estimates, picture, table, text

_MOST = 40  # settings that tables list
_LISTED = 400  # runs that are listed one by one
_SPLIT = 6  # settings whose variance is split
Settings = Sequence[tuple[Group, Runs]]


@dataclass(frozen=True)
class Part:
    """A piece of the page.

    Arguments:
        markup: HTML.
        used: names of the definitions that a reader of it needs.
    """

    markup: str = ""
    used: tuple[str, ...] = ()


def at_a_glance(results: Results, settings: Settings, score: str) -> str:
    """The few numbers to begin with."""
    rows = rows_of(results)
    rate = failed_rate([row.failed for row in rows])
    interval = (
        "" if rate.low is None or rate.high is None else f", 95 % interval {percent(rate.low)} to {percent(rate.high)}"
    )
    diverged = sum(row.diverged for row in rows)
    counts = sorted({len(group.positions) for group, _ in settings})
    each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    tiles = [
        (f"{len(rows)}", f"runs: {each} of each of {len(settings)} settings"),
        (f"{percent(rate.value)} %", f"failed ({sum(row.failed for row in rows)} runs, {diverged} diverged){interval}"),
    ]
    means = [(finite(here, score).mean(), group.label, here) for group, here in _with_rows(rows, settings, score)]
    if len(means) > 1:
        best = (min if SCORES[score].falls else max)(means, key=lambda each: each[0])
        tiles.append((mean_and_spread(best[2], score), f"best mean {SCORES[score].label}: {best[1]}"))
    spreads = [(finite(h, score).std(ddof=1), label, h) for _, label, h in means if len(finite(h, score)) > 1]
    if spreads:
        widest = max(spreads, key=lambda each: each[0])
        tiles.append((f"± {written(widest[0])}", f"widest spread of the {SCORES[score].label}: {widest[1]}"))
    return (
        "<section class='tiles'>"
        + "".join(f"<div><b>{text(a)}</b><span>{text(b)}</span></div>" for a, b in tiles)
        + "</section>"
    )


def outcome(results: Results, settings: Settings, score: str) -> Part:
    """How the runs ended: heatmap, dots, table."""
    x, y = axes_of(results.grid, None, None)
    parts = ["<h2>How the runs ended</h2>"]
    if x:
        found = cells(rows_of(results), results.grid, x, y, score)
        drawn = heatmaps.to_png(heatmaps.two_panels(found, title=found.label))
        caption = "Mean and standard deviation over seeds; brighter is better. Runs that diverged (×n) are left out."
        parts.append(picture(drawn, heatmaps.described(found), caption))
    by = None if len(settings) <= _MOST else max(varied(results.grid), key=lambda name: len(results.grid[name]))
    if by is None or len(results.grid[by]) <= sweep_figures.MOST_LINES:
        drawn = heatmaps.to_png(sweep_figures.strip(results, by=by))
        caption = "A dot for each run. The dotted line is what always guessing the most frequent class would score."
        parts.append(
            picture(drawn, f"Accuracy of each of {len(results)} runs; the table below has the numbers.", caption)
        )
    parts.append(_table(settings, RESULT, "How the runs of each setting ended, over seeds."))
    return Part("".join(parts), tuple(each.name for each in RESULT))


def behaviour(results: Results, settings: Settings, score: str) -> Part:
    """What happened on the way: table and curves."""
    quantities = BEHAVIOUR + (CURVATURE if any(run.sharpness is not None for run in results.outcomes) else ())
    target = settings[0][1].target
    note = f"The loss to reach is {plain(target)} nats, half of the loss at the start."
    drawn = heatmaps.to_png(sweep_figures.seed_curves(results))
    caption = "Training loss of each run, averaged over about ten steps; a cross is where a run diverged."
    curves = picture(drawn, "Training loss over the optimizer steps, a line for each run.", caption)
    listed = _table(settings, quantities, f"How the runs of each setting trained, and how alike they are. {note}")
    return Part(f"<h2>How they got there</h2>{curves}{listed}", tuple(each.name for each in quantities))


def sensitivity(results: Results, settings: Settings, score: str) -> Part:
    """What it costs to miss the best learning rate."""
    rows = [estimates([label], (SENSITIVITY,), (found,)) for label, found in sensitivities(results)]
    if not rows:
        return Part()
    caption = "Over the learning rates of the grid; 0: every rate does as well as the best one."
    listed = table(("other settings", "seeds", SENSITIVITY.heading), rows[:_MOST], caption)
    return Part(f"<h2>How much the learning rate matters</h2>{listed}", (SENSITIVITY.name,))


def variance(results: Results, settings: Settings, score: str) -> Part:
    """Which seed makes how much of the spread."""
    rows = []
    for label, split in list(splits(results))[:_SPLIT]:
        for name, one in split.components.items():
            low, high = (math.sqrt(each or 0.0) for each in (one.low, one.high))
            parts = f"{percent(math.sqrt(one.value))}<small>[{percent(low)}, {percent(high)}]</small>"
            share = percent(split.shares[name])
            rows.append([f"<th scope='row'>{text(label)}</th><td>{text(name)}</td><td>{share}</td><td>{parts}</td>"])
    if not rows:
        return Part()
    heads = ("setting", "cause", "share of the variance (%)", "its standard deviation (points)")
    listed = table(heads, rows, "The accuracy's variance by what causes it.")
    return Part(f"<h2>Where the spread comes from</h2>{listed}", ("variance",))


def every_run(results: Results) -> str:
    """All runs, folded away."""
    rows, names = rows_of(results), varied(results.grid)
    heads = (*map(spaced, names), "init", "order", "subset", "accuracy", "validation loss", "ended")
    lines = [[f"<td>{text(each)}</td>" for each in _run(row, names)] for row in rows[:_LISTED]]
    some = f"the first {_LISTED} of {len(rows)}" if len(rows) > _LISTED else f"all {len(rows)}"
    return f"<details><summary>The runs one by one ({some})</summary>{table(heads, lines)}</details>"


def _run(row: Row, names: Sequence[str]) -> list[str]:
    point, scores = row.point, row.scores
    ended = "diverged" if row.diverged else "failed" if row.failed else "well"
    subset = "–" if point.subset is None else str(point.subset)
    settings = [say(getattr(point.settings, name)) for name in names]
    numbers = [written(scores["accuracy"]), written(scores["validation_loss"])]
    return [*settings, str(point.init), str(point.order), subset, *numbers, ended]


def _table(settings: Settings, quantities: Sequence[Quantity], caption: str) -> str:
    names = list(settings[0][0].values)
    rows = [
        estimates(map(say, group.values.values()), quantities, [each.of(runs) for each in quantities])
        for group, runs in settings[:_MOST]
    ]
    if len(settings) > _MOST:
        caption += f" The first {_MOST} of {len(settings)} settings."
    return table((*map(spaced, names), "runs", *(each.heading for each in quantities)), rows, caption)


def _with_rows(rows: Sequence[Row], settings: Settings, score: str) -> list[tuple[Group, list[Row]]]:
    """The settings of which at least one run has the score."""
    every = [(group, [rows[i] for i in group.positions]) for group, _ in settings]
    return [(group, here) for group, here in every if len(finite(here, score))]
