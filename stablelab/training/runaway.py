"""Whether training has run away although every number is still finite: the loss, smoothed, against where it began."""

from __future__ import annotations

import math

from .records import Step

TIMES = 10  # the loss that its start has to be exceeded by
BEGINNING = 5  # steps whose mean loss is the start
LOOKS_BACK = 8  # steps, about, of the running mean


class Runaway:
    """Watches the training loss as it comes: a few operations for each step.

    A loss has run away while its running mean is above ten times its mean over the first five steps, and above what
    guessing would have.

    Args:
        guessing: the loss of a model that gives each class the same probability: log C for C classes, in nats.

    Attributes:
        since: the step from which on it has run away; None while it has not.
    """

    def __init__(self, guessing: float) -> None:
        self._guessing = guessing
        self._first: list[float] = []
        self._mean = 0.0
        self.since: int | None = None

    def add(self, step: Step) -> None:
        """Take in the next step. One whose loss is not finite is not counted: that is a divergence of its own."""
        if not math.isfinite(step.loss):
            return
        if len(self._first) < BEGINNING:
            self._first.append(step.loss)
            self._mean = sum(self._first) / len(self._first)
        else:
            self._mean += (step.loss - self._mean) / LOOKS_BACK
        limit = max(self._guessing, TIMES * min(self._first[0], sum(self._first) / len(self._first)))
        if self._mean <= limit:
            self.since = None
        elif self.since is None:
            self.since = step.step
