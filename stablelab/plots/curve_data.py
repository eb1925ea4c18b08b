"""From a history to columns of numbers: what the live chart, the pictures and the ghosts all draw."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..training.history import History
from ..training.records import Intervention, Step

COLUMNS = ("step", "loss", "smooth", "norm_before", "norm_after", "max_norm", "learning_rate", "clipped")
EVALUATION_COLUMNS = ("step", "loss", "accuracy")


class Feed:
    """Reads a history as it grows. Not thread-safe: each reader has its own.

    Attributes:
        born: how many steps are those of the run that this one is a branch of.
        marks: dicts with ``step``, ``kind``, ``text``; interventions: the same as records, divergences left out.
        clipped: how many steps were clipped so far.
        last: the newest step's numbers in full precision, non-finite ones as None.
    """

    def __init__(self, history: History, total_steps: int | None = None, born: int = 0) -> None:
        self.history = history
        self.total_steps, self.born = total_steps, born
        self.marks: list[dict[str, Any]] = []
        self.interventions: list[Intervention] = []
        self.clipped = 0
        self.last: dict[str, Any] | None = None
        self._mean = RunningMean(total_steps or 400)
        self._rows = _Table(len(COLUMNS))
        self._evaluations = _Table(len(EVALUATION_COLUMNS))

    def update(self) -> int:
        """Take in what the history has gained; returns how many steps that was."""
        new = self.history.since(len(self._rows))
        for step in new:
            self._take(step)
        if new:
            self.last = _numbers(new[-1])
        return len(new)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> np.ndarray:
        """(N, 8) float32, columns as in COLUMNS; ``max_norm`` and ``norm_after`` are NaN where clipping is off."""
        return self._rows.view

    @property
    def evaluations(self) -> np.ndarray:
        """(M, 3) float32, columns as in EVALUATION_COLUMNS."""
        return self._evaluations.view

    def _take(self, step: Step) -> None:
        limit = math.nan if step.max_norm is None else step.max_norm
        smooth = self._mean.add(step.loss)
        rate = step.learning_rates[0]
        after = math.nan if step.max_norm is None else step.norm_after
        self._rows.add((step.step, step.loss, smooth, step.norm_before, after, limit, rate, step.clipped))
        self.clipped += step.clipped
        if step.evaluation is not None:
            self._evaluations.add((step.evaluation.step, step.evaluation.loss, step.evaluation.accuracy))
        self.interventions += step.interventions
        self.marks += ({"step": each.step, "kind": each.name, "text": str(each)} for each in step.interventions)
        if step.diverged:
            self.marks.append({"step": step.step, "kind": "diverged", "text": f"step {step.step}: diverged"})


class RunningMean:
    """Exponentially weighted mean without the pull of its start (Kingma & Ba 2015, eq. 3 of section 3, on the loss).

    Arguments:
        total_steps: length of the run; the mean looks back about a 50th of it, between 8 and 30 steps.
    """

    def __init__(self, total_steps: int) -> None:
        self.beta = 1 - 1 / min(30, max(8, total_steps / 50))
        self._sum = 0.0
        self._weight = 0.0

    def add(self, value: float) -> float:
        """The mean with this value in it; a non-finite value is left out and the mean stays (NaN before any value)."""
        if math.isfinite(value):
            self._sum = self.beta * self._sum + (1 - self.beta) * value
            self._weight = self.beta * self._weight + (1 - self.beta)
        return self._sum / self._weight if self._weight else math.nan


class _Table:
    """float32 rows that grow at the end without copying each time."""

    def __init__(self, columns: int) -> None:
        self._values = np.empty((256, columns), dtype=np.float32)
        self._count = 0

    def add(self, row: Iterable[float]) -> None:
        if self._count == len(self._values):
            self._values = np.concatenate([self._values, np.empty_like(self._values)])
        self._values[self._count] = row  # type: ignore[call-overload]
        self._count += 1

    def __len__(self) -> int:
        return self._count

    @property
    def view(self) -> np.ndarray:
        return self._values[: self._count]


def _numbers(step: Step) -> dict[str, Any]:
    """The newest step in full precision, for the readers of the page."""
    values = {"step": step.step, "learning_rate": step.learning_rates[0], "loss": step.loss, "max_norm": step.max_norm}
    return {name: value if value is None or math.isfinite(value) else None for name, value in values.items()}
