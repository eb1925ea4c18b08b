"""A run: a model, a task and a seed, trained in a daemon thread; it can go back, branch and be saved."""

from __future__ import annotations

import copy
import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .._validation import number, seed_number, shown, whole
from ..formulas import check_end, cross_entropy
from . import saving
from .background import Driver
from .checkpoints import Best, Checkpoint, Checkpoints, changing_tensors, copied, put_back, trainable_names
from .control import Control
from .evaluation import evaluate
from .history import History, Log, last_gesture, settings_at
from .loop import TrainingLoop
from .precision import check_accumulation, check_precision
from .protocols import Augment, Batches, Loss, Task
from .records import FINAL, Step
from .reproducibility import one_step_at_a_time
from .runaway import TIMES, Runaway
from .saving import CheckpointFolder, Snapshot
from .settings import Settings

VALIDATIONS_PER_RUN = 10
MOST_STEPS = 10**9


@dataclass(frozen=True, eq=False)
class Past:
    """What a run begins with.

    Args:
        checkpoints: of these steps, or of fewer; oldest first.
        steps: those that are done already; none for a run that starts from the beginning.
        settings: to go on with; the run's own if not given.
    """

    checkpoints: Sequence[Checkpoint] = ()
    steps: tuple[Step, ...] = ()
    settings: Settings | None = None


