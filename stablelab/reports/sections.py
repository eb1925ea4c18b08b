"""The parts of a stability report that show results, as plain tables and pictures that the template writes as HTML."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._formatting import format_number, format_setting, setting_label
from ..plots import heatmaps, sweeps
from ..plots.display import to_png
from ..plots.sweep_tables import (
    SCORES,
    Group,
    Row,
    axes_of,
    finite,
    groups,
    mean_and_spread,
    rows_of,
    score_table,
    varied,
)
from ..stability import (
    Estimate,
    Outcome,
    Results,
    VarianceSplit,
    failed_rate,
    learning_rate_sensitivity,
    variance_split,
)
from .measures import BEHAVIOUR, CURVATURE, FAILED, RESULT, SENSITIVITY, VARIANCE, Measure, Quantity, Runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST = 40  # settings that tables list
_LISTED = 400  # runs that are listed one by one
_SPLIT = 6  # settings whose variance is split

Settings = Sequence[tuple[Group, Runs]]


@dataclass(frozen=True)
class Cell:
    """A cell of a table, as plain text.

    Attributes:
        text: what stands in it.
        interval: what stands under it in square brackets, if anything.
        about: what pointing at it says, if anything.
        names_row: whether it names its row.
        bad: whether it is a number to worry about.
    """

    text: str
    interval: str = ""
    about: str = ""
    names_row: bool = False
    bad: bool = False


@dataclass(frozen=True)
class Table:
    """A table: its headings, its rows, and what stands above it."""

    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture: a PNG file in base64, what it shows in words, and what stands under it."""

    png: str
    words: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of the page: its pictures, then its tables, and the quantities that a reader of it has to know."""

    title: str
    pictures: tuple[Picture, ...]
    tables: tuple[Table, ...]
    quantities: tuple[Quantity, ...]


def by_setting(results: Results) -> list[tuple[Group, Runs]]:
    """The runs of each setting that has any, in the order of the grid."""
    target = 0.5 * float(np.mean([outcome.start_loss for outcome in results.outcomes]))
    return [
        (group, Runs(_at(results.trials, group), _at(results.outcomes, group), target))
        for group in groups(results.trials, results.grid)
        if group.positions
    ]


def at_a_glance(results: Results, settings: Settings, score: str) -> list[tuple[str, str]]:
    """The few numbers to begin with, and what each of them is."""
    rows = rows_of(results)
    rate = failed_rate([row.failed for row in rows])
    diverged = sum(row.diverged for row in rows)
    failed = f"failed ({sum(row.failed for row in rows)} runs, {diverged} diverged)"
    if rate.low is not None and rate.high is not None:
        failed += f", 95 % interval {FAILED.write(rate.low)} to {FAILED.write(rate.high)}"
    counts = sorted({len(group.positions) for group, _ in settings})
    each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    tiles = [
        (f"{len(rows)}", f"runs: {each} of each of {len(settings)} settings"),
        (f"{FAILED.write(rate.value)} %", failed),
    ]
    every = [(group.label, [rows[i] for i in group.positions]) for group, _ in settings]
    means = [(finite(here, score).mean(), label, here) for label, here in every if len(finite(here, score))]
    if len(means) > 1:
        best = (min if SCORES[score].falls else max)(means, key=lambda each: each[0])
        tiles.append((mean_and_spread(best[2], score), f"best mean {SCORES[score].label}: {best[1]}"))
    spreads = [(finite(here, score).std(ddof=1), label) for _, label, here in means if len(finite(here, score)) > 1]
    if spreads:
        widest = max(spreads, key=lambda each: each[0])
        tiles.append((f"± {format_number(widest[0])}", f"widest spread of the {SCORES[score].label}: {widest[1]}"))
    return tiles


def sections(results: Results, settings: Settings, score: str) -> Iterator[Section]:
    """Those that there is something to say in."""
    yield _ends(results, settings, score)
    yield _on_the_way(results, settings)
    yield from _sensitivity(results)
    yield from _variance(results)


def every_run(results: Results) -> Table:
    """The runs one by one, as far as they are listed."""
    names = varied(results.grid)
    headings = (*map(setting_label, names), "init", "order", "subset", "accuracy", "validation loss", "ended")
    return Table(headings, tuple(_run(row, names) for row in rows_of(results)[:_LISTED]))


def _ends(results: Results, settings: Settings, score: str) -> Section:
    x, y = axes_of(results.grid, None, None)
    pictures = []
    if x:
        found = score_table(rows_of(results), results.grid, x, y, score)
        caption = "Mean and standard deviation over seeds; brighter is better. Runs that diverged (×n) are left out."
        figure = heatmaps.heatmap_figure(found, title=found.label)
        pictures.append(_picture(figure, heatmaps.heatmap_words(found), caption))
    by = None if len(settings) <= _MOST else max(varied(results.grid), key=lambda name: len(results.grid[name]))
    if by is None or len(results.grid[by]) <= sweeps.MOST_LINES:
        caption = "A dot for each run. The dotted line is what always guessing the most frequent class would score."
        words = f"Accuracy of each of {len(results)} runs; the table below has the numbers."
        pictures.append(_picture(sweeps.strip(results, by=by), words, caption))
    table = _measured(settings, RESULT, "How the runs of each setting ended, over seeds.")
    return Section("How the runs ended", tuple(pictures), (table,), RESULT)


def _on_the_way(results: Results, settings: Settings) -> Section:
    measures = BEHAVIOUR + (CURVATURE if any(run.sharpness is not None for run in results.outcomes) else ())
    caption = "Training loss of each run, averaged over about ten steps; a cross is where a run diverged."
    words = "Training loss over the optimizer steps, a line for each run."
    curves = _picture(sweeps.seed_curves(results), words, caption)
    target = f"The loss to reach is {format_number(settings[0][1].target)} nats, half of the loss at the start."
    table = _measured(settings, measures, f"How the runs of each setting trained, and how alike they are. {target}")
    return Section("How they got there", (curves,), (table,), measures)


def _sensitivity(results: Results) -> Iterator[Section]:
    rows = tuple(_estimates([label], (SENSITIVITY,), (found,)) for label, found in sensitivities(results))
    if rows:
        caption = "Over the learning rates of the grid; 0: every rate does as well as the best one."
        table = Table(("other settings", "seeds", SENSITIVITY.heading), rows[:_MOST], caption)
        yield Section("How much the learning rate matters", (), (table,), (SENSITIVITY,))


def _variance(results: Results) -> Iterator[Section]:
    rows = []
    for label, split in list(splits(results))[:_SPLIT]:
        for name, one in split.components.items():
            value, low, high = (VARIANCE.write(math.sqrt(each or 0.0)) for each in (one.value, one.low, one.high))
            of_all = split.shares[name]
            share = Cell(VARIANCE.write(of_all.value), _interval(VARIANCE, of_all))
            rows.append((Cell(label, names_row=True), Cell(name), share, Cell(value, f"{low}, {high}")))
    if rows:
        headings = ("setting", "cause", "share of the variance (%)", "its standard deviation (points)")
        table = Table(headings, tuple(rows), "The accuracy's variance by what causes it.")
        yield Section("Where the spread comes from", (), (table,), (VARIANCE,))


def sensitivities(results: Results) -> Iterator[tuple[str, Estimate]]:
    """Learning-rate sensitivity, for each combination of the other settings; none where only one rate was run.

    Only seeds count that were run at every rate.
    """
    rates = results.grid.get("learning_rate", ())
    if len(rates) < 2:
        return
    others = {name: values for name, values in results.grid.items() if name != "learning_rate"}
    for group in groups(results.trials, others):
        by_seeds: dict[tuple[int, int, int | None], dict[float, Outcome]] = {}
        for i in group.positions:
            trial = results.trials[i]
            of_seeds = by_seeds.setdefault((trial.init, trial.order, trial.subset), {})
            of_seeds[trial.settings.learning_rate] = results.outcomes[i]
        complete = [outcomes for outcomes in by_seeds.values() if len(outcomes) == len(rates)]
        if complete:
            ends = [[outcomes[rate].validation_loss for outcomes in complete] for rate in rates]
            starts = [float(np.mean([run.start_loss for run in outcomes.values()])) for outcomes in complete]
            yield group.label, learning_rate_sensitivity(ends, starts)


def splits(results: Results) -> Iterator[tuple[str, VarianceSplit]]:
    """The accuracy's variance by what causes it, for each setting whose seeds were crossed."""
    for group, runs in by_setting(results):
        seeds = {name: [getattr(p, name) for p in runs.trials] for name in ("init", "order", "subset")}
        crossed = min(len(set(seeds["init"])), len(set(seeds["order"]))) > 1
        if not crossed or len(set(zip(seeds["init"], seeds["order"], strict=True))) == len(set(seeds["init"])):
            continue
        subsets = seeds["subset"] if len(set(seeds["subset"])) > 1 else None
        try:
            yield group.label, variance_split(runs.of("accuracy"), seeds["init"], seeds["order"], subsets)
        except ValueError:  # a run is missing, or one diverged: there is no split
            continue


