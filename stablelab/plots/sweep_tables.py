"""A sweep's runs as tables: one run, one setting of its grid, or two settings against each other."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from .._formatting import format_duration, format_number, format_setting, setting_label
from ..stability.sweeps.results import LAST, Results
from ..stability.sweeps.trial import Outcome, Trial

Grid = Mapping[str, tuple[Any, ...]]
LATEST = 5  # runs that are listed as the latest
MOST = 120  # settings that are listed
STYLE = """
.stablelab-sweep { overflow-x: auto; }
.stablelab-sweep table { border-collapse: collapse; font-size: 12px; font-variant-numeric: tabular-nums; }
.stablelab-sweep .listed { max-height: 230px; overflow-y: auto; width: fit-content; padding-right: 14px; }
.stablelab-sweep .listed table { margin: 2px 0 6px; }
.stablelab-sweep .listed th { text-align: left; font-weight: 600; padding: 1px 14px 1px 0; white-space: nowrap; }
.stablelab-sweep .listed td { padding: 1px 14px 1px 0; white-space: nowrap; line-height: 1.4; }
.stablelab-sweep .listed tr { background: none; }
.stablelab-sweep .bad { color: #d55e00; font-weight: 600; }
.stablelab-sweep .latest { font-size: 12px; opacity: 0.85; }
"""


@dataclass(frozen=True)
class Score:
    """A number of a run that can be looked at.

    Attributes:
        label: what it is called, with its unit.
        of: gives it for a run that did not diverge.
        falls: whether less of it is better.
    """

    label: str
    of: Callable[[Outcome], float]
    falls: bool = True


SCORES = {
    "validation_loss": Score("validation loss (nats)", lambda run: run.validation_loss),
    "train_loss": Score("training loss (nats)", lambda run: float(run.losses[-LAST:].mean())),
    "accuracy": Score("validation accuracy (share)", lambda run: run.accuracy, falls=False),
    "clipped_share": Score("clipped steps (share)", lambda run: run.clipped_share),
    "sharpness": Score("sharpness λ_max", lambda run: np.nan if run.sharpness is None else run.sharpness),
    "seconds": Score("time of a run (seconds)", lambda run: run.seconds),
}


@dataclass(frozen=True)
class Row:
    """What is kept of a run to look at: all numbers and no array.

    Attributes:
        trial: what it was trained with.
        scores: a number for each of ``SCORES``; NaN where it diverged.
        diverged, failed: how it ended; one that diverged has failed too.
        majority: share of the largest class of the validation split.
    """

    trial: Trial
    scores: dict[str, float]
    diverged: bool
    failed: bool
    majority: float

    @classmethod
    def of(cls, trial: Trial, outcome: Outcome) -> Row:
        """From what a run came to."""
        diverged = outcome.diverged is not None
        scores = {name: np.nan if diverged else float(score.of(outcome)) for name, score in SCORES.items()}
        return cls(trial, scores, diverged, outcome.failed, outcome.majority)


@dataclass(frozen=True)
class Group:
    """The runs of one setting of the grid.

    Attributes:
        values: name of a setting -> its value here, of those that vary.
        positions: of its runs among all that there are, none or more.
    """

    values: dict[str, Any]
    positions: tuple[int, ...]

    @property
    def label(self) -> str:
        """Such as ``learning rate 3e-4, clip threshold 1``."""
        return settings_line(self.values) or "all runs"


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """A score over two settings: a row for each value of one, a column for each of the other.

    Attributes:
        x, y: names of the settings, of columns and rows; y is empty where there is one row only.
        columns, rows: their values.
        mean, std: (rows, columns), of the runs that did not diverge; NaN where there are too few (1, and 2).
        runs, diverged: (rows, columns) int64, how many there are, and how many of them diverged.
        label: what the numbers are, with the unit.
        falls: whether less is better.
        over: other settings of the grid that the numbers are averages over.
    """

    x: str
    y: str
    columns: tuple[Any, ...]
    rows: tuple[Any, ...]
    mean: np.ndarray
    std: np.ndarray
    runs: np.ndarray
    diverged: np.ndarray
    label: str
    falls: bool = True
    over: tuple[str, ...] = ()

    def where(self, row: int, column: int) -> str:
        """The settings of a cell, as they are read."""
        values = {self.x: self.columns[column]} | ({self.y: self.rows[row]} if self.y else {})
        return settings_line(values)

    @property
    def averaged_over(self) -> str:
        """The settings that the numbers are averages over, in words; empty where there is none."""
        return f"averaged over {', '.join(map(setting_label, self.over))}" if self.over else ""


def rows_of(results: Results) -> list[Row]:
    """The numbers of each run, in their order."""
    return [Row.of(trial, outcome) for trial, outcome in zip(results.trials, results.outcomes, strict=True)]


def checked_score(score: str) -> Score:
    """The score of this name, or a one-line ValueError."""
    if score not in SCORES:
        raise ValueError(f"score is {score!r}; it must be one of {', '.join(SCORES)}")
    return SCORES[score]


def varied(grid: Grid) -> list[str]:
    """The settings that have more than one value."""
    return [name for name, values in grid.items() if len(values) > 1]


def axes_of(grid: Grid, x: str | None, y: str | None) -> tuple[str, str]:
    """The two settings to draw against, chosen among those that vary where they are not given.

    Returns:
        Their names; empty ones where the grid does not have as many.

    Raises:
        ValueError: in one line, where one that is given is not in the grid, or both are the same.
    """
    for name in (x, y):
        if name is not None and name not in grid:
            raise ValueError(
                f"there is no {name!r} in this sweep's grid; it has {', '.join(grid) or 'one setting only'}"
            )
    if x is not None and x == y:
        raise ValueError(f"x and y are both {x!r}; take two settings of the grid")
    free = [name for name in varied(grid) if name not in (x, y)]
    free.sort(key=lambda name: {"learning_rate": 0, "max_norm": 1}.get(name, 2))
    x = x or (free.pop(0) if free else "")
    return x, y or (free[0] if free else "")


def groups(trials: Sequence[Trial], grid: Grid) -> list[Group]:
    """The runs by setting, in the order of the grid; settings without a run are there too."""
    names = varied(grid)
    found: dict[tuple[Any, ...], list[int]] = {values: [] for values in product(*(grid[name] for name in names))}
    for i, trial in enumerate(trials):
        found[tuple(getattr(trial.settings, name) for name in names)].append(i)
    return [Group(dict(zip(names, values, strict=True)), tuple(positions)) for values, positions in found.items()]


def score_table(rows: Sequence[Row], grid: Grid, x: str, y: str, score: str) -> ScoreTable:
    """The score's mean and spread for each pair of values of two settings.

    Where the grid has other settings, the mean is that of their means, and the variance that of their variances, so
    that the spread stays that over seeds.

    Args:
        rows: the runs that are done.
        grid: of the sweep.
        x: a setting of the grid.
        y: another; empty for one row.
        score: one of ``SCORES``.
    """
    chosen = checked_score(score)
    columns, lines = grid[x], grid[y] if y else (None,)
    shape = (len(lines), len(columns))
    runs, diverged = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    means: list[list[list[float]]] = [[[] for _ in columns] for _ in lines]
    variances: list[list[list[float]]] = [[[] for _ in columns] for _ in lines]
    for group in groups([row.trial for row in rows], grid):
        column = columns.index(group.values.get(x, columns[0]))
        line = lines.index(group.values.get(y, lines[0])) if y else 0
        here = [rows[i] for i in group.positions]
        runs[line, column] += len(here)
        diverged[line, column] += sum(row.diverged for row in here)
        values = finite(here, score)
        means[line][column] += [values.mean()] if len(values) else []
        variances[line][column] += [values.var(ddof=1)] if len(values) > 1 else []
    over = tuple(name for name in varied(grid) if name not in (x, y))
    mean, std = _averages(means), np.sqrt(_averages(variances))
    return ScoreTable(x, y, columns, lines, mean, std, runs, diverged, chosen.label, chosen.falls, over)


def finite(rows: Sequence[Row], score: str) -> np.ndarray:
    """(n,) the score of those runs that did not diverge, where it is a number."""
    values = np.array([row.scores[score] for row in rows], dtype=np.float64)
    return values[np.isfinite(values)]


def settings_line(values: Mapping[str, Any]) -> str:
    """Settings and their values on one line, as they are read: learning rate 3e-4, clip threshold off."""
    return ", ".join(f"{setting_label(name)} {format_setting(name, value)}" for name, value in values.items())


def mean_and_spread(rows: Sequence[Row], score: str) -> str:
    """Such as ``0.512 ± 0.031``, of the runs that did not diverge."""
    values = finite(rows, score)
    if not len(values):
        return "all diverged" if rows else "–"
    spread = f" ± {format_number(values.std(ddof=1))}" if len(values) > 1 else ""
    return format_number(values.mean()) + spread


def runs_words(rows: Sequence[Row]) -> str:
    """The runs of a sweep in words: how many, how accurate, how many failed."""
    accuracy = mean_and_spread(rows, "accuracy")
    return f"{len(rows)} runs: validation accuracy {accuracy}, {sum(row.failed for row in rows)} failed."


# -- HTML, made anew while a sweep runs --------------------------------------------------------------------------------


def progress(done: int, total: int, pace: float, unable: int, rows: Sequence[Row]) -> str:
    """Such as ``12 of 64 runs · 3.2 runs/s · 16 s left · 2 diverged``.

    Args:
        done: runs that are done.
        total: runs of the sweep.
        pace: runs per second; 0 where it is not known.
        unable: runs that could not be run.
        rows: those that are done.
    """
    parts = [f"<b>{done}</b> of {total} runs"]
    left = total - done - unable
    if pace > 0 and left > 0:
        speed = f"{format_number(pace)} runs/s" if pace >= 1 else f"{format_number(1 / pace)} s a run"
        parts += [speed, f"{format_duration(left / pace)} left"]
    diverged, failed = sum(row.diverged for row in rows), sum(row.failed for row in rows)
    if failed:
        parts.append(f"{failed} failed" + (f" ({diverged} diverged)" if diverged else ""))
    if unable:
        parts.append(f"{unable} could not be run")
    return f"<span class='stablelab-progress'>{' · '.join(parts)}</span>"


def settings_table(rows: Sequence[Row], grid: Grid, score: str) -> str:
    """A line for each setting: mean ± standard deviation over its runs, how many there are, how many failed."""
    heads = [*map(setting_label, varied(grid)), SCORES[score].label, "runs", "failed"]
    head = "".join(f"<th scope='col'>{html.escape(name)}</th>" for name in heads)
    every = groups([row.trial for row in rows], grid)
    lines = []
    for group in every[:MOST]:
        here = [rows[i] for i in group.positions]
        failed = sum(row.failed for row in here)
        values = (format_setting(name, value) for name, value in group.values.items())
        texts = [*values, mean_and_spread(here, score), str(len(here))]
        columns = "".join(f"<td>{html.escape(text)}</td>" for text in texts)
        lines.append(f"<tr>{columns}<td{' class=bad' if failed else ''}>{failed}</td></tr>")
    more = f"<div>and {len(every) - MOST} settings more</div>" if len(every) > MOST else ""
    return (
        f"<div class='listed'><table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>{more}</div>"
    )


def latest(rows: Sequence[Row], grid: Grid, score: str) -> str:
    """The runs that ended last, newest first."""
    lines = []
    for row in rows[: -LATEST - 1 : -1]:
        settings = settings_line({name: getattr(row.trial.settings, name) for name in varied(grid)})
        seeds = f"init {row.trial.init}, order {row.trial.order}"
        seeds += "" if row.trial.subset is None else f", subset {row.trial.subset}"
        numbers = (format_number(row.scores[score]), format_number(row.scores["accuracy"]))
        ended = f"{SCORES[score].label} {numbers[0]}, accuracy {numbers[1]}"
        verdict = "<span class=bad>diverged</span>" if row.diverged else html.escape(ended)
        verdict += " <span class=bad>failed</span>" if row.failed and not row.diverged else ""
        lines.append(f"{html.escape(' · '.join(filter(None, (settings, seeds))))} · {verdict}")
    return f"<div class='latest'>{'<br>'.join(lines)}</div>" if lines else ""


def _averages(found: Sequence[Sequence[Sequence[float]]]) -> np.ndarray:
    return np.array([[np.mean(each) if len(each) else np.nan for each in row] for row in found], dtype=np.float64)
