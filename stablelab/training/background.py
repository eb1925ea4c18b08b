"""Background threads: the one class that starts them, and what fills a history with steps in one."""

from __future__ import annotations

import asyncio
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Self

from .control import Control
from .history import History
from .openmp import let_workers_go
from .records import FINAL, Step


class BackgroundThread:
    """A daemon thread that calls ``target`` once. What it raises is kept, and raised again by ``wait``.

    A daemon, because any other thread would keep a kernel from shutting down.

    Args:
        target: what to do.
        name: of the thread; all of the workbook's begin with "stablelab".

    Attributes:
        error: what ``target`` raised, None if nothing.
        result: what it returned.
    """

    def __init__(self, target: Callable[[], object], name: str) -> None:
        self.error: BaseException | None = None
        self.result: Any = None
        self._target = target
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> Self:
        """Begin; once."""
        let_workers_go()
        self._thread.start()
        return self

    @property
    def alive(self) -> bool:
        """Whether it is at work."""
        return self._thread.is_alive()

    @property
    def is_current(self) -> bool:
        """Whether the caller is this very thread."""
        return self._thread is threading.current_thread()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread is gone; returns at once where it never began, or is the caller itself."""
        if self._thread.ident is not None and not self.is_current:
            self._thread.join(timeout)

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until it is done, and raise what it raised; TimeoutError where that takes longer than ``timeout`` s."""
        let_workers_go()
        if not self._over.wait(timeout):
            raise TimeoutError(f"{self._thread.name} is still at work after {timeout:g} s")
        self.join()
        if self.error is not None:
            raise self.error
        return self

    async def finished(self, timeout: float | None = None) -> Self:
        """``wait`` for notebooks: sliders and buttons go on working while the cell waits."""
        let_workers_go()
        return await asyncio.to_thread(self.wait, timeout)

    def _work(self) -> None:
        try:
            self.result = self._target()
        except BaseException as error:  # a thread has nobody to raise to
            self.error = error
        finally:
            self._over.set()


