"""A run and its branches: who belongs to the family, and the curves of the others beside the one that is shown."""

from __future__ import annotations

import math
import time

from ..plots import earlier_runs
from ..plots.earlier_runs import EarlierRun, first_of_family
from ..training.background import Driver

SECONDS = 2.0  # between two looks; what is new there is sent whole


def family_of(run: Driver) -> list[Driver]:
    """The run that this one comes from in the end, and all branches of it: parents before their branches."""
    return with_branches(first_of_family(run))


def with_branches(run: Driver) -> list[Driver]:
    """The run and all branches of it, parents before their branches."""
    found = [run]
    for each in found:  # grows as it goes
        found += each.branches
    return found


class Family:
    """The other runs of a family, kept fresh while they train unseen.

    Args:
        run: the one that is shown.

    Attributes:
        beside: what is drawn beside it: earlier runs of its task, its parent first.
    """

    def __init__(self, run: Driver) -> None:
        self._run = run
        self.beside: tuple[EarlierRun, ...] = ()
        self._done = -1  # steps of all others, as last looked at
        self._next = -math.inf
        self.look()

    def look(self) -> bool:
        """Take up what the others have done since, at most every two seconds; whether there are other curves now."""
        done, now = self._steps(), time.monotonic()
        if done == self._done or now < self._next:
            return False
        for each in self._others():
            earlier_runs.remember(each)
        self.beside = earlier_runs.beside(self._run)
        self._done, self._next = done, now + SECONDS
        return True

    @property
    def busy(self) -> bool:
        """Whether there is, or will be, something to look at."""
        return self._steps() != self._done or any(each.state == "running" for each in self._others())

    def _steps(self) -> int:
        return sum(len(each.history) for each in self._others())

    def _others(self) -> list[Driver]:
        return [each for each in family_of(self._run) if each is not self._run]
