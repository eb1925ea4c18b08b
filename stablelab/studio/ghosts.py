"""Finished runs of this kernel, kept as faint curves to compare the next one with."""

from __future__ import annotations

import itertools
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..training.record import number
from .decimate import keep
from .feed import Feed

if TYPE_CHECKING:
    from ..training.run import Run

MOST = 8  # more curves than this cannot be told apart
POINTS = 600


@dataclass(frozen=True, eq=False)
class Ghost:
    """The curves of a run that has ended. ``rows`` and ``evaluations`` are as in ``Feed``, thinned out."""

    id: int
    label: str
    task: str
    run: weakref.ref[Run]
    version: int
    steps: int
    rows: np.ndarray
    evaluations: np.ndarray

    def of(self, run: Run) -> bool:
        """Whether these are the curves that the run itself shows now."""
        return self.run() is run and self.version == run.version


_lock = threading.Lock()
_ghosts: list[Ghost] = []
_ids = itertools.count(1)


def remember(run: Run) -> None:
    """Keep the curves of a run that has ended (nothing where it did fewer than two steps); the oldest of nine goes."""
    feed = Feed(run.history, run.total_steps)
    feed.update()
    with _lock:
        known = next((ghost for ghost in _ghosts if ghost.of(run)), None)
        if len(feed) < 2 or (known is not None and known.steps == len(feed)):
            return
        if known is not None:
            _ghosts.remove(known)
        _ghosts.append(_ghost(run, feed, known.id if known else next(_ids)))
        del _ghosts[:-MOST]


def beside(run: Run) -> tuple[Ghost, ...]:
    """The ghosts to show beside a run: all of the same task but its own present curve, oldest first."""
    with _lock:
        return tuple(ghost for ghost in _ghosts if ghost.task == run.task.fingerprint and not ghost.of(run))


def forget() -> None:
    """Forget every ghost of this kernel."""
    with _lock:
        _ghosts.clear()


def _ghost(run: Run, feed: Feed, id_: int) -> Ghost:
    # The optimizer and the learning rate it started from are what a learner tells runs apart by.
    label = f"{id_}: {run.name} · {run.history[0].optimizer} · learning rate {number(run.settings.learning_rate)}"
    rows = feed.rows[keep(feed.rows, POINTS)]
    return Ghost(
        id_, label, run.task.fingerprint, weakref.ref(run), run.version, len(feed), rows, feed.evaluations.copy()
    )
