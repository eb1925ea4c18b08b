"""Earlier runs of this kernel, kept as faint curves to compare the next one with; of a branch, its parent."""

from __future__ import annotations

import itertools
import threading
import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .._formatting import format_number
from ..training.history import settings_at
from .curve_data import Feed
from .decimate import keep

if TYPE_CHECKING:
    from ..training.run import Run

MOST = 8  # more curves than this cannot be told apart
POINTS = 600


@dataclass(frozen=True, eq=False)
class Ghost:
    """The curves of a run that has ended or is not looked at. ``rows`` and ``evaluations`` are as in ``Feed``, thinned
    out. ``parent``: the run it is shown beside is a branch of it."""

    id: int
    label: str
    task: str
    run: weakref.ref[Run]
    version: int
    steps: int
    rows: np.ndarray
    evaluations: np.ndarray
    parent: bool = False

    def of(self, run: Run) -> bool:
        """Whether these are the curves that the run itself shows now."""
        return self.run() is run and self.version == run.version


_lock = threading.Lock()
_ghosts: list[Ghost] = []
_ids = itertools.count(1)


def remember(run: Run) -> None:
    """Keep the curves of a run as they are by now (nothing where it did fewer than two steps, or where all of them are
    its parent's); the oldest of nine goes."""
    with _lock:
        known = next((ghost for ghost in _ghosts if ghost.of(run)), None)
    if len(run.history) <= max(1, parted(run)) or (known is not None and known.steps == len(run.history)):
        return
    feed = Feed(run.history, run.total_steps)
    feed.update()
    with _lock:
        known = next((ghost for ghost in _ghosts if ghost.of(run)), None)
        if known is not None:
            _ghosts.remove(known)
        _ghosts.append(_ghost(run, feed, known.id if known else next(_ids)))
        del _ghosts[:-MOST]


def beside(run: Run) -> tuple[Ghost, ...]:
    """The ghosts to show beside a run: all of the same task but its own present curve, its parent in front of them,
    the others oldest first."""
    parent = run.parent if shares(run) else None
    if parent is not None:
        remember(parent)
    with _lock:
        found = [ghost for ghost in _ghosts if ghost.task == run.task.fingerprint and not ghost.of(run)]
    ours = [ghost for ghost in found if parent is not None and ghost.of(parent)]
    first = (replace(ghost, label=f"parent: {ghost.label.partition(': ')[2]}", parent=True) for ghost in ours)
    return (*first, *(ghost for ghost in found if ghost not in ours))


def parted(run: Run) -> int:
    """The step after which a run parted from its parent; 0 where it has none (one that was reopened has a past too)."""
    return 0 if run.parent is None else run.born


def shares(run: Run) -> bool:
    """Whether the run is a branch, and its parent has not been reset since."""
    if run.parent is None or len(run.parent.history) < run.born:
        return False
    return run.born == 0 or run.parent.history[run.born - 1] is run.history[run.born - 1]


def forget() -> None:
    """Forget every ghost of this kernel."""
    with _lock:
        _ghosts.clear()


def _ghost(run: Run, feed: Feed, id_: int) -> Ghost:
    # The optimizer and the learning rate it went its own way with are what a learner tells runs apart by.
    settings = settings_at(run.settings, run.history.interventions(), parted(run) + 1)
    label = f"{id_}: {run.name} · {settings.label} · learning rate {format_number(settings.learning_rate)}"
    rows = feed.rows[keep(feed.rows, POINTS)]
    return Ghost(
        id_, label, run.task.fingerprint, weakref.ref(run), run.version, len(feed), rows, feed.evaluations.copy()
    )