class Run(Driver):
    """Train ``model`` on ``task``; start, pause, step, resume, stop, wait, reset; go back and branch; save.

    Args:
        model: any classifier; trained in place.
        task: the data; its validation split is scored as training goes, its test split is never looked at here.
        settings: where the run starts from; change them later with ``run.control.change(learning_rate=...)``.
        seed: of the order of the data and of the randomness inside each step, ≥ 0.
        epochs, steps: length of the run (one of the two; one epoch if neither is given). With
            ``epochs=math.inf`` it goes on until it is stopped.
        batch_size: examples per step.
        evaluate_every: steps between validations, 0 for none; about ten per run if not given, or without an end about
            ten per epoch.
        loss: mean loss of (logits, targets).
        trains: the part of the model that is handed to the loop, where the task's inputs are that part's inputs
            (a head on cached features); the whole model if not given.
        name: how the run is called in charts; as its task if not given.
        layers: of each layer of what is trained, from the head down, the names of its modules: what ``layer_decay``,
            ``unfrozen`` and ``unfreeze_every`` act on.
        augment: (inputs, settings) -> inputs, for ``noise``, ``crop``, ``rotation`` and ``flip``.
        checkpoint_memory: bytes for this run's states to go back to, beside the budget that all runs share (see
            ``checkpoints.memory_in_use``).
        folder: where checkpoints are written while it trains, so that ``reopen`` finds the run again if the process
            ends; nowhere if not given. A branch does not write there.

    Attributes:
        total_steps: length of the run; None without an end.
        number: of the run in its family, from 1; a branch is called after it.
        parent, born: of a branch, the run it comes from and the number of steps it shares with it; None and 0 else.
        branches: those made of this run.
        branched: called with each of them, such as what notes which notebook cell made it; None for nothing.
        version: how often it was put back to its start.

    Raises:
        ValueError: in one line, where the length, the batch size, the seed or the folder cannot be, the schedule
            needs an end that there is not, the device cannot compute in the precision, or the accumulation does not
            divide the batch.
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
        if not callable(loss):
            raise ValueError(f"loss is {shown(loss)}; it must be a function of (logits, targets), such as "
                             "stablelab.formulas.cross_entropy")  # fmt: skip
        self.seed = seed = seed_number("seed", seed)
        self.batch_size = batch_size = whole("batch_size", batch_size, 1, " of examples")
        self.model, self.task, self.loss = model, task, loss
        self.trains = model if trains is None else trains
        self.settings = settings or Settings()
        self.batches: Batches = task.batches(seed, batch_size)
        endless = epochs == math.inf and steps is None
        self.total_steps: int | None = None if endless else length(epochs, steps, self.batches.per_epoch)
        planned = self.batches.per_epoch if self.total_steps is None else self.total_steps
        every = math.ceil(planned / VALIDATIONS_PER_RUN) if evaluate_every is None else evaluate_every
        self.evaluate_every = whole("evaluate_every", every, of=" of steps")
        super().__init__(name or task.name)
        device = next((p.device for p in self.trains.parameters()), torch.device("cpu"))
        self._check = partial(check_settings, self.total_steps, batch_size, device)
        self._check(self.settings)
        self.number, self._numbers = 1, itertools.count(2)  # of this run; and of those to come in its family
        self.layers, self.augment = layers, augment
        self.parent: Run | None = None
        self.branches: list[Run] = []
        self.branched: Callable[[Run], object] | None = None
        self.version = 0
        self._checkpoint_memory = checkpoint_memory
        self._folder = None if folder is None else CheckpointFolder(folder)
        self._first_weights: dict[str, Tensor] | None = copied(model.state_dict())
        self._replayed: Log | None = None  # what is done again, step by step
        self._begin(Past())

    @property
    def optimizer(self) -> Optimizer | None:
        """That of the loop, with its state, as it stands; None before the first step."""
        return getattr(self._loop, "optimizer", None)

    def _begin(self, past: Past) -> None:
        """History, control and state of a run that has not started, or has come as far as its past."""
        changes = [*(self._replayed.interventions if self._replayed else ()), *History(past.steps).interventions()]
        gestures = max((each.gesture for each in changes), default=0)
        settings = past.settings or self.settings
        self._get_ready(History(past.steps), Control(settings, gestures, self._check))
        self._keep_checkpoints(past.checkpoints)
        self._past = replace(past, checkpoints=())  # only the ring holds them, so that it can let go of them
        self._runaway = Runaway(math.log(max(2, len(self.task.classes))))
        for step in past.steps:
            self._runaway.add(step)
        self._disturbed: int | None = None  # the first step that another cell disturbed
        self._loop: TrainingLoop | None = None

    def _keep_checkpoints(self, checkpoints: Sequence[Checkpoint]) -> None:
        self.checkpoints = Checkpoints(self._checkpoint_memory, checkpoints)
        self.checkpoints.keep_first = self._first_weights is None

    def reset(self) -> None:
        """Stop, put the initial weights back and empty the history; the latest settings stay.

        A branch goes back to where it was born.

        Raises:
            ValueError: the weights that it began with are not known.
        """
        if self.parent is None:
            self.first_weights("go back to its start")
        self.stop()
        if self.parent is not None:
            past = replace(self._past, checkpoints=self.checkpoints.until(self.born), settings=self.control.settings)
        else:
            self.settings = self.control.settings if self._replayed is None else self._replayed.settings
            past = Past()
        self.version += 1
        self._begin(past)
        self._put_weights_back()

    def first_weights(self, what: str) -> dict[str, Tensor]:
        """The weights that this run began with, by name.

        Args:
            what: they are needed for, such as "export it".

        Raises:
            ValueError: in one line, where the run comes from a disk that no longer holds them.
        """
        if self._first_weights is None:
            raise ValueError(f"cannot {what}: the weights that {self.name!r} began with were not saved with it")
        return self._first_weights

    def _put_weights_back(self) -> None:
        """Into the model, those that training goes on from: of a checkpoint of the past, or the first ones."""
        start = self.checkpoints.at_or_before(self.born)
        if start is not None:
            put_back(start.weights, changing_tensors(self.trains, trainable_names(self.trains)))
        else:
            self.model.load_state_dict(self.first_weights("go back that far"))

    # -- going back ------------------------------------------------------------------------------------------------

    def branch(self, step: int, **changes: Any) -> Run:
        """A run that shares this one's first ``step`` steps and goes on from there, with some settings changed.

        It has a copy of the model. Without changes, and without changes to this run after that step, it comes to the
        same numbers, bit for bit on a CPU. Steps between the last checkpoint and ``step`` are trained again.

        Args:
            step: steps done, from 0 to as many as this run has done.
            **changes: any field of ``Settings``, such as ``learning_rate=1e-3``.

        Returns:
            A run, ready to start. This one is not touched.

        Raises:
            ValueError: in one line, for a step that was not done or a setting that cannot be.
        """
        return self._branch(step, f"from {step}", changes)

    def untouched(self) -> Run:
        """What if I had not touched it? A branch from before the last gesture by hand, without all that it changed.

        Raises:
            ValueError: nothing was changed by hand.
        """
        first = last_gesture(self.history)
        if first is None:
            raise ValueError("nothing was changed by hand in this run, so there is nothing to take back")
        return self._branch(first - 1, f"untouched at {first}", {})

    def _branch(self, step: int, origin: str, changes: dict[str, Any]) -> Run:
        done = len(self.history)
        whole("step", step, of=" of steps done")
        if step > done:
            raise ValueError(f"step is {step}, but the run has done {done} steps; branch at one of them")
        if self.total_steps is not None and step >= self.total_steps:
            raise ValueError(f"step is {step}, which is the end of the run; branch at an earlier one")
        before = settings_at(self.settings, self.history.interventions(), step) if done else self.control.settings
        settings = before.replace(**changes)
        self._check(settings)
        past = Past(self.checkpoints.until(step), self.history.since(0)[:step], settings)
        if self.checkpoints.at_or_before(step) is None:
            self.first_weights("go back that far")
        child = copy.copy(self)  # the data, the loss and the layers are shared; what is its own follows
        child.number = next(self._numbers)
        child.name, child.parent, child.version = f"run {child.number} · {origin}", self, 0
        child.branches, child.starters, child.watchers = [], [], []
        child._folder = child._replayed = None
        with one_step_at_a_time:  # no update may fall between two tensors
            child.model, child.trains = copy.deepcopy((self.model, self.trains))
        if self._loop is not None:
            for parameter, p in child.trains.named_parameters():
                p.requires_grad_(parameter in self._loop.trainable)  # some may be frozen at this very moment
        if not step:  # nothing to share: it starts from the first weights, with settings of its own
            child.settings = settings
        child._begin(past)
        child._put_weights_back()
        self.branches.append(child)
        if self.branched is not None:
            self.branched(child)
        return child

    @property
    def born(self) -> int:
        """How many steps of the history are those of the parent."""
        return len(self._past.steps)

    @property
    def source(self) -> str:
        """The model, as what made it calls it, or by the name of its class."""
        return getattr(self.model, "stablelab_source", type(self.model).__name__)

    @property
    def subject(self) -> nn.Module:
        """The model: only one run at a time may train it."""
        return self.model

    @property
    def fingerprint(self) -> str:
        """That of its data: runs of one task are drawn beside each other."""
        return self.task.fingerprint

    @property
    def best(self) -> Best | None:
        """The weights with the lowest validation loss so far; None before the first validation."""
        return None if self._loop is None else self._loop.best

    def trained_parameters(self) -> list[nn.Parameter]:
        """The parameters that this run may train, those included that are frozen at this moment."""
        if self._loop is None:
            return [p for p in self.trains.parameters() if p.requires_grad]
        return [p for name, p in self.trains.named_parameters() if name in self._loop.trainable]

    def log(self) -> Log:
        """What was done by hand, as it can be done again by ``replay``."""
        return Log(
            name=self.name,
            task=self.task.name,
            fingerprint=self.task.fingerprint,
            seed=self.seed,
            batch_size=self.batch_size,
            total_steps=self.total_steps,
            evaluate_every=self.evaluate_every,
            steps=len(self.history),
            parameters=sum(p.numel() for p in self.trained_parameters()),
            settings=self.settings,
            interventions=self.history.interventions(),
        )

    def do_again(self, log: Log) -> None:
        """From now on, make the changes by hand that a log says, each at its step."""
        self._replayed = log
        latest = max((each.gesture for each in log.interventions), default=0)
        self.control.gestures = max(self.control.gestures, latest)

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
            total = self.total_steps
            steps = "without an end, until it is stopped" if total is None else f"{total:_} steps".replace("_", " ")
            return f"ready: {steps}" + (f", the first {done:_} already done".replace("_", " ") if done else "")
        if self._loop is not None and self._loop.k < self.born:
            return f"going back to step {self.born}: {self.born - self._loop.k} steps to train again"
        last = self.history[done - 1] if done else None
        if self.state == "finished" and last is not None and last.kept is not None:
            early = f"stopped early at step {done}" if last.stopped_early else f"finished at step {done}"
            return f"{early}; best weights, of step {last.kept}, put back"
        if self._runaway.since is not None:
            return self._way_back(self._runaway.since)
        return f"{self.state} at step {done}" + ("" if self.total_steps is None else f" of {self.total_steps}")

    def _way_back(self, since: int) -> str:
        """What to do about a loss that has run away."""
        gestures = [each for each in self.history.gestures() if each.first <= since]
        if gestures:
            way = f"“what if I had not touched it?”, or a branch from before step {gestures[-1].first}, leads back"
        else:
            way = "a lower learning rate and a reset lead back"
        return f"{self.state}, but it diverges since step {since}: the loss is over {TIMES} times its start; {way}"

    # -- on disk ---------------------------------------------------------------------------------------------------

    @property
    def trouble(self) -> str:
        """One line on a checkpoint that could not be written, or on a cell that disturbed a step; empty without."""
        if self._folder is not None and self._folder.trouble:
            return self._folder.trouble
        if self._disturbed is None:
            return ""
        return (f"another cell used torch's random numbers during step {self._disturbed}: this run's are as they were, "
                "but what that cell drew meanwhile does not come again")  # fmt: skip

    def save(self, folder: str | os.PathLike[str]) -> str:
        """Write history, settings, interventions, weights (safetensors) and a checkpoint to a folder.

        Args:
            folder: new, or with an earlier save, which is replaced.

        Returns:
            The folder's path. ``load`` opens it, ``reopen`` goes on with it.

        Raises:
            ValueError: the folder is something else.
            OSError: it cannot be written.
        """
        return str(saving.write(Path(folder).expanduser(), self.snapshot()))

    def snapshot(self, state: str | None = None) -> Snapshot:
        """All that a file can hold of the run as it stands; ``state`` is put down as its state, if given."""
        # In this order: a run that trains on meanwhile gets a checkpoint that is no younger than its history, and
        # settings that are no older. A safe one, which needs no other to do again what came after it.
        checkpoint, history, log = self.checkpoints.safe(), History(self.history.since(0)), self.log()
        with one_step_at_a_time:  # no update, and no probe that moves weights, may fall between two tensors
            weights = copied(self.model.state_dict())
        classes = tuple(self.task.classes)
        settings = self.control.settings
        return Snapshot(log, state or self.state, settings, self._replayed, classes, history, weights, checkpoint)

    def take_up(
        self,
        snapshot: Snapshot,
        checkpoints: Sequence[Checkpoint],
        first_weights: dict[str, Tensor] | None,
        *,
        over: bool,
        folder: CheckpointFolder | None = None,
    ) -> None:
        """Stand where a saved run stood. Its weights are in the model already.

        Args:
            snapshot: of a run that was made with the same arguments.
            checkpoints: that are known of it, oldest first.
            first_weights: those it began with; None where they are not known.
            over: whether it is only looked at; else it is ready to go on.
            folder: where it goes on writing checkpoints.
        """
        self._first_weights, self._replayed, self._folder = first_weights, snapshot.replayed, folder
        if not over:
            self._begin(Past(checkpoints, snapshot.history.since(0), snapshot.settings))
            return
        self._begin(Past())
        self._keep_checkpoints(checkpoints)
        self.history = snapshot.history
        self.control.publish(snapshot.settings)
        self._end(snapshot.state if snapshot.state in FINAL else "stopped")

    # -- what the driver asks --------------------------------------------------------------------------------------

    def _launch(self) -> None:
        if not self.born:
            self.settings = self.control.settings
        super()._launch()

    def _train(self) -> Iterator[Step]:
        """Where training goes on: from the start, or after the steps that are past."""
        if self.evaluate_every:
            import sklearn.metrics  # noqa: F401  (takes a second: better before the first step than at step n)
        self._loop = loop = TrainingLoop(
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
            loop.restore(start)
        elif self.born:  # memory may have been short since the weights were put back
            self._put_weights_back()
        if loop.k < self.born:
            self._catch_up(loop)
        return loop.steps(self.control)

    def _catch_up(self, loop: TrainingLoop) -> None:
        """Train again, unseen, the steps between the checkpoint that the run starts from and the end of its past.

        Their validations are known already.
        """
        changes = self.history.interventions()
        control = Control(settings_at(self.settings, changes, loop.k + 1))
        scored = loop.evaluate
        if scored is not None:  # a run that was stopped may have left out its last validation
            loop.evaluate = lambda model, step: self.history[step - 1].evaluation or scored(model, step)
        for step in loop.steps(control, until=self.born):
            control.publish(settings_at(self.settings, changes, step.step + 1))
            if self.control.stopped:
                control.stop()
        loop.evaluate = scored
        if self.parent is not None:  # a branch is asked to go on; a killed run that had stopped early stays over
            loop.go_on()

    def _after(self, step: Step) -> bool:
        self._runaway.add(step)
        if step.disturbed and self._disturbed is None:
            self._disturbed = step.step
        if self._replayed is not None:  # do again what was done by hand before the next step
            for each in self._replayed.interventions:
                if each.step == step.step + 1:
                    self.control.change(gesture=each.gesture, **{each.name: each.new})
        replaying = self._replayed is not None and step.step < self._replayed.steps
        return step.diverged and not replaying

    def _keep(self, end: str | None = None) -> None:
        if self._folder is not None and (end is not None or self._folder.due or self.control.paused):
            self._folder.add(lambda: self.snapshot(end))

    def _end(self, state: str) -> None:
        self.checkpoints.over = True
        super()._end(state)

    def _complete(self) -> bool:
        done = len(self.history)
        return done == self.total_steps or (done > 0 and self.history[-1].stopped_early)


def check_settings(total_steps: int | None, batch_size: int, device: torch.device, settings: Settings) -> None:
    """Raise ValueError in one line where a run like this cannot have these settings."""
    check_end(settings.schedule, total_steps)
    check_precision(settings.precision, device)
    check_accumulation(settings.accumulation, batch_size)


def length(epochs: float | None, steps: int | None, per_epoch: int) -> int:
    """How many steps a run takes that is given epochs or steps; raises ValueError in one line where it cannot be."""
    if epochs is not None and steps is not None:
        raise ValueError("give epochs or steps, not both")
    if steps is None:
        epochs = 1 if epochs is None else epochs
        steps = max(1, round(number("epochs", epochs, above=0) * per_epoch))
        if steps > MOST_STEPS:
            raise ValueError(f"epochs is {epochs!r}, which are more than {MOST_STEPS:,} steps; "
                             "with epochs=math.inf a run goes on until it is stopped")  # fmt: skip
        return steps
    return whole("steps", steps, at_least=1, at_most=MOST_STEPS)