class BorrowedThread:
    """Stands for the thread of somebody who trains in it: begun when it is made, over when ``end`` is called."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.current_thread()

    @property
    def alive(self) -> bool:
        """Whether it is still at it."""
        return not self._over.is_set()

    def join(self, timeout: float | None = None) -> None:
        """Wait until it is over; returns at once where the caller is that thread."""
        if threading.current_thread() is not self._thread:
            self._over.wait(timeout)

    def end(self) -> None:
        """It is over."""
        self._over.set()


_drivers: weakref.WeakSet[Driver] = weakref.WeakSet()


class Driver(ABC):
    """What drives a run; a subclass says what a step is.

    Attributes:
        name: of the run, and of its thread.
        total_steps: how long it is; None where it goes on until it is stopped, or that is not known.
        cannot: of each button that does not work for this kind of run ("reset", "branch" …) the reason, in one line.
        source: what trains, such as the name of the model.
        fingerprint: runs that have the same one are drawn beside each other.
        trouble: one line on something that went wrong and did not end the run; empty where nothing did.
        parent, born: of a branch, the run it comes from and the number of steps it shares with it; None and 0 else.
        branches: those made of this run.
        subject: what only one run at a time may train: a model, or a function; None where that does not matter.
        version: how often it was put back to its start.
        history: what was drained, oldest first.
        control: what the generator is handed: settings, pause, stop.
        error: what the thread raised, None if nothing.
        starters: called when training begins, such as what draws it.
        watchers: what ``wait`` also waits for, such as a last picture being drawn.
    """

    total_steps: int | None
    settings: Any  # those of the first step
    cannot: Mapping[str, str] = MappingProxyType({})
    parent: Any = None
    subject: Any = None

    def __init__(self, name: str) -> None:
        self.name, self.version = name, 0
        self.branches: list[Any] = []
        self.starters: list[Callable[[], object]] = []
        self.watchers: list[Callable[[], object]] = []

    def _get_ready(self, history: History, control: Control[Any]) -> None:
        """To begin, with what was drained already and what steers it from now on."""
        self.history, self.control = history, control
        self.error: BaseException | None = None
        self._thread: BackgroundThread | BorrowedThread | None = None
        self._ended: str | None = None
        self._diverged: Step | None = None
        self._settled = threading.Event()

    # -- what a subclass says --------------------------------------------------------------------------------------

    def _train(self) -> Iterator[Step]:
        """The steps, as they are done. A loop that hands its steps over by itself has none, and its own ``_work``."""
        return iter(())

    @property
    @abstractmethod
    def source(self) -> str:
        """What trains."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """The same for runs that are drawn beside each other."""

    @property
    @abstractmethod
    def message(self) -> str:
        """One line on how it stands."""

    @property
    def trouble(self) -> str:
        """One line on something that went wrong and did not end the run."""
        return ""

    @property
    def born(self) -> int:
        """How many steps of the history are those of the parent."""
        return 0

    def reset(self) -> None:
        """Put it back to its start; a ValueError says why where this kind of run cannot."""
        raise self._unable("reset", "reset")

    def branch(self, step: int, **changes: Any) -> Driver:
        """Another run that begins with this one's first steps; a ValueError says why where this kind of run cannot."""
        raise self._unable("branch", "branch")

    def untouched(self) -> Driver:
        """A branch without the last change by hand; a ValueError says why where this kind of run cannot."""
        raise self._unable("branch", "untouched")

    def _unable(self, what: str, button: str) -> ValueError:
        return ValueError(f"cannot {what}: {self.cannot.get(button, 'this kind of run has no way back')}")

    @abstractmethod
    def _complete(self) -> bool:
        """Whether the end of the steps is the end of the run."""

    @abstractmethod
    def _after(self, step: Step) -> bool:
        """Called after each step; whether to stand still, because it diverged."""

    @abstractmethod
    def _keep(self, end: str | None = None) -> None:
        """Called when a step is done with, and once with how it ended."""

    # -- what the learner does -------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Begin in a daemon thread, or go on if paused. Raises ValueError if the run is over."""
        if self._thread is None:
            self._launch()
        else:
            self.resume()
        return self

    def pause(self) -> None:
        """Let the step under way end, then wait."""
        self._need_unfinished("pause")
        self.control.pause()

    def resume(self) -> None:
        """Go on after a pause, after single steps or after a divergence (do change something first)."""
        self._need_unfinished("resume")
        self._need_free()
        self._forgive()
        self.control.resume()

    def step(self, n: int = 1) -> None:
        """Do n steps, then wait; starts the run if need be."""
        self._need_unfinished("step")
        self._need_free()
        self.control.step(n)
        self._forgive()
        if self._thread is None:
            self._launch()

    def stop(self) -> None:
        """End after the step under way and wait for the thread to be gone. Not to be called by that thread."""
        self.control.stop()
        if self._thread is None:
            self._end("stopped")
        else:
            self._thread.join()

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until the run is over and its thread has ended, or until it stands still because it diverged.

        In a notebook ``await run.finished()`` does the same and leaves the sliders alive.

        Args:
            timeout: seconds to wait at most; without end if not given.

        Raises:
            ValueError: it has not started.
            TimeoutError: it takes longer.
            BaseException: what the training thread raised.
        """
        if self._thread is None and self._ended is None:
            raise ValueError("nothing to wait for: the run has not started; call run.start() first")
        let_workers_go()
        if not self._settled.wait(timeout):
            raise TimeoutError(f"the run is still {self.state} after {timeout:g} s, at step {len(self.history)}")
        if self._ended is not None and self._thread is not None:
            self._thread.join()
        for watcher in tuple(self.watchers):
            watcher()
        if self.error is not None:
            raise self.error
        return self

    async def finished(self, timeout: float | None = None) -> Self:
        """``wait`` for notebooks: sliders and buttons go on working while the cell waits."""
        let_workers_go()
        return await asyncio.to_thread(self.wait, timeout)

    async def paused(self) -> Self:
        """For notebooks: wait until the run stands still: it is paused, has done its ``step(n)``, or is over."""
        let_workers_go()
        return await asyncio.to_thread(self.wait_paused)

    def wait_paused(self) -> Self:
        """``paused`` for scripts; raises what the training thread raised."""
        let_workers_go()
        while self.alive and not self.control.rest(timeout=0.05):
            pass
        if self.error is not None:
            raise self.error
        return self

    # -- how it stands ---------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether the training thread is running or paused."""
        return self._thread is not None and self._thread.alive

    @property
    def state(self) -> str:
        """``ready``, ``running``, ``paused``, ``diverged``, ``finished``, ``stopped`` or ``failed``."""
        if self._ended is not None:
            return self._ended
        if self._thread is None:
            return "ready"
        if self._diverged is not None:
            return "diverged"
        return "paused" if self.control.waiting else "running"

    # -- what it trains --------------------------------------------------------------------------------------------

    def others(self) -> list[Driver]:
        """The other runs, not over yet, that train what this one trains."""
        there = (each for each in tuple(_drivers) if each is not self and each.state not in FINAL)
        return [each for each in there if self.subject is not None and each.subject == self.subject]

    def check_free(self) -> None:
        """Raise ValueError in one line where what this run trains is in another run's hands."""
        self._need_free()

    def _need_free(self) -> None:
        # A run that stands still because it diverged is in nobody's way; it is refused if it wants to go on meanwhile.
        busy = next((each for each in self.others() if each.alive and each.state != "diverged"), None)
        if busy is not None:
            raise ValueError(f"{self.source} is being trained by another run ({busy.message}): stop it first")

    def _claim_subject(self) -> None:
        """What it trains is this run's, unless it is another one's already."""
        self.check_free()
        _drivers.add(self)

    # -- the thread ------------------------------------------------------------------------------------------------

    def _launch(self) -> None:
        """Begin the thread."""
        self._need_unfinished("start")
        self._claim_subject()
        self._thread = BackgroundThread(self._drain, name=f"stablelab run {self.name}").start()
        self._started()

    def _started(self) -> None:
        for starter in tuple(self.starters):
            starter()

    def _work(self) -> None:
        """Do all steps, and hand each to ``_take``."""
        for step in self._train():
            self._take(step)

    def _take(self, step: Step) -> None:
        """A step was done."""
        self.history.append(step)
        if self._after(step):
            self.control.pause()
            self._diverged = step  # only now, so that a resume() in between is not lost
            self._settled.set()
        self._keep()

    def _drain(self) -> None:
        error: BaseException | None = None
        try:
            self._work()
        except BaseException as raised:
            error = raised
        self._over(error)

    def _over(self, error: BaseException | None = None) -> None:
        """The steps are at their end, or something was raised."""
        self.error = error
        end = "failed" if error is not None else "finished" if self._complete() else "stopped"
        self._keep(end)
        self._end(end)

    def _end(self, state: str) -> None:
        self._ended = state
        self._settled.set()

    def _forgive(self) -> None:
        """Forget a divergence: training goes on."""
        if self._diverged is not None:
            self._diverged = None
            self._settled.clear()

    def _need_unfinished(self, what: str) -> None:
        if self._ended is not None:
            raise ValueError(f"cannot {what}: the run is over ({self._ended}); reset() puts it back to the start")
