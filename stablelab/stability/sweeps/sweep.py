"""A sweep: every combination of settings, seeds and training subsets, run and kept."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..._validation import whole
from .execution import Recipe
from .grid import Point
from .hands import Answer, WorkerLostError, hand_out
from .ledger import Ledger
from .results import Results

if TYPE_CHECKING:
    import pandas

TOGETHER = 256  # runs in one computation: what is lost if it is interrupted
MOST_TRIES = 3  # a run that takes its worker down with it that often is not tried again


class Sweep:
    """Runs to be done, and what is known of them so far.

    Arguments:
        recipe: what is trained on what.
        points: the runs.
        file: where results are kept, run by run; a sweep of the same recipe, settings, seeds and code finds there what
            is already done. None keeps them in memory.

    Attributes:
        watchers: called with the sweep whenever a run has ended, by the thread that runs it.

    Raises:
        ValueError: in one line, where a point cannot be run, or the file is no sweep of this version.
    """

    def __init__(self, recipe: Recipe, points: Sequence[Point], file: str | os.PathLike[str] | None = None) -> None:
        for point in _unlike(points):
            recipe.check(point)
        self.recipe, self.points = recipe, tuple(points)
        self.description = recipe.describe()
        self.name = _digest(self.description)
        self.keys = tuple(_digest(self.name, point.to_dict()) for point in points)
        self.watchers: list[Callable[[Sweep], object]] = []
        self._running = threading.Lock()
        self._trouble: Exception | None = None
        self.ledger = Ledger(file)
        self.ledger.add(self.keys, self.points, self.description, self.name)

    # -- how it stands ---------------------------------------------------------------------------------------------

    @property
    def total(self) -> int:
        """How many runs there are."""
        return len(self.keys)

    @property
    def done(self) -> int:
        """How many of them are done."""
        return self.ledger.states(self.keys)["done"]

    @property
    def failed(self) -> int:
        """How many of them could not be run (which is not the same as a run that ended badly)."""
        return self.ledger.states(self.keys)["failed"]

    @property
    def errors(self) -> list[str]:
        """Why those could not be run, in one line each."""
        return self.ledger.errors(self.keys)

    def results(self) -> Results:
        """The runs that are done."""
        return Results.of(self.ledger, self.keys, self.points, self.description)

    def frame(self) -> pandas.DataFrame:
        """A row for each run that is done; see ``Results.frame``."""
        return self.results().frame()

    def __repr__(self) -> str:
        return f"sweep of {self.description.get('task', 'a task')}: {self.done} of {self.total} runs done"

    # -- running it ------------------------------------------------------------------------------------------------

    def run(self, n_jobs: int | None = None, bar: bool = True, one_by_one: bool = False) -> Results:
        """Do the runs that are not done, and keep each as it ends. Interrupted, it goes on from there when run again.

        Arguments:
            n_jobs: processes side by side, as of ``joblib.Parallel``: None for one, -1 for one a core, or for all
                workers of a cluster inside ``with joblib.parallel_config("dask")``.
            bar: show progress and the time left.
            one_by_one: do not train heads on frozen features together, though that gives the same results.

        Returns:
            What is done at the end. Runs that could not be run are told in one line, and tried again by the next call.

        Raises:
            ValueError: in one line, where ``n_jobs`` is impossible, or the sweep is being run already.
        """
        if n_jobs is not None and n_jobs != -1:
            whole("n_jobs", n_jobs, at_least=1, of=" of processes (or -1 for one a core)")
        if not self._running.acquire(blocking=False):
            raise ValueError("this sweep is being run already, by another cell or thread; wait until it ends")
        self._trouble = None
        try:
            self._run(n_jobs, bar, one_by_one)
        finally:
            self._running.release()
        if self._trouble is not None:
            raise self._trouble
        self._say_what_is_missing()
        return self.results()

    def _run(self, n_jobs: int | None, bar: bool, one_by_one: bool) -> None:
        self.ledger.reopen(self.keys)
        with _progress(self, bar) as advance:
            try:
                if not one_by_one and self.recipe.runs_together(self.points):
                    self._run_together(advance)
                else:
                    self._run_apart(n_jobs, advance)
            finally:
                self.ledger.release(self.keys)

    def _claimed(self) -> Iterator[tuple[str, Point]]:
        """The runs that are left, each claimed only when a worker is ready for it."""
        for key, point in zip(self.keys, self.points, strict=True):
            try:
                claimed = self.ledger.claim(key, MOST_TRIES)
            except Exception as error:  # in a thread of joblib's it would be lost, and the sweep would wait for ever
                self._trouble = error
                return
            if claimed:
                yield key, point

    def _ended(self, answer: Answer, advance: Callable[[], object]) -> None:
        """Keep what came back, and tell whoever watches."""
        if isinstance(answer.found, str):
            self.ledger.fail(answer.key, answer.found)
        else:
            self.ledger.finish(answer.key, answer.found)
        advance()
        for watcher in tuple(self.watchers):
            watcher(self)

    def _run_apart(self, n_jobs: int | None, advance: Callable[[], object]) -> None:
        """Run by run; where a worker dies, what it was at is tried again by a new one."""
        suspects = 0  # what was under way when a worker died is tried one by one, so that only the culprit fails
        while True:
            try:
                if suspects:
                    for answer in hand_out(self.recipe, islice(self._claimed(), suspects), n_jobs, alone=True):
                        self._ended(answer, advance)
                for answer in hand_out(self.recipe, self._claimed(), n_jobs):
                    self._ended(answer, advance)
                return
            except WorkerLostError as death:
                print(f"a worker died ({death}); what it was at is tried again", file=sys.stderr)
                suspects = self.ledger.release(self.keys, died=True)

    def _run_together(self, advance: Callable[[], object]) -> None:
        """Many in one computation, and then the next."""
        claimed = self._claimed()
        while some := list(islice(claimed, TOGETHER)):
            outcomes = self.recipe.run_together([point for _, point in some])
            for (key, _), outcome in zip(some, outcomes, strict=True):
                self._ended(Answer(key, outcome), advance)

    def _say_what_is_missing(self) -> None:
        states = self.ledger.states(self.keys)
        if states["failed"]:
            print(f"{states['failed']} of {self.total} runs could not be run: {self.errors[0]}", file=sys.stderr)
        if states["claimed"]:
            print(f"{states['claimed']} of {self.total} runs are being run by another process", file=sys.stderr)


@contextmanager
def _progress(sweep: Sweep, shown: bool) -> Iterator[Callable[[], object]]:
    """A line with the share that is done and the time left; yields what moves it on by one run."""
    from tqdm import tqdm

    with tqdm(total=sweep.total, initial=sweep.done, unit="run", disable=not shown, file=sys.stdout) as bar:
        yield bar.update


def _unlike(points: Sequence[Point]) -> list[Point]:
    """One point for each of the settings and subsets: seeds decide nothing about whether a run can be run."""
    return list({(point.settings, point.subset): point for point in points}.values())


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
