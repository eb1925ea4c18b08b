"""A run: a model, a task and a seed, trained in a daemon thread that drains the loop into a history."""

from __future__ import annotations

import asyncio
import math
import os
import threading
from collections.abc import Callable
from typing import Any

from torch import nn

from ..formulas import cross_entropy
from ..formulas.checks import whole
from . import saved
from .control import Control
from .evaluation import evaluate
from .history import History
from .loop import Loss, steps
from .randomness import one_step_at_a_time
from .record import Step
from .settings import Settings
from .task import Batches, Task

VALIDATIONS_PER_RUN = 10


class Run:
    """Train ``model`` on ``task``; start, pause, step, resume, stop, wait, reset, save, load.

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

    Raises:
        ValueError: in one line, where the length, the batch size or the seed cannot be.
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
        self.version = 0
        self.starters: list[Callable[[], object]] = []  # called when training begins, such as what draws it
        self.watchers: list[Callable[[], object]] = []  # what wait() also waits for, such as a last picture being drawn
        self._initial = {key: value.detach().clone() for key, value in model.state_dict().items()}
        self._begin()

    def _begin(self) -> None:
        """History, control and state of a run that has not started."""
        self.history = History()
        self.control = Control(self.settings)
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

    def reset(self) -> None:
        """Stop, put the initial weights back and empty the history; the latest settings stay."""
        self.stop()
        self.settings = self.control.settings
        self.model.load_state_dict(self._initial)
        self.version += 1
        self._begin()

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
            return f"ready: {self.total_steps} steps"
        return f"{self.state} at step {done} of {self.total_steps}"

    # -- on disk ---------------------------------------------------------------------------------------------------

    def save(self, folder: str | os.PathLike[str]) -> str:
        """Write history, settings, interventions and weights (safetensors) to a folder; returns its path."""
        with one_step_at_a_time:  # no update may fall between two tensors
            return str(saved.write(folder, saved.about(self), self.history, self.model))

    @classmethod
    def load(cls, folder: str | os.PathLike[str], model: nn.Module, task: Task, **arguments: Any) -> Run:
        """The run that ``save`` wrote, over: its weights in ``model``, its history, settings and interventions.

        Raises:
            FileNotFoundError, ValueError: in one line, where there is none, it is damaged, or it is of another task.
        """
        record = saved.read(folder)
        about = record.about
        if about["task"]["fingerprint"] != task.fingerprint:
            raise ValueError(f"the run in {folder} was trained on other data than {task.name!r} as split here")
        keep = {key: about[key] for key in ("seed", "batch_size", "evaluate_every", "name")}
        settings = Settings.from_dict(about["initial_settings"])
        run = cls(model, task, settings=settings, steps=about["total_steps"], **keep, **arguments)
        record.restore(model)
        run.history = record.history
        run.control.publish(Settings.from_dict(about["settings"]))
        run._end(about["state"])
        return run

    # -- the thread ------------------------------------------------------------------------------------------------

    def _launch(self) -> None:
        self._need_unfinished("start")
        self.settings = self.control.settings
        self._thread = threading.Thread(target=self._train, name=f"stablelab run {self.name}", daemon=True)
        self._thread.start()
        for starter in tuple(self.starters):
            starter()

    def _train(self) -> None:
        try:
            if self.evaluate_every:
                import sklearn.metrics  # noqa: F401  (takes a second: better before the first step than at step n)
            for step in self._steps():
                self.history.append(step)
                if step.diverged:
                    self._diverged = step
                    self.control.pause()
                    self._settled.set()
        except BaseException as error:
            self.error = error
            self._end("failed")
        else:
            self._end("finished" if len(self.history) == self.total_steps else "stopped")

    def _steps(self) -> Any:
        return steps(
            self.trains,
            self.batches,
            self.loss,
            self.control,
            total_steps=self.total_steps,
            seed=self.seed,
            evaluate=lambda model, step: evaluate(model, self.task.validation, self.loss, step),
            evaluate_every=self.evaluate_every,
        )

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
