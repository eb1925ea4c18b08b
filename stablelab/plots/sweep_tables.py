"""A sweep's runs put in groups, one for each setting of its grid, and the numbers of them that are looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from .._formatting import format_number
from ..stability.sweeps.results import LAST, Results
from ..stability.sweeps.trial import Outcome, Trial

Grid = Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Score:
    """A number of a run that can be looked at.

    Arguments:
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

    Arguments:
        point: what it was trained with.
        scores: a number for each of ``SCORES``; NaN where it diverged.
        diverged, failed: how it ended; one that diverged has failed too.
        majority: share of the largest class of the validation split.
    """

    point: Trial
    scores: dict[str, float]
    diverged: bool
    failed: bool
    majority: float

    @classmethod
    def of(cls, point: Trial, outcome: Outcome) -> Row:
        """From what a run came to."""
        diverged = outcome.diverged is not None
        scores = {name: np.nan if diverged else float(score.of(outcome)) for name, score in SCORES.items()}
        return cls(point, scores, diverged, outcome.failed, outcome.majority)


@dataclass(frozen=True)
class Group:
    """The runs of one setting of the grid.

    Arguments:
        values: name of a setting -> its value here, of those that vary.
        positions: of its runs among all that there are, none or more.
    """

    values: dict[str, Any]
    positions: tuple[int, ...]

    @property
    def label(self) -> str:
        """Such as ``learning rate 3e-4, max norm 1``."""
        return ", ".join(f"{spaced(name)} {say(value)}" for name, value in self.values.items()) or "all runs"


def rows_of(results: Results) -> list[Row]:
    """The numbers of each run, in their order."""
    return [Row.of(point, outcome) for point, outcome in zip(results.trials, results.outcomes, strict=True)]


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


def groups(points: Sequence[Trial], grid: Grid) -> list[Group]:
    """The runs by setting, in the order of the grid; settings without a run are there too."""
    names = varied(grid)
    found: dict[tuple[Any, ...], list[int]] = {values: [] for values in product(*(grid[name] for name in names))}
    for i, point in enumerate(points):
        found[tuple(getattr(point.settings, name) for name in names)].append(i)
    return [Group(dict(zip(names, values, strict=True)), tuple(positions)) for values, positions in found.items()]


def finite(rows: Sequence[Row], score: str) -> np.ndarray:
    """(n,) the score of those runs that did not diverge, where it is a number."""
    values = np.array([row.scores[score] for row in rows], dtype=np.float64)
    return values[np.isfinite(values)]


def spaced(name: str) -> str:
    """The name of a setting as it is read."""
    return name.replace("_", " ")


def say(value: Any) -> str:
    """A setting's value as it is read: off, on, 3e-4, adam."""
    if value is None or isinstance(value, bool):
        return "on" if value else "off"
    return format_number(value) if isinstance(value, float | int) else str(value)


def written(value: float) -> str:
    """A score as it is read; a dash where there is none."""
    return format_number(float(value)) if np.isfinite(value) else "–"
