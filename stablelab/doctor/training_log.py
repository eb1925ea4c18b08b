"""What the doctor reads: the numbers of a run as columns, whoever wrote them down, and what is known beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[np.float64]

MOST = 20_000  # rows that the rules look at; of a longer log so many neighbours are averaged that it has no more
FEWEST = 10  # rows that anything is said of a trend from
BEGINNING = 5  # rows whose mean is the loss at the start, as in training.runaway


def _none() -> Column:
    return np.empty(0)


@dataclass(frozen=True, eq=False)
class TrainingLog:
    """A run as columns of one length, NaN where there is no number; an empty column was not in the log at all.

    Args:
        source: where it comes from, in a few words.
        steps: (N,) the number of each row: steps done after it.
        losses: (N,) training loss.
        learning_rates: (N,) of the first parameter group.
        norms: (N,) L2 norm of the gradient before clipping.
        max_norms: (N,) clip threshold.
        validation_steps, validation_losses, accuracies: (M,) validations, each at its step.
        unit: what a row counts: ``step``, ``epoch``, or ``row`` where the log does not say.
        averaged: how many steps each logged loss is the mean of, as far as is known.
        not_finite: the step of the first loss or gradient that was not finite; None where there was none.
        classes: C, the number of classes; None where it is not known.
        label_entropy: H of the label shares, in nats; ln C where only C is known.
        why_no_classes: why nothing can be held against ln C, where that is so.
        batch_size: examples per step.
        steps_per_epoch: batches in one pass over the data.
        total_steps: planned length.
        over: whether nothing is still to come; None where that is not known.
        optimizer: its name, empty where it is not known.
        parameters: how many numbers are trained.
        bias_correction, warmup_steps: of Adam, as set; None where that is not known.
        changes: (step, what was changed by hand), in order.
        settings: what can be set of the run, by name, with the values that the next step uses.
        remarks: what this kind of log leaves out, one line each.
    """

    source: str
    steps: Column
    losses: Column
    learning_rates: Column = field(default_factory=_none)
    norms: Column = field(default_factory=_none)
    max_norms: Column = field(default_factory=_none)
    validation_steps: Column = field(default_factory=_none)
    validation_losses: Column = field(default_factory=_none)
    accuracies: Column = field(default_factory=_none)
    unit: str = "step"
    averaged: float = 1
    not_finite: int | None = None
    classes: int | None = None
    label_entropy: float | None = None
    why_no_classes: str = "the number of classes is not in the log: lab.examine(log, classes=...) says it"
    batch_size: int | None = None
    steps_per_epoch: float | None = None
    total_steps: int | None = None
    over: bool | None = None
    optimizer: str = ""
    parameters: int | None = None
    bias_correction: bool | None = None
    warmup_steps: int | None = None
    changes: tuple[tuple[int, str], ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.steps)

    @cached_property
    def begins(self) -> bool:
        """Whether the first row is the first step of the run, by itself: not a later one, and not a mean of several."""
        return self.unit == "step" and self.averaged <= 1 and len(self) > 0 and self.steps[0] <= 1

    @cached_property
    def guessing(self) -> float | None:
        """The loss of guessing with the label shares: H, or ln C where these are not known. None without classes."""
        if self.classes is None:
            return None
        return math.log(self.classes) if self.label_entropy is None else self.label_entropy

    @cached_property
    def start(self) -> float:
        """Loss at the start: the larger of the first one and of the mean of the first five."""
        first = self.losses[np.isfinite(self.losses)][:BEGINNING]
        return float(max(first[0], first.mean())) if len(first) else math.nan

    @cached_property
    def window(self) -> int:
        """How many rows the loss is smoothed over: a tenth of the log, between 5 and 50."""
        return int(min(50, max(5, len(self) // 10)))

    @cached_property
    def smoothed(self) -> Column:
        """(N − window + 1,) means of so many losses in a row; entry i ends with row i + window − 1."""
        return running_mean(self.losses, self.window)

    @cached_property
    def end(self) -> float:
        """The mean loss of the last window."""
        return float(self.smoothed[-1]) if len(self.smoothed) else math.nan

    @cached_property
    def noise(self) -> float:
        """Standard deviation of a single loss around its trend."""
        return noise(self.losses)

    @cached_property
    def noise_of_means(self) -> float:
        """Standard deviation of the difference of two means of a window each."""
        return self.noise * math.sqrt(2 / self.window)

    @cached_property
    def adam_like(self) -> bool | None:
        """Whether the optimizer divides by a running scale of the gradient; None where it is not known."""
        name = self.optimizer.lower()
        if any(each in name for each in ("adam", "lamb", "lion", "adafactor", "rmsprop", "adagrad")):
            return True
        return False if any(each in name for each in ("sgd", "momentum", "nesterov", "gradient descent")) else None

    @cached_property
    def at_full_rate(self) -> int:
        """Rows at half the highest learning rate or more, which a loss can be expected to have moved in."""
        rates = self.learning_rates
        if not len(rates) or not np.isfinite(rates).any():
            return len(self)
        return int(np.sum(rates >= 0.5 * np.nanmax(rates)))

    @cached_property
    def best_accuracy(self) -> float:
        """The highest of the validations; NaN where there is none."""
        return float(np.nanmax(self.accuracies)) if np.isfinite(self.accuracies).any() else math.nan

    def changed_by_hand(self, first: float, last: float) -> str:
        """What was changed by hand between two steps, as the end of a sentence; empty where nothing was."""
        found = [text for step, text in self.changes if first <= step <= last]
        return f" Changed by hand just before: {found[-1]}." if found else ""

    def thinned(self) -> TrainingLog:
        """The same run with at most ``MOST`` rows: each the mean of its neighbours, with the number of the last."""
        k = math.ceil(len(self) / MOST)
        if k <= 1:
            return self
        rows = len(self) // k

        def mean(column: Column) -> Column:
            if not len(column):
                return column
            table = column[: rows * k].reshape(rows, k)
            known = np.isfinite(table)
            sums, counts = np.where(known, table, 0.0).sum(axis=1), known.sum(axis=1)
            return np.divide(sums, counts, out=np.full(rows, np.nan), where=counts > 0)

        names = ("losses", "learning_rates", "norms", "max_norms")
        columns: dict[str, Any] = {name: mean(getattr(self, name)) for name in names}
        return replace(self, steps=self.steps[k - 1 : rows * k : k], averaged=self.averaged * k, **columns)


def running_mean(values: Column, window: int) -> Column:
    """Means of ``window`` values in a row, those that are not finite left out; shorter by ``window`` − 1."""
    if len(values) < window:
        return _none()
    known = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    n = counts[window:] - counts[:-window]
    return np.divide(sums[window:] - sums[:-window], n, out=np.full(len(n), np.nan), where=n > 0)


def noise(values: Column) -> float:
    """Standard deviation around a trend that is slow: of differences between neighbours, over √2, by their median.

    Rousseeuw & Croux 1993 for the factor 1.4826 of a median absolute deviation; von Neumann 1941 for the differences.
    """
    known = values[np.isfinite(values)]
    return 1.4826 * float(np.median(np.abs(np.diff(known)))) / math.sqrt(2) if len(known) > 2 else math.nan
