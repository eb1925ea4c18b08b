"""A sweep: trials that are run and kept, whatever happens meanwhile."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..._files import digest_of
from ..._validation import whole
from .execution import Trainable, WorkerLostError, WorkerResult, run_trials
from .ledger import Ledger
from .results import Results
from .trial import Trial

if TYPE_CHECKING:
    import pandas

BATCH = 256  # trials in one computation: what is lost if it is interrupted
MOST_TRIES = 3  # a run that takes its worker down with it that often is not tried again
ARITHMETIC = ("numerics", "code", "torch")  # what a description tells of how numbers are computed; "code" did so once
PROVENANCE = ("stablelab", "computed_by")  # what a description tells besides what decides the numbers of a run


class Sweep:
    """Trials to be run, and what is known of them so far.

    Args:
        trainable: what is trained on what.
        trials: one for each run.
        file: where results are kept, run by run; a sweep of the same data, model, settings, seeds and arithmetic finds
            there what is already done. None keeps them in memory.

    Attributes:
        watchers: called with the sweep whenever a run has ended, by the thread that runs it.

    Raises:
        ValueError: in one line, where a trial cannot be run, or the file is no sweep of this version.
    """

    def __init__(
        self, trainable: Trainable, trials: Sequence[Trial], file: str | os.PathLike[str] | None = None
    ) -> None:
        for trial in _unlike(trials):
            trainable.check(trial)
        self.trainable, self.trials = trainable, tuple(trials)
        self.description = trainable.describe()
        self.name = name_of(self.description)
        self.keys = tuple(key_of(self.name, trial) for trial in trials)
        self.watchers: list[Callable[[Sweep], object]] = []
        self._running = threading.Lock()
        self._trouble: Exception | None = None
        self.ledger = Ledger(file)
        damaged = self.ledger.add(self.keys, self.trials, self.description, self.name)
        if damaged:
            which = ", ".join(str(n) for n, key in enumerate(self.keys, 1) if key in damaged)
            print(
                f"of the {self.total} runs in {self.ledger.file} these are damaged and run anew: {which}",
                file=sys.stderr,
            )
        self._say_what_is_run_anew()

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
        return Results.of(self.ledger, self.keys, self.trials, self.description)

    def frame(self) -> pandas.DataFrame:
        """A row for each run that is done; see ``Results.frame``."""
        return self.results().frame()

    def __repr__(self) -> str:
        return f"sweep of {self.description.get('task', 'a task')}: {self.done} of {self.total} runs done"

    # -- running it ------------------------------------------------------------------------------------------------

    def run(self, n_jobs: int | None = None, bar: bool = True, one_by_one: bool = False) -> Results:
        """Do the runs that are not done, and keep each as it ends. Interrupted, it goes on from there when run again.

        Args:
            n_jobs: processes side by side, as of ``joblib.Parallel``: None for one, -1 for one a core, or for all
                workers of a cluster inside ``with joblib.parallel_config("dask")``.
            bar: show progress and the time left.
            one_by_one: do not train heads on frozen features in one computation, though that gives the same results.

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
                if not one_by_one and self.trainable.can_batch(self.trials):
                    self._run_in_batches(advance)
                else:
                    self._run_one_by_one(n_jobs, advance)
            finally:
                self.ledger.release(self.keys)

    def _claimed(self) -> Iterator[tuple[str, Trial]]:
        """The runs that are left, each claimed only when a worker is ready for it."""
        for key, trial in zip(self.keys, self.trials, strict=True):
            try:
                claimed = self.ledger.claim(key, MOST_TRIES)
            except Exception as error:  # in a thread of joblib's it would be lost, and the sweep would wait for ever
                self._trouble = error
                return
            if claimed:
                yield key, trial

    def _ended(self, result: WorkerResult, advance: Callable[[], object]) -> None:
        """Keep what came back, and tell whoever watches."""
        if isinstance(result.found, str):
            self.ledger.fail(result.key, result.found)
        else:
            self.ledger.finish(result.key, result.found)
        advance()
        for watcher in tuple(self.watchers):
            watcher(self)

    def _run_one_by_one(self, n_jobs: int | None, advance: Callable[[], object]) -> None:
        """Run by run; where a worker dies, what it was at is tried again by a new one."""
        suspects = 0  # what was under way when a worker died is tried one by one, so that only the culprit fails
        while True:
            try:
                if suspects:
                    some = islice(self._claimed(), suspects)
                    for result in run_trials(self.trainable, some, n_jobs, one_at_a_time=True):
                        self._ended(result, advance)
                for result in run_trials(self.trainable, self._claimed(), n_jobs):
                    self._ended(result, advance)
                return
            except WorkerLostError as death:
                print(f"a worker died ({death}); what it was at is tried again", file=sys.stderr)
                suspects = self.ledger.release(self.keys, died=True)

    def _run_in_batches(self, advance: Callable[[], object]) -> None:
        """Many in one computation, and then the next."""
        claimed = self._claimed()
        while some := list(islice(claimed, BATCH)):
            outcomes = self.trainable.run_batch([trial for _, trial in some])
            for (key, _), outcome in zip(some, outcomes, strict=True):
                self._ended(WorkerResult(key, outcome), advance)

    def _say_what_is_run_anew(self) -> None:
        """Runs of the same sweep that were made by other arithmetic: they stay in the file, but do not count here."""
        for name, other in self.ledger.descriptions().items():
            differs = {each for each in {*other, *self.description} if other.get(each) != self.description.get(each)}
            if name != self.name and differs <= {*ARITHMETIC, *PROVENANCE}:
                done = self.ledger.states(key for key, _ in self.ledger.runs(name))["done"]
                print(
                    f"{done} runs in {self.ledger.file} were made by {_arithmetic(other)}; here it is "
                    f"{_arithmetic(self.description)}, so they are run anew beside them",
                    file=sys.stderr,
                )

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


def name_of(description: dict[str, Any]) -> str:
    """A digest of what decides the numbers of a sweep's runs besides their trials."""
    return _digest({name: value for name, value in description.items() if name not in PROVENANCE})


def key_of(name: str, trial: Trial) -> str:
    """A digest of all that decides the numbers of a run, from the name of its sweep and its trial."""
    return _digest(name, trial.to_dict())


def _digest(*parts: Any) -> str:
    return digest_of(parts)[:32]


def _unlike(trials: Sequence[Trial]) -> list[Trial]:
    """One trial for each of the settings and subsets: seeds decide nothing about whether a run can be run."""
    return list({(trial.settings, trial.subset): trial for trial in trials}.values())


def _arithmetic(description: dict[str, Any]) -> str:
    return ", ".join(f"{name} {description[name]}" for name in ARITHMETIC if name in description)
