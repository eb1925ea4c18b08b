"""Finished runs of a sweep, side by side."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .grid import Grid
from .ledger import Ledger
from .trial import Outcome, Trial

if TYPE_CHECKING:
    import pandas

LAST = 10  # steps whose mean loss is the training loss at the end
SEEDS = ("init", "order", "subset")


@dataclass(frozen=True, eq=False)
class Results:
    """Finished runs, in the order of the sweep.

    Attributes:
        trials, outcomes: of each run, what it was trained with and what it came to.
        grid: name of a setting -> the values it takes in the sweep.
        classes: the names of the classes.
        description: what was trained on what, and by which code.
    """

    trials: tuple[Trial, ...]
    outcomes: tuple[Outcome, ...]
    grid: Grid
    classes: tuple[str, ...]
    description: dict[str, Any]

    def __len__(self) -> int:
        return len(self.trials)

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
            raise ValueError(f"{file} holds {len(described)} sweeps that can be read; it must be the file of one")
        [(name, description)] = described.items()
        runs = ledger.runs(name)
        if not runs:
            raise ValueError(f"{file} holds no runs that can be read")
        return cls.of(ledger, [key for key, _ in runs], [trial for _, trial in runs], description)

    @classmethod
    def of(cls, ledger: Ledger, keys: Sequence[str], trials: Sequence[Trial], description: dict[str, Any]) -> Results:
        """Those of these runs that are done; says how many are damaged and left out."""
        found = [(trial, ledger.outcome(key)) for key, trial in zip(keys, trials, strict=True)]
        if ledger.damaged:
            many = f"{len(ledger.damaged)} of {len(ledger.damaged.union(keys))} runs in {ledger.file} are damaged"
            print(f"{many} and left out; make their sweep again to have them run anew", file=sys.stderr)
        done = [(trial, outcome) for trial, outcome in found if outcome is not None]
        return cls(
            trials=tuple(trial for trial, _ in done),
            outcomes=tuple(outcome for _, outcome in done),
            grid=_grid_of(trials),
            classes=tuple(description["classes"]),
            description=description,
        )

    def where(self, **values: Any) -> Results:
        """Those runs whose settings, ``init``, ``order`` and ``subset`` have these values.

        Raises:
            ValueError: in one line, for a name that is no setting, or a value that no run has.
        """
        for name, value in values.items():
            there = sorted({_of(trial, name) for trial in self.trials}, key=repr)
            if value not in there:
                raise ValueError(f"no run has {name} = {value!r}; there are {', '.join(map(repr, there))}")
        chosen = [i for i, trial in enumerate(self.trials) if all(_of(trial, name) == v for name, v in values.items())]
        grid = {name: (values[name],) if name in values else kept for name, kept in self.grid.items()}
        trials, outcomes = tuple(self.trials[i] for i in chosen), tuple(self.outcomes[i] for i in chosen)
        return Results(trials, outcomes, grid, self.classes, self.description)

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
            {name: _of(trial, name) for name in (*self.grid, *SEEDS)} | _numbers(outcome)
            for trial, outcome in zip(self.trials, self.outcomes, strict=True)
        ]
        return pandas.DataFrame(rows)


def _of(trial: Trial, name: str) -> Any:
    if name in SEEDS:
        return getattr(trial, name)
    if not hasattr(trial.settings, name):
        raise ValueError(f"there is no setting {name!r}")
    return getattr(trial.settings, name)


def _grid_of(trials: Sequence[Trial]) -> Grid:
    """The settings in which these trials differ, with their values in the order in which they come."""
    first = trials[0].settings
    names = [name for name in first.to_dict() if any(getattr(p.settings, name) != getattr(first, name) for p in trials)]
    return {name: tuple(dict.fromkeys(getattr(p.settings, name) for p in trials)) for name in names}


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
