"""The steps of a history as columns that grow: what was read once is not read again."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ..training.history import History
from ..training.records import Evaluation, Intervention, Step, gestures_in
from .training_log import Column, TrainingLog

_NAMES = ("step", "loss", "learning_rate", "norm", "max_norm", "epoch")


class StepColumns:
    """Takes in the steps of one history, as they are appended, and gives a ``TrainingLog`` of them at any moment.

    Args:
        steps: to begin with.
    """

    def __init__(self, steps: Iterable[Step] = ()) -> None:
        self._table = np.empty((len(_NAMES), 256))
        self._count = 0
        self._scored: dict[int, Evaluation] = {}  # by the row that it belongs to
        self._bad: list[int] = []  # steps whose loss or gradient was not finite
        self._interventions: list[Intervention] = []
        self._optimizer = ""
        self._add(tuple(steps))

    def __len__(self) -> int:
        return self._count

    @property
    def validations(self) -> int:
        """How many there were."""
        return len(self._scored)

    @property
    def last(self) -> int:
        """The number of the newest step; 0 before the first."""
        return int(self._table[0, self._count - 1]) if self._count else 0

    def read(self, history: History) -> None:
        """Take in what is new; of the newest step that is known the validation too, which may have come after it."""
        known = max(0, self._count - 1)
        steps = history.since(known)
        if self._count and steps and steps[0].evaluation is not None:
            self._scored[known] = steps[0].evaluation
        self._add(steps[1:] if self._count else steps)

    def changed(self, name: str) -> int:
        """The first step that used the last change by hand of a setting; 0 where there was none."""
        return max((each.step for each in self._interventions if each.name == name), default=0)

    def log(self, source: str, after: int = 0) -> TrainingLog:
        """All there is by now, or all after so many steps."""
        start = int(np.searchsorted(self._table[0, : self._count], after, side="right")) if after else 0
        columns = dict(zip(_NAMES, self._table[:, start : self._count], strict=True))
        scored = [evaluation for row, evaluation in self._scored.items() if row >= start]
        return TrainingLog(
            source=source,
            steps=columns["step"],
            losses=columns["loss"],
            learning_rates=_known(columns["learning_rate"]),
            norms=_known(columns["norm"]),
            max_norms=_known(columns["max_norm"]),
            validation_steps=np.array([e.step for e in scored], dtype=float),
            validation_losses=np.array([e.loss for e in scored], dtype=float),
            accuracies=np.array([e.accuracy for e in scored], dtype=float),
            not_finite=next((step for step in self._bad if step > after), None),
            steps_per_epoch=per_epoch(columns["step"], _known(columns["epoch"])),
            optimizer=self._optimizer,
            changes=tuple((each.first, each.words) for each in gestures_in(self._interventions)),
        )

    def _add(self, steps: tuple[Step, ...]) -> None:
        if not steps:
            return
        first, self._count = self._count, self._count + len(steps)
        if self._count > self._table.shape[1]:  # a log that was given keeps the old table
            table = np.empty((len(_NAMES), 2 * self._count))
            table[:, :first] = self._table[:, :first]
            self._table = table
        self._table[:, first : self._count] = np.array([_row(step) for step in steps], dtype=float).T
        self._optimizer = self._optimizer or steps[0].optimizer
        for row, step in enumerate(steps, first):
            if step.evaluation is not None:
                self._scored[row] = step.evaluation
            if step.diverged or not math.isfinite(step.loss):
                self._bad.append(step.step)
            self._interventions += step.interventions


def per_epoch(steps: Column, epochs: Column) -> float | None:
    """Steps per epoch, where the epoch is a fraction that grows with the step, or a whole number that counts passes."""
    if len(epochs) != len(steps) or len(steps) < 3:
        return None
    known = np.isfinite(epochs) & np.isfinite(steps)
    steps, epochs = steps[known], epochs[known]
    if len(steps) < 3 or epochs[-1] <= epochs[0]:
        return None
    if np.all(epochs == np.round(epochs)):
        begins = steps[1:][np.diff(epochs) > 0]
        return float(np.median(np.diff(begins))) if len(begins) > 1 else None
    ratio = (steps[-1] - steps[0]) / (epochs[-1] - epochs[0])
    return float(round(ratio)) if ratio >= 1 else None


def _row(step: Step) -> tuple[float, ...]:
    rate = step.learning_rates[0] if step.learning_rates else math.nan
    limit = step.max_norm if step.max_norm is not None and step.clip == "norm" else math.nan
    return (step.step, step.loss, rate, step.norm_before, limit, step.epoch)


def _known(column: Column) -> Column:
    """The column, or an empty one where it holds no number."""
    return column if np.isfinite(column).any() else np.empty(0)
