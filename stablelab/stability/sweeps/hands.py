"""Handing out runs: to this process, to processes beside it, or to a Dask cluster, as joblib's settings say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .execution import Recipe, run_one
from .grid import Point
from .trial import Outcome


class WorkerLostError(RuntimeError):
    """A process that was at work on a run is gone: out of memory, or killed."""


@dataclass(frozen=True)
class Answer:
    """What a worker sends back.

    Arguments:
        key: of the run.
        found: what it came to, or in one line why it could not be run.
    """

    key: str
    found: Outcome | str


def hand_out(
    recipe: Recipe, runs: Iterable[tuple[str, Point]], n_jobs: int | None, alone: bool = False
) -> Iterator[Answer]:
    """Run them, and yield each as it ends; the next is taken from ``runs`` only when a worker is free for it.

    Arguments:
        recipe: what is trained on what.
        runs: key and point of each; may be drawn from a thread of joblib's.
        n_jobs: as of ``joblib.Parallel``.
        alone: one run at a time, though by the same workers.

    Raises:
        WorkerLostError: a worker is gone, and with it what it was at. (A Dask cluster gives it to another itself.)
    """
    from joblib import Parallel, delayed

    shared = Shared(recipe)
    parallel = Parallel(
        n_jobs=n_jobs, return_as="generator_unordered", batch_size=1, pre_dispatch=1 if alone else "n_jobs"
    )
    try:
        yield from parallel(delayed(work)(shared, key, point) for key, point in runs)
    except Exception as error:
        if type(error).__name__ in ("TerminatedWorkerError", "BrokenProcessPool", "KilledWorker"):
            raise WorkerLostError(str(error).splitlines()[0]) from None
        raise


def work(shared: Shared, key: str, point: Point) -> Answer:
    """Do one run; an error in it is an answer, not the end of the sweep."""
    try:
        return Answer(key, run_one(shared.recipe, point))
    except Exception as error:
        reason = str(error).strip().splitlines() or ["no reason given"]
        return Answer(key, f"{type(error).__name__}: {reason[0]}")


class Shared:
    """A recipe that is pickled once and opened once by each worker, though it goes out with every run."""

    def __init__(self, recipe: Recipe, pickled: bytes | None = None) -> None:
        self.recipe, self._pickled = recipe, pickled

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        import cloudpickle

        if self._pickled is None:
            self._pickled = cloudpickle.dumps(self.recipe)  # what was defined in a notebook included
        return _opened, (self._pickled,)


@lru_cache(maxsize=1)
def _opened(pickled: bytes) -> Shared:
    import cloudpickle

    return Shared(cloudpickle.loads(pickled), pickled)
