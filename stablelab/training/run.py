"""A run: a model, a task and a seed, trained in a daemon thread that drains the loop into a history."""

from __future__ import annotations

import asyncio
import math
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from ..formulas import cross_entropy
from ..formulas.checks import whole
from . import branches, reopening, saved
from .branches import Past
from .checkpoints import Best, Checkpoints
from .control import Control
from .evaluation import evaluate
from .history import History
from .keeper import Keeper
from .log import Log
from .loop import Augment, Loss, Trainer
from .record import Step
from .settings import Settings
from .task import Batches, Task

VALIDATIONS_PER_RUN = 10


class Run:
    """Train ``model`` on ``task``; start, pause, step, resume, stop, wait, reset; go back and branch; save, load.

    Arguments:
        model: any classifier; trained in place.
        task: the data; its validation split is scored as training goes, its test split is never looked at here.
        settings: where the run starts from; change them later with ``run.control.change(learning_rate=...)``.
        seed: of the order of the data and of the randomness inside each step, ≥ 0.
        epochs or steps: length of the run (one of the two; one epoch if neither is given).
        batch_size: examples per step.
        evaluate_every: steps between validations, 0 for none; about ten per run if not given.
        loss: mean loss of (logits, targets).
        trains: the part of the model that is handed to the loop, where the task's inputs are that part's inputs
            (a head on cached features); the whole model if not given.
        name: how the run is called in charts.
        layers: of each layer of what is trained, from the head down, the names of its modules: what ``layer_decay``,
            ``unfrozen`` and ``unfreeze_every`` act on.
        augment: (inputs, settings) -> inputs, for ``noise``, ``crop``, ``rotation`` and ``flip``.
        checkpoint_memory: bytes for states to go back to; about a sixteenth of the machine's memory if not given.
        folder: where checkpoints are written while it trains, so that ``reopen`` finds the run again if the process
            ends; nowhere if not given. A branch does not write there.

    Attributes:
        parent, born: of a branch, the run it comes from and the number of steps it shares with it; None and 0 else.
        branches: those made of this run.

    Raises:
        ValueError: in one line, where the length, the batch size, the seed or the folder cannot be.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        *,
        settings: Settings | None = None,
        seed: int = 0,
        epochs: float | None = None,
        steps: int | None = None,
        batch_size: int = 16,
        evaluate_every: int | None = None,
        loss: Loss = cross_entropy,
        trains: nn.Module | None = None,
        name: str | None = None,
        layers: Sequence[Sequence[str]] | None = None,
        augment: Augment | None = None,
        checkpoint_memory: int | None = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        self.seed = whole("seed", seed)
        self.model, self.task, self.batch_size, self.loss = model, task, batch_size, loss
        self.trains = model if trains is None else trains
        self.settings = settings or Settings()
        self.batches: Batches = task.batches(seed, batch_size)
        self.total_steps = _length(epochs, steps, self.batches.per_epoch)
        every = math.ceil(self.total_steps / VALIDATIONS_PER_RUN) if evaluate_every is None else evaluate_every
        self.evaluate_every = whole("evaluate_every", every, of=" of steps")
        self.name = name or task.name
        self.layers, self.augment = layers, augment
        self.parent: Run | None = None
        self.branches: list[Run] = []
        self.version = 0
        self.starters: list[Callable[[], object]] = []  # called when training begins, such as what draws it
        self.watchers: list[Callable[[], object]] = []  # what wait() also waits for, such as a last picture being drawn
        self._keeper = None if folder is None else Keeper(folder)
        self._remember()
        self._past = Past(Checkpoints(checkpoint_memory))
        self._script: Log | None = None  # what is done again, step by step
        self._begin()

    def _remember(self) -> None:
        """The model's weights of now are those that the run begins with."""
        self._initial = {key: value.detach().clone() for key, value in self.model.state_dict().items()}

    def _begin(self) -> None:
        """History, control and state of a run that has not started, or has come as far as its past."""
        self.history = History(self._past.steps)
        self.control = Control(self._past.settings or self.settings)
        self.checkpoints = Checkpoints(self._past.checkpoints.memory, tuple(self._past.checkpoints))
        self._trainer: Trainer | None = None
        self.error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._ended: str | None = None
        self._diverged: Step | None = None
        self._settled = threading.Event()

    # -- what the learner does -------------------------------------------------------------------------------------

    def start(self) -> Run:
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
        self._forgive()
        self.control.resume()

    def step(self, n: int = 1) -> None:
        """Do n steps, then wait; starts the run if need be."""
        self._need_unfinished("step")
        self.control.step(n)
        self._forgive()
        if self._thread is None:
            self._launch()

    def stop(self) -> None:
        """End after the step under way and wait for the thread to be gone. Not to be called by that thread."""
        self.control.stop()
        thread = self._thread
        if thread is None:
            self._end("stopped")
        elif thread is not threading.current_thread():
            thread.join()

    def wait(self, timeout: float | None = None) -> Run:
        """Wait until the run is finished, stopped or diverged; raises what the training thread raised.

        In a notebook ``await run.finished()`` does the same and leaves the sliders alive.
        """
        if self._thread is None and self._ended is None:
            raise ValueError("nothing to wait for: the run has not started; call run.start() first")
        if not self._settled.wait(timeout):
            raise TimeoutError(f"the run is still {self.state} after {timeout:g} s, at step {len(self.history)}")
        for watcher in tuple(self.watchers):
            watcher()
        if self.error is not None:
            raise self.error
        return self

    async def finished(self, timeout: float | None = None) -> Run:
        """``wait`` for notebooks: sliders and buttons go on working while the cell waits."""
        return await asyncio.to_thread(self.wait, timeout)

    async def paused(self) -> Run:
        """For notebooks: wait until the run stands still: it is paused, has done its ``step(n)``, or is over."""
        return await asyncio.to_thread(self.wait_paused)

    def wait_paused(self) -> Run:
        """``paused`` for scripts; raises what the training thread raised."""
        while self.alive and not self.control.rest(timeout=0.05):
            pass
        if self.error is not None:
            raise self.error
        return self

    def reset(self) -> None:
        """Stop, put the initial weights back and empty the history; the latest settings stay.

        A branch goes back to where it was born.
        """
        self.stop()
        if self.parent is not None:
            self._past = replace(self._past, settings=self.control.settings)
        else:
            self.settings = self.control.settings
            self._past = Past(Checkpoints(self.checkpoints.memory))
        self.model.load_state_dict(self._initial)
        self.version += 1
        self._begin()

    # -- going back ------------------------------------------------------------------------------------------------

    def branch(self, step: int, **changes: Any) -> Run:
        """A run that shares this one's first ``step`` steps and goes on from there, with some settings changed.

        It has a copy of the model. Without changes, and without changes to this run after that step, it comes to the
        same numbers, bit for bit on a CPU. Steps between the last checkpoint and ``step`` are trained again.

        Arguments:
            step: steps done, from 0 to as many as this run has done.
            changes: any field of ``Settings``.

        Returns:
            A run, ready to start. This one is not touched.

        Raises:
            ValueError: in one line, for a step that was not done or a setting that cannot be.
        """
        return branches.branch(self, step, changes)

    def untouched(self) -> Run:
        """What if I had not touched it? A branch from before the last change by hand, without that change.

        Raises:
            ValueError: nothing was changed by hand.
        """
        return branches.untouched(self)

    @property
    def born(self) -> int:
        """How many steps of the history are those of the parent."""
        return len(self._past.steps)

    @property
    def best(self) -> Best | None:
        """The weights with the lowest validation loss so far; None before the first validation."""
        return None if self._trainer is None else self._trainer.best

    def log(self) -> Log:
        """What was done by hand, as it can be done again by ``replay``."""
        return branches.log(self)

    # -- what the learner sees -------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether the training thread is running or paused."""
        return self._thread is not None and self._thread.is_alive()

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

    @property
    def message(self) -> str:
        """One line on how it stands."""
        if self.error is not None:
            return f"failed: {type(self.error).__name__}: {self.error}"
        done = len(self.history)
        if self.state == "diverged" and self._diverged is not None:
            return f"diverged at step {self._diverged.step}; weights of step {self._diverged.kept} kept"
        if self.state == "ready":
            return f"ready: {self.total_steps} steps" + (f", the first {done} already done" if done else "")
        if self._trainer is not None and self._trainer.k < self.born:
            return f"going back to step {self.born}: {self.born - self._trainer.k} steps to train again"
        last = self.history[done - 1] if done else None
        if self.state == "finished" and last is not None and last.kept is not None:
            early = f"stopped early at step {done}" if last.stopped_early else f"finished at step {done}"
            return f"{early}; best weights, of step {last.kept}, put back"
        return f"{self.state} at step {done} of {self.total_steps}"

    # -- on disk ---------------------------------------------------------------------------------------------------

    @property
    def trouble(self) -> str:
        """One line on why the last checkpoint could not be written to ``folder``; empty where nothing is wrong."""
        return "" if self._keeper is None else self._keeper.trouble

    def save(self, folder: str | os.PathLike[str]) -> str:
        """Write history, settings, interventions, weights (safetensors) and a checkpoint to a folder.

        Returns:
            The folder's path. ``load`` opens it, ``reopen`` goes on with it.
        """
        return str(saved.write(Path(folder).expanduser(), self, self.state))

    @classmethod
    def load(cls, folder: str | os.PathLike[str], model: nn.Module, task: Task, **arguments: Any) -> Run:
        """The run that ``save`` wrote, over: its weights in ``model``, its history, settings and interventions.

        Raises:
            FileNotFoundError, ValueError: in one line, where there is none, it is damaged, or it is of another task.
        """
        return reopening.load(folder, model, task, **arguments)

    # -- the thread ------------------------------------------------------------------------------------------------

    def _launch(self) -> None:
        self._need_unfinished("start")
        if not self.born:
            self.settings = self.control.settings
        self._thread = threading.Thread(target=self._train, name=f"stablelab run {self.name}", daemon=True)
        self._thread.start()
        for starter in tuple(self.starters):
            starter()

    def _train(self) -> None:
        try:
            if self.evaluate_every:
                import sklearn.metrics  # noqa: F401  (takes a second: better before the first step than at step n)
            for step in self._prepared().steps(self.control):
                self.history.append(step)
                self._follow_script(step)
                if step.diverged and not self._scripted(step.step):
                    self._diverged = step
                    self.control.pause()
                    self._settled.set()
                if self._keeper is not None:
                    self._keeper.after_step(self)
            over = len(self.history) == self.total_steps or (len(self.history) and self.history[-1].stopped_early)
            end = "finished" if over else "stopped"
        except BaseException as error:
            self.error = error
            end = "failed"
        if self._keeper is not None:
            self._keeper.at_end(self, end)
        self._end(end)

    def _prepared(self) -> Trainer:
        """Where training goes on: from the start, or after the steps that are past."""
        self._trainer = trainer = Trainer(
            self.trains,
            self.batches,
            self.loss,
            total_steps=self.total_steps,
            seed=self.seed,
            evaluate=lambda model, step: evaluate(model, self.task.validation, self.loss, step),
            evaluate_every=self.evaluate_every,
            layers=self.layers,
            augment=self.augment,
            checkpoints=self.checkpoints,
        )
        start = self.checkpoints.at_or_before(self.born) if self.born else None
        if start is not None:
            trainer.restore(start)
        branches.catch_up(self, trainer)
        return trainer

    def _follow_script(self, step: Step) -> None:
        """Do again what was done by hand before the next step."""
        if self._script is not None:
            due = {each.name: each.new for each in self._script.interventions if each.step == step.step + 1}
            if due:
                self.control.change(**due)

    def _scripted(self, step: int) -> bool:
        return self._script is not None and step < self._script.steps

    def _end(self, state: str) -> None:
        self._ended = state
        self._settled.set()

    def _forgive(self) -> None:
        if self._diverged is not None:
            self._diverged = None
            self._settled.clear()

    def _need_unfinished(self, what: str) -> None:
        if self._ended is not None:
            raise ValueError(f"cannot {what}: the run is over ({self._ended}); reset() puts it back to the start")


def _length(epochs: float | None, steps: int | None, per_epoch: int) -> int:
    if epochs is not None and steps is not None:
        raise ValueError("give epochs or steps, not both")
    if steps is None:
        epochs = 1 if epochs is None else epochs
        if isinstance(epochs, bool) or not isinstance(epochs, int | float) or not (0 < epochs < math.inf):
            raise ValueError(f"epochs is {epochs!r}; it must be a number above 0")
        return max(1, round(epochs * per_epoch))
    return whole("steps", steps, at_least=1)
