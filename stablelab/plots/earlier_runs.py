"""Earlier runs of this kernel, remembered to be drawn faintly beside the next one; beside a branch, its parent."""

from __future__ import annotations

import functools
import itertools
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .._formatting import format_number
from ..training.history import settings_at
from .curve_data import CurveData

if TYPE_CHECKING:
    from ..training.background import Driver

MOST = 8  # more curves than this cannot be told apart; the runs of a band are one
MOST_RUNS = 32  # in all
POINTS = 600
COMMON = 300  # of these, the points at the same steps for all runs of one length
SEEDS = 3  # from so many on, runs that differ only in the seed are drawn as one band


@dataclass(frozen=True, eq=False)
class EarlierRun:
    """The curves of a run that has ended or is not looked at.

    Attributes:
        id: its number among the earlier runs of this kernel, from 1.
        short: what stands at the end of its curve: "parent", of another run of the family such as "run 2", else "#7".
        what: name, optimizer and learning rate.
        task: fingerprint of what it trained on: those that have the same one are drawn beside each other.
        run: where they come from, as long as it exists.
        version: of the run, which grows when it is reset.
        steps: how many it had done.
        rows, evaluations: as of ``CurveData``, thinned out.
        columns: names of the columns of ``rows``.
        look: which colour and dashes it is drawn with, from 0 to MOST - 1; it keeps them.
        seed: of the run; None where it has none.
        recipe: all that its numbers come from except the seed; empty where that is not known.
        parent: whether the run it is drawn beside is a branch of it.
    """

    id: int
    short: str
    what: str
    task: str
    run: weakref.ref[Driver]
    version: int
    steps: int
    rows: np.ndarray
    evaluations: np.ndarray
    columns: tuple[str, ...]
    look: int
    seed: int | None = None
    recipe: str = ""
    parent: bool = False

    def of(self, run: Driver) -> bool:
        """Whether these are the curves that the run itself shows now."""
        return self.run() is run and self.version == run.version

    @property
    def label(self) -> str:
        """What the list of earlier runs says."""
        return f"{self.short}: {self.what}"

    def column(self, name: str) -> np.ndarray:
        """The numbers of a column of ``rows``, NaN where the run has no such column."""
        if name in self.columns:
            return self.rows[:, self.columns.index(name)]
        return np.full(len(self.rows), np.nan, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Band:
    """Runs that differ only in the seed, drawn as their mean and a band of one standard deviation around it.

    Attributes:
        runs: of each seed one, oldest first; at least ``SEEDS``.
    """

    runs: tuple[EarlierRun, ...]

    @property
    def short(self) -> str:
        """What stands at the end of its mean."""
        return f"{len(self.runs)} seeds"

    @property
    def label(self) -> str:
        """Number of seeds, name, optimizer and learning rate."""
        return f"mean ± sd of {len(self.runs)} seeds: {self.runs[0].what}"

    @property
    def look(self) -> int:
        """As of its first run."""
        return self.runs[0].look

    def column(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(steps, mean, standard deviation between the seeds) of a column, at the steps that all its runs have."""
        steps = functools.reduce(np.intersect1d, (each.column("step") for each in self.runs))
        values = np.stack([each.column(name)[np.searchsorted(each.column("step"), steps)] for each in self.runs])
        return steps, values.mean(axis=0, dtype=np.float64), values.std(axis=0, ddof=1, dtype=np.float64)


def bands(runs: Sequence[EarlierRun]) -> tuple[Band, ...]:
    """The bands among these: runs of one recipe with at least ``SEEDS`` different seeds. A parent stands for itself."""
    found: dict[str, dict[int, EarlierRun]] = {}
    for each in runs:
        if each.recipe and each.seed is not None and not each.parent:
            found.setdefault(each.recipe, {})[each.seed] = each
    return tuple(Band(tuple(seeds.values())) for seeds in found.values() if len(seeds) >= SEEDS)


def single(runs: Sequence[EarlierRun]) -> tuple[EarlierRun, ...]:
    """Those of the runs that have a curve of their own, because they are in no band."""
    banded = {each.recipe for band in bands(runs) for each in band.runs}
    return tuple(each for each in runs if each.parent or each.recipe not in banded)


_lock = threading.Lock()
_remembered: list[EarlierRun] = []
_ids = itertools.count(1)


def remember(run: Driver) -> None:
    """Keep the curves of a run as they are by now; the oldest goes where there would be more than ``MOST`` curves.

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
        _remembered.append(_earlier(run, data, known))
        while len(bands(_remembered)) + len(single(_remembered)) > MOST or len(_remembered) > MOST_RUNS:
            del _remembered[0]


def beside(run: Driver) -> tuple[EarlierRun, ...]:
    """Those to draw beside a run: all of the same task but its own present curve.

    Its parent is in front of them; the others are oldest first.
    """
    parent = parent_of(run)
    if parent is not None:
        remember(parent)
    with _lock:
        found = [each for each in _remembered if each.task == run.fingerprint and not each.of(run)]
    parents = [each for each in found if parent is not None and each.of(parent)]
    first = (replace(each, short="parent", parent=True) for each in parents)
    return (*first, *(_named(each, run) for each in found if each not in parents))


def branched_at(run: Driver) -> int:
    """The step after which a run left its parent; 0 where it has none, as one that was reopened has none."""
    return 0 if run.parent is None else run.born


def parent_of(run: Driver) -> Driver | None:
    """The run that this one is a branch of; None where there is none, or where it has been reset since."""
    parent = run.parent
    if parent is None or len(parent.history) < run.born:
        return None
    return parent if run.born == 0 or parent.history[run.born - 1] is run.history[run.born - 1] else None


def forget() -> None:
    """Forget all of this kernel."""
    with _lock:
        _remembered.clear()


def _earlier(run: Driver, data: CurveData, known: EarlierRun | None) -> EarlierRun:
    """The curves of a run; with the number and the look that it has already, if it is known."""
    id_, recipe = known.id if known else next(_ids), _recipe(run)
    # The optimizer and the learning rate it went its own way with are what a learner tells runs apart by.
    settings = settings_at(run.settings, run.history.interventions(), branched_at(run) + 1)
    rate = getattr(settings, "learning_rate", None)  # a knob of that name, where the loop is not the workbook's
    at = f" · learning rate {format_number(rate)}" if isinstance(rate, float) else ""
    what = f"{run.name} · {settings.label}{at}"
    common = np.linspace(0, len(data) - 1, COMMON).astype(np.int64)
    chosen = np.union1d(data.thinned_out(POINTS), common)
    return EarlierRun(
        id=id_,
        short=f"#{id_}",
        what=what,
        task=run.fingerprint,
        run=weakref.ref(run),
        version=run.version,
        steps=len(data),
        rows=data.rows[chosen],
        evaluations=data.evaluations.copy(),
        columns=tuple(column.name for column in data.columns),
        look=known.look if known else _look(recipe),
        seed=getattr(run, "seed", None),
        recipe=recipe,
    )


def _recipe(run: Driver) -> str:
    if not hasattr(run, "log"):  # a loop that is not the workbook's: what else its numbers come from is not known
        return ""
    return f"{run.source} {replace(run.log(), name='', seed=0)!r}"


def _look(recipe: str) -> int:
    """That of the runs of the same recipe; else the one that fewest of those remembered have."""
    taken = {each.recipe: each.look for each in _remembered}
    looks = [*taken.values()]
    return taken.get(recipe, min(range(MOST), key=lambda look: (looks.count(look), look)))


def _named(earlier: EarlierRun, run: Driver) -> EarlierRun:
    """Another run of the family is called by its number in there, as where one of them is chosen to be shown.

    What one had done before it was reset is an earlier run like any other.
    """
    other = earlier.run()
    if other is None or not earlier.of(other) or first_of_family(other) is not first_of_family(run):
        return earlier
    short = f"run {getattr(other, 'number', earlier.id)}"
    return replace(earlier, short=short, what=earlier.what.removeprefix(f"{short} · "))


def first_of_family(run: Driver) -> Driver:
    """The run that all of a family come from."""
    while run.parent is not None:
        run = run.parent
    return run
