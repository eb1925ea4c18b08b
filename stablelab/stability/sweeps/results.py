"""Finished runs of a sweep, side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .grid import Grid, Point
from .ledger import Ledger
from .trial import Outcome

if TYPE_CHECKING:
    import pandas

LAST = 10  # steps whose mean loss is the training loss at the end
SEEDS = ("init", "order", "subset")


@dataclass(frozen=True, eq=False)
class Results:
    """Finished runs, in the order of the sweep.

    Arguments:
        points, outcomes: of each run, what it was trained with and what it came to.
        grid: name of a setting -> the values it takes in the sweep.
        classes: the names of the classes.
        description: what was trained on what, and by which code.
    """

    points: tuple[Point, ...]
    outcomes: tuple[Outcome, ...]
    grid: Grid
    classes: tuple[str, ...]
    description: dict[str, Any]

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        settings = " × ".join(f"{len(values)} {name}" for name, values in self.grid.items())
        return f"{len(self)} runs of {self.description.get('task', 'a task')}" + (f": {settings}" if settings else "")

    @classmethod
    def read(cls, file: str | os.PathLike[str]) -> Results:
        """The finished runs of a sweep's file, without the data and the model that it needs to go on.

        Raises:
            FileNotFoundError, ValueError: in one line, where there is no file, it is no sweep of this version, or it
                holds more than one.
        """
        ledger = Ledger(file, read_only=True)
        described = ledger.descriptions()
        if len(described) != 1:
            raise ValueError(f"{file} holds {len(described)} sweeps; it must be the file of one")
        [(name, description)] = described.items()
        keys, points = zip(*ledger.runs(name), strict=True)
        return cls.of(ledger, keys, points, description)

    @classmethod
    def of(cls, ledger: Ledger, keys: Sequence[str], points: Sequence[Point], description: dict[str, Any]) -> Results:
        """Those of these runs that are done."""
        found = [(point, ledger.outcome(key)) for key, point in zip(keys, points, strict=True)]
        done = [(point, outcome) for point, outcome in found if outcome is not None]
        return cls(
            points=tuple(point for point, _ in done),
            outcomes=tuple(outcome for _, outcome in done),
            grid=_grid_of(points),
            classes=tuple(description["classes"]),
            description=description,
        )

    def where(self, **values: Any) -> Results:
        """Those runs whose settings, ``init``, ``order`` and ``subset`` have these values.

        Raises:
            ValueError: in one line, for a name that is no setting, or a value that no run has.
        """
        for name, value in values.items():
            there = sorted({_of(point, name) for point in self.points}, key=repr)
            if value not in there:
                raise ValueError(f"no run has {name} = {value!r}; there are {', '.join(map(repr, there))}")
        chosen = [i for i, p in enumerate(self.points) if all(_of(p, name) == v for name, v in values.items())]
        grid = {name: (values[name],) if name in values else kept for name, kept in self.grid.items()}
        points, outcomes = tuple(self.points[i] for i in chosen), tuple(self.outcomes[i] for i in chosen)
        return Results(points, outcomes, grid, self.classes, self.description)

    @property
    def logits(self) -> np.ndarray:
        """(R, N, C) float32, on the validation split; nan for runs that diverged."""
        return np.stack([outcome.logits for outcome in self.outcomes])

    @property
    def predictions(self) -> np.ndarray:
        """(R, N) int64 class numbers; -1 for runs that diverged."""
        return np.stack([outcome.predictions for outcome in self.outcomes])

    @property
    def targets(self) -> np.ndarray:
        """(N,) int64 class numbers of the validation split."""
        return self.outcomes[0].targets

    @property
    def losses(self) -> list[np.ndarray]:
        """(T,) float32 for each run, training loss of each step."""
        return [outcome.losses for outcome in self.outcomes]

    def frame(self) -> pandas.DataFrame:
        """A row for each run: the settings of the grid, its seeds, and what it came to."""
        return self._frame.copy()

    @cached_property
    def _frame(self) -> pandas.DataFrame:
        import pandas

        rows = [
            {name: _of(point, name) for name in (*self.grid, *SEEDS)} | _numbers(outcome)
            for point, outcome in zip(self.points, self.outcomes, strict=True)
        ]
        return pandas.DataFrame(rows)


def _of(point: Point, name: str) -> Any:
    if name in SEEDS:
        return getattr(point, name)
    if not hasattr(point.settings, name):
        raise ValueError(f"there is no setting {name!r}")
    return getattr(point.settings, name)


def _grid_of(points: Sequence[Point]) -> Grid:
    """The settings in which these points differ, with their values in the order in which they come."""
    first = points[0].settings
    names = [name for name in first.to_dict() if any(getattr(p.settings, name) != getattr(first, name) for p in points)]
    return {name: tuple(dict.fromkeys(getattr(p.settings, name) for p in points)) for name in names}


def _numbers(outcome: Outcome) -> dict[str, Any]:
    return {
        "steps": len(outcome.losses),
        "train_loss": float(outcome.losses[-LAST:].mean()),
        "validation_loss": outcome.validation_loss,
        "start_loss": outcome.start_loss,
        "accuracy": outcome.accuracy,
        "failed": outcome.failed,
        "diverged": outcome.diverged is not None,
        "clipped_share": outcome.clipped_share,
        "sharpness": float("nan") if outcome.sharpness is None else outcome.sharpness,
        "seconds": outcome.seconds,
    }
