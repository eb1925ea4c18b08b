"""Hugging Face's Trainer, steered as it is: through a callback, in a thread of the workbook or in the caller's own."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import torch
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback

from ..watched import Stopped
from .steering import Groups, TrainerRun, scores


class HuggingFaceRun(TrainerRun):
    """A Trainer under the dashboard: its own loop, its own schedule; learning rate, clipping and weight decay live.

    Args:
        trainer: that has not trained yet.
        arguments: what ``trainer.train`` is called with.
        name: what the run is called; as the model's class if not given.
        own: whether a thread of the workbook calls ``trainer.train``; else somebody else does.

    Raises:
        ValueError: in one line, where the trainer has trained already, or its model is in another run's hands.
    """

    def __init__(
        self, trainer: Trainer, arguments: tuple[Any, ...] = (), *, name: str | None = None, own: bool = True
    ) -> None:
        args = trainer.args
        self._own = own
        super().__init__(
            trainer,
            trainer.model,
            learning_rate=args.learning_rate,
            max_norm=args.max_grad_norm or None,
            weight_decay=args.weight_decay,
            total_steps=args.max_steps if args.max_steps > 0 else None,
            name=name,
            data=f"{_length(trainer.train_dataset)} examples",
        )
        self._arguments = arguments

    def steps_before(self) -> int:
        """Those that ``trainer.train`` has done; whoever calls that by hand may let it go on."""
        return self.trainer.state.global_step if self._own else 0

    def _loop(self) -> None:
        callback = SteeringCallback(self)
        self.trainer.add_callback(callback)
        callback.quieten(self.trainer.callback_handler)  # before a bar of its own is drawn
        try:
            self.trainer.train(*self._arguments)
        finally:
            callback.let_go()
            self.trainer.remove_callback(callback)


class SteeringCallback(TrainerCallback):
    """What a Trainer is steered and recorded through, one record per optimizer step.

    Args:
        run: that it belongs to; where there is none, one is made for whoever calls ``trainer.train``.

    Attributes:
        run: the run, None until training begins.
    """

    def __init__(self, run: HuggingFaceRun | None = None) -> None:
        self.run = run
        self._by_hand = run is None
        self._undo: list[Callable[[], object]] = []
        self._groups: Groups | None = None
        self._loss: torch.Tensor | None = None  # of the batches since the last step, added up
        self._rates: tuple[float, ...] = ()
        self._norm: Any = math.nan
        self._due: str | None = None  # the last event of the step under way, after which a pause may be
        self._waited = False

    def shown(self, run: HuggingFaceRun) -> None:
        """Called in the thread that trains when a run was made here, before it begins."""

    # -- what Trainer calls ------------------------------------------------------------------------------------------

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        trainer = self._trainer()
        if self.run is None or self._by_hand:
            if self.run is not None:
                self.run.detach()  # an earlier call of train that ended without a word
            self.run = HuggingFaceRun(trainer, own=False)
            self.run.begins(state.max_steps)
            self.shown(self.run)
            self.run.attach()
        else:
            self.run.begins(state.max_steps)
        self._take_hold(trainer, given["optimizer"], given["lr_scheduler"])
        self._waited = True
        if not self.run.begin():
            control.should_training_stop = True  # a Trainer looks after its first step only
            if not self._by_hand:
                raise Stopped

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.run is None or self._groups is None:
            return
        if not self._waited and not self.run.next_turn():  # something that ends a step later than is known here
            control.should_training_stop = True
        self._waited, self._due = False, None
        values = self.run.now
        self._groups.apply(values.learning_rate, values.weight_decay)
        args.max_grad_norm = values.max_norm or 0.0

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._groups is not None:
            self._rates = self._groups.learning_rates

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        if self.run is None or self._loss is None:
            return
        loss, self._loss = self._loss, None
        self.run.add_step(
            float(loss),
            gradient_norm=float(self._norm),
            learning_rates=self._rates,
            max_norm=args.max_grad_norm or None,
            optimizer=f"{_name_of(given['optimizer'])} · Trainer",
            epoch=math.nan if state.epoch is None else float(state.epoch),
        )
        due = {"save": control.should_save, "evaluate": control.should_evaluate, "log": control.should_log}
        self._due = next((event for event, is_due in due.items() if is_due), None)
        if self._due is None:
            self._wait(control)

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._wait(control, "log")

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
        if self.run is not None and self._groups is not None:
            evaluation = scores(metrics or {}, len(self.run.history))
            if evaluation is not None:
                self.run.add_evaluation(evaluation)
        self._wait(control, "evaluate")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._wait(control, "save")

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._end()

    # -- taking hold of a trainer, and letting it go ----------------------------------------------------------

    def quieten(self, handler: Any) -> None:
        """Take the progress bar and what prints away, also while the handler goes through its callbacks."""
        before, here = list(handler.callbacks), handler.callbacks.index(self)
        handler.callbacks[here + 1 :] = [each for each in before[here + 1 :] if not _prints(each)]
        for each in before[:here]:
            bar = getattr(each, "training_bar", None)
            if _prints(each) and bar is not None:
                bar.leave = False
                bar.close()
                each.training_bar = None
        handler.callbacks = [each for each in before if not _prints(each)]

        def undo() -> None:
            handler.callbacks = [*before, *(each for each in handler.callbacks if each not in before)]

        self._undo.append(undo)

    def let_go(self) -> None:
        """Leave the trainer as it was found, but for what it has learnt."""
        while self._undo:
            self._undo.pop()()
        self._groups = None

    def _take_hold(self, trainer: Any, optimizer: Any, scheduler: Any) -> None:
        if self._by_hand:
            self.quieten(trainer.callback_handler)
        self._groups = Groups([optimizer], [scheduler], trainer.args.learning_rate)
        self._loss, self._rates = None, self._groups.learning_rates
        training_step, clip = trainer.training_step, trainer.accelerator.clip_grad_norm_

        def recorded_step(*arguments: Any, **keywords: Any) -> torch.Tensor:
            try:
                loss = training_step(*arguments, **keywords)
            except BaseException as error:
                if self._by_hand:
                    self._end(error)
                raise
            self._loss = loss.detach() if self._loss is None else self._loss + loss.detach()
            return loss

        def recorded_clip(*arguments: Any, **keywords: Any) -> Any:
            self._norm = norm = clip(*arguments, **keywords)
            return norm

        self._undo.append(_replaced(trainer, "training_step", recorded_step))
        self._undo.append(_replaced(trainer.accelerator, "clip_grad_norm_", recorded_clip))

    def _end(self, error: BaseException | None = None) -> None:
        self.let_go()
        if self.run is not None and self._by_hand:
            self.run.detach(error)

    def _wait(self, control: Any, event: str | None = None) -> None:
        """Between two steps: a pause, and the end."""
        if self.run is None or self._groups is None or self._waited or event != self._due:
            return
        self._waited = True
        if not control.should_training_stop and not self.run.next_turn():
            control.should_training_stop = True

    def _trainer(self) -> Any:
        """The trainer that calls: a callback is told everything but that, so it is looked for among the callers."""
        frame = sys._getframe()
        while frame is not None:
            found = frame.f_locals.get("self")
            if isinstance(found, Trainer) and self in found.callback_handler.callbacks:
                return found
            frame = frame.f_back  # type: ignore[assignment]
        raise RuntimeError("this callback is for transformers.Trainer, which is not what calls it")


def _prints(callback: TrainerCallback) -> bool:
    named = type(callback).__name__ == "NotebookProgressCallback"  # its module asks for IPython
    return named or isinstance(callback, ProgressCallback | PrinterCallback)


def _replaced(thing: Any, name: str, new: Any) -> Callable[[], object]:
    """Put a function in a method's place, on this one object; returns what undoes it."""
    missing = object()
    before = vars(thing).get(name, missing)
    setattr(thing, name, new)
    return lambda: delattr(thing, name) if before is missing else setattr(thing, name, before)


def _length(data: Any) -> str:
    try:
        return str(len(data))
    except TypeError:
        return "streamed"


def _name_of(optimizer: Any) -> str:
    return type(getattr(optimizer, "optimizer", optimizer)).__name__
