"""A run: a model, a task and a seed, trained in a daemon thread; it can go back, branch, be saved and reopened."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from .._validation import whole
from ..formulas import cross_entropy
from . import branches
from . import resuming as reopening
from . import saving as saved
from .background import Driver
from .branches import Past
from .checkpoints import Best, Checkpoints
from .control import Control
from .evaluation import evaluate
from .history import History, Log
from .keeper import Keeper
from .loop import Trainer
from .protocols import Augment, Batches, Loss, Task
from .records import Step
from .settings import Settings

VALIDATIONS_PER_RUN = 10


class Run(Driver):
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
        branched: called with each of them, such as what notes which notebook cell made it; None for nothing.

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
        self.total_steps = length(epochs, steps, self.batches.per_epoch)
        every = math.ceil(self.total_steps / VALIDATIONS_PER_RUN) if evaluate_every is None else evaluate_every
        self.evaluate_every = whole("evaluate_every", every, of=" of steps")
        super().__init__(name or task.name)
        self.layers, self.augment = layers, augment
        self.parent: Run | None = None
        self.branches: list[Run] = []
        self.branched: Callable[[Run], object] | None = None
        self.version = 0
        self._keeper = None if folder is None else Keeper(folder)
        self._remember()
        self._past = Past(Checkpoints(checkpoint_memory))
        self._script: Log | None = None  # what is done again, step by step
        self._begin()

    def _remember(self) -> None:
        """The model's weights of now are those that the run begins with."""
        self._initial = {key: value.detach().clone() for key, value in self.model.state_dict().items()}
        self._first_known = True  # not where the run comes from a disk that no longer holds them

    def _begin(self) -> None:
        """History, control and state of a run that has not started, or has come as far as its past."""
        self._stand(History(self._past.steps), Control(self._past.settings or self.settings))
        self.checkpoints = Checkpoints(self._past.checkpoints.memory, tuple(self._past.checkpoints))
        self._trainer: Trainer | None = None

    def reset(self) -> None:
        """Stop, put the initial weights back and empty the history; the latest settings stay.

        A branch goes back to where it was born.
        """
        if self.parent is None:
            self.need_first_weights("go back to its start")
        self.stop()
        if self.parent is not None:
            self._past = replace(self._past, settings=self.control.settings)
        else:
            self.settings = self.control.settings if self._script is None else self._script.settings
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

    def need_first_weights(self, what: str) -> None:
        """Raise a one-line ValueError where the weights that this run began with are not known."""
        if not self._first_known:
            raise ValueError(f"cannot {what}: the weights that {self.name!r} began with were not saved with it")

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

    # -- what the driver asks --------------------------------------------------------------------------------------

    def _launch(self) -> None:
        if not self.born:
            self.settings = self.control.settings
        super()._launch()

    def _train(self) -> Iterator[Step]:
        if self.evaluate_every:
            import sklearn.metrics  # noqa: F401  (takes a second: better before the first step than at step n)
        return self._prepared().steps(self.control)

    def _after(self, step: Step) -> bool:
        if self._script is not None:  # do again what was done by hand before the next step
            due = {each.name: each.new for each in self._script.interventions if each.step == step.step + 1}
            if due:
                self.control.change(**due)
        scripted = self._script is not None and step.step < self._script.steps
        return step.diverged and not scripted

    def _keep(self, end: str | None = None) -> None:
        if self._keeper is not None:
            self._keeper.keep(self, end)

    def _complete(self) -> bool:
        done = len(self.history)
        return done == self.total_steps or (done > 0 and self.history[-1].stopped_early)

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


def length(epochs: float | None, steps: int | None, per_epoch: int) -> int:
    if epochs is not None and steps is not None:
        raise ValueError("give epochs or steps, not both")
    if steps is None:
        epochs = 1 if epochs is None else epochs
        if isinstance(epochs, bool) or not isinstance(epochs, int | float) or not (0 < epochs < math.inf):
            raise ValueError(f"epochs is {epochs!r}; it must be a number above 0")
        return max(1, round(epochs * per_epoch))
    return whole("steps", steps, at_least=1)
