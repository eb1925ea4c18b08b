"""The other runs of a family, as ghosts beside the one that is shown: kept fresh while they train unseen."""

from __future__ import annotations

import math
import time

from ..plots import earlier_runs
from ..plots.earlier_runs import EarlierRun
from ..training.run import Run
from .notebook_cells import family

SECONDS = 2.0  # between two looks; what is new there is sent whole


class Relatives:
    """What is drawn beside a run.

    Attributes:
        ghosts: of earlier runs of its task, its parent first.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.ghosts: tuple[EarlierRun, ...] = ()
        self._done = -1  # steps of all relatives, as last looked at
        self._next = -math.inf
        self.look()

    def look(self) -> bool:
        """Take up what relatives have done since, at most every two seconds; whether there are other ghosts now."""
        done, now = self._steps(), time.monotonic()
        if done == self._done or now < self._next:
            return False
        for each in self._others():
            earlier_runs.remember(each)
        self.ghosts = earlier_runs.beside(self._run)
        self._done, self._next = done, now + SECONDS
        return True

    @property
    def busy(self) -> bool:
        """Whether there is, or will be, something to look at."""
        return self._steps() != self._done or any(each.state == "running" for each in self._others())

    def _steps(self) -> int:
        return sum(len(each.history) for each in self._others())

    def _others(self) -> list[Run]:
        return [each for each in family(self._run) if each is not self._run]