def _picture(figure: Figure, words: str, caption: str) -> Picture:
    return Picture(base64.b64encode(to_png(figure)).decode("ascii"), words, caption)


def _measured(settings: Settings, measures: Sequence[Measure], caption: str) -> Table:
    names = list(settings[0][0].values)
    rows = tuple(
        _estimates(
            [format_setting(name, value) for name, value in group.values.items()],
            measures,
            [each.of(runs) for each in measures],
        )
        for group, runs in settings[:_MOST]
    )
    if len(settings) > _MOST:
        caption += f" The first {_MOST} of {len(settings)} settings."
    return Table((*map(setting_label, names), "runs", *(each.heading for each in measures)), rows, caption)


def _estimates(labels: Sequence[str], quantities: Sequence[Quantity], found: Sequence[Estimate]) -> tuple[Cell, ...]:
    """A row: what it is of, how many runs, and each value over its interval."""
    n = max(each.n + each.left_out for each in found)
    cells = [*(Cell(label, names_row=True) for label in labels), Cell(f"{n}")]
    for quantity, each in zip(quantities, found, strict=True):
        count = f"{each.n} {each.of}{'s' * (each.n != 1)}"
        out = f"{each.left_out} that diverged left out" if each.left_out else ""
        about = "; ".join(filter(None, (count, each.method, each.note, out)))
        bad = quantity is FAILED and each.value > 0
        cells.append(Cell(quantity.write(each.value), _interval(quantity, each), about, bad=bad))
    return tuple(cells)


def _interval(quantity: Quantity, one: Estimate) -> str:
    """Its ends; empty where there are none."""
    return ", ".join(quantity.write(end) for end in (one.low, one.high) if end is not None)


def _run(row: Row, names: Sequence[str]) -> tuple[Cell, ...]:
    trial, scores = row.trial, row.scores
    settings = [format_setting(name, getattr(trial.settings, name)) for name in names]
    seeds = [str(trial.init), str(trial.order), "–" if trial.subset is None else str(trial.subset)]
    numbers = [format_number(scores["accuracy"]), format_number(scores["validation_loss"])]
    ended = "diverged" if row.diverged else "failed" if row.failed else "well"
    return tuple(map(Cell, (*settings, *seeds, *numbers, ended)))


def _at(of_runs: Sequence[Any], group: Group) -> tuple[Any, ...]:
    return tuple(of_runs[i] for i in group.positions)
