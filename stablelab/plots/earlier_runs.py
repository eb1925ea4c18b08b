"""Earlier runs of this kernel, remembered to be drawn faintly beside the next one; beside a branch, its parent."""

from __future__ import annotations

import itertools
import threading
import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .._formatting import format_number
from ..training.history import settings_at
from .curve_data import CurveData, decimate

if TYPE_CHECKING:
    from ..training.run import Run

MOST = 8  # more curves than this cannot be told apart
POINTS = 600


@dataclass(frozen=True, eq=False)
class EarlierRun:
    """The curves of a run that has ended or is not looked at.

    Attributes:
        id: its number in this kernel, from 1.
        label: number, name, optimizer and learning rate.
        task: fingerprint of what it trained on: those that have the same one are drawn beside each other.
        run: where they come from, as long as it exists.
        version: of the run, which grows when it is reset.
        steps: how many it had done.
        rows, evaluations: as of ``CurveData``, thinned out.
        parent: whether the run it is drawn beside is a branch of it.
    """

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
_remembered: list[EarlierRun] = []
_ids = itertools.count(1)


def remember(run: Run) -> None:
    """Keep the curves of a run as they are by now; the oldest of nine goes.

    Nothing is kept where it did fewer than two steps, or where all of them are its parent's.
    """
    with _lock:
        known = next((earlier for earlier in _remembered if earlier.of(run)), None)
    if len(run.history) <= max(1, branched_at(run)) or (known is not None and known.steps == len(run.history)):
        return
    data = CurveData(run.history, run.total_steps)
    data.update()
    with _lock:
        known = next((earlier for earlier in _remembered if earlier.of(run)), None)
        if known is not None:
            _remembered.remove(known)
        _remembered.append(_earlier(run, data, known.id if known else next(_ids)))
        del _remembered[:-MOST]


def beside(run: Run) -> tuple[EarlierRun, ...]:
    """Those to draw beside a run: all of the same task but its own present curve.

    Its parent is in front of them; the others are oldest first.
    """
    parent = parent_of(run)
    if parent is not None:
        remember(parent)
    with _lock:
        found = [each for each in _remembered if each.task == run.fingerprint and not each.of(run)]
    parents = [each for each in found if parent is not None and each.of(parent)]
    first = (replace(each, label=f"parent: {each.label.partition(': ')[2]}", parent=True) for each in parents)
    return (*first, *(each for each in found if each not in parents))


def branched_at(run: Run) -> int:
    """The step after which a run left its parent; 0 where it has none, as one that was reopened has none."""
    return 0 if run.parent is None else run.born


def parent_of(run: Run) -> Run | None:
    """The run that this one is a branch of; None where there is none, or where it has been reset since."""
    parent = run.parent
    if parent is None or len(parent.history) < run.born:
        return None
    return parent if run.born == 0 or parent.history[run.born - 1] is run.history[run.born - 1] else None


def forget() -> None:
    """Forget all of this kernel."""
    with _lock:
        _remembered.clear()


def _earlier(run: Run, data: CurveData, id_: int) -> EarlierRun:
    # The optimizer and the learning rate it went its own way with are what a learner tells runs apart by.
    settings = settings_at(run.settings, run.history.interventions(), branched_at(run) + 1)
    rate = getattr(settings, "learning_rate", None)  # a knob of that name, where the loop is not the workbook's
    at = f" · learning rate {format_number(rate)}" if isinstance(rate, float) else ""
    label = f"{id_}: {run.name} · {settings.label}{at}"
    rows, evaluations = data.rows[decimate(data.rows, POINTS)], data.evaluations.copy()
    return EarlierRun(id_, label, run.fingerprint, weakref.ref(run), run.version, len(data), rows, evaluations)
