"""PyTorch Lightning's Trainer, steered as it is, through a callback that is there for as long as it trains."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelSummary, ProgressBar
from lightning.pytorch.plugins.precision import Precision

from ..watched import Stopped
from .steering import Groups, TrainerRun, scores


class LightningRun(TrainerRun):
    """A Lightning Trainer under the dashboard: its own loop, the module's own schedule.

    Learning rate, clipping and weight decay are live. The module makes its optimizers when training begins; where the
    knobs turn out to have shown something else until then, they show what the optimizers say from then on.

    Args:
        trainer: that has not trained yet.
        arguments: what ``trainer.fit`` is called with: the module, its data.
        name: what the run is called; as the module's class if not given.

    Raises:
        ValueError: in one line, where there is no module, the trainer has trained already, or the module is in another
            run's hands.
    """

    def __init__(self, trainer: Trainer, arguments: tuple[Any, ...], *, name: str | None = None) -> None:
        if not arguments or not isinstance(arguments[0], LightningModule):
            raise ValueError("give lab.watch what trainer.fit is given: lab.watch(trainer, module, train_dataloader)")
        module = arguments[0]
        rate, decay = _asked_for(module)
        super().__init__(
            trainer,
            module,
            learning_rate=rate,
            max_norm=trainer.gradient_clip_val or None,
            weight_decay=decay,
            total_steps=trainer.max_steps if trainer.max_steps > 0 else None,
            name=name,
        )
        self._arguments = arguments

    def steps_before(self) -> int:
        """Those that ``trainer.fit`` has done."""
        return self.trainer.global_step

    def _loop(self) -> None:
        callback = SteeringCallback(self)
        before = list(self.trainer.callbacks)
        kept = [each for each in before if not isinstance(each, ProgressBar | ModelSummary)]
        self.trainer.callbacks = [*kept, callback]
        try:
            with callback.norm_of_clipping(self.trainer, self._arguments[0]):
                self.trainer.fit(*self._arguments)
        finally:
            self.trainer.callbacks = [*before, *(e for e in self.trainer.callbacks if e not in (*before, callback))]


class SteeringCallback(Callback):
    """What a Lightning Trainer is steered and recorded through, one record per batch after which an optimizer stepped.

    Args:
        run: that it belongs to.
    """

    def __init__(self, run: LightningRun) -> None:
        self.run = run
        self._loss = math.nan
        self._norm = math.nan
        self._told = False  # whether clipping tells the norm that it computes
        self._limit: float | None = None
        self._rates: tuple[float, ...] = ()
        self._steps = 0
        self._waited = False
        self._fresh = True  # whether the next batch begins a step

    @contextmanager
    def norm_of_clipping(self, trainer: Trainer, module: LightningModule) -> Iterator[None]:
        """Take the norm from Lightning's own clipping where that computes one, so that it is computed once."""
        precision = trainer.precision_plugin
        own = type(module).configure_gradient_clipping is not LightningModule.configure_gradient_clipping
        if own or type(precision).clip_grad_by_norm is not Precision.clip_grad_by_norm:
            yield
            return

        def clip_grad_by_norm(optimizer: Any, clip_val: float) -> None:
            self._norm = float(torch.nn.utils.clip_grad_norm_(precision.main_params(optimizer), clip_val))

        precision.clip_grad_by_norm = clip_grad_by_norm
        self._told = True
        try:
            yield
        finally:
            del precision.clip_grad_by_norm
            self._told = False

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        schedulers = [each.scheduler for each in trainer.lr_scheduler_configs]
        self._groups = Groups(trainer.optimizers, schedulers)
        self.run.corrects(learning_rate=self._groups.learning_rate, weight_decay=self._groups.weight_decay)
        total = trainer.estimated_stepping_batches
        self.run.begins(None if math.isinf(total) else int(total))
        self._steps, self._waited = trainer.global_step, True
        if not self.run.begin():
            raise Stopped

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if not self._fresh:
            return
        if not self._waited and not self.run.next_turn():
            raise Stopped  # Lightning tears down what it had set up
        self._waited = self._fresh = False
        self._loss = 0.0
        values = self.run.now
        self._groups.apply(values.learning_rate, values.weight_decay)
        if values.max_norm != (trainer.gradient_clip_val or None):
            trainer.gradient_clip_val = values.max_norm

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self._rates, self._limit = self._groups.learning_rates, trainer.gradient_clip_val or None
        if self._told and self._limit is not None and _clip_of(trainer) == "norm" and pl_module.automatic_optimization:
            return
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        self._norm = float(torch.nn.utils.get_total_norm(gradients)) if gradients else math.nan

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        self._loss += math.nan if loss is None else float(loss)
        if trainer.global_step == self._steps:
            return  # gradients are being added up
        self._steps, self._fresh = trainer.global_step, True
        self.run.add_step(
            self._loss,
            gradient_norm=self._norm,
            learning_rates=self._rates,
            max_norm=self._limit,
            clip=_clip_of(trainer),
            optimizer=f"{type(trainer.optimizers[0]).__name__} · Lightning",
            epoch=trainer.current_epoch + (batch_idx + 1) / max(1, trainer.num_training_batches),
        )
        if self.run.control.stopped and not self.run.next_turn():
            trainer.should_stop = True

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.sanity_checking:
            return
        found = {name: value for name, value in trainer.callback_metrics.items() if name.lower().startswith("val")}
        evaluation = scores(found, len(self.run.history))
        if evaluation is not None:
            self.run.add_evaluation(evaluation)


def _asked_for(module: LightningModule) -> tuple[float, float]:
    """Learning rate and weight decay as the module says beforehand, if it can."""
    try:
        with torch.random.fork_rng(devices=[]):
            made = module.configure_optimizers()
        optimizer = made["optimizer"] if isinstance(made, dict) else made
        while isinstance(optimizer, list | tuple):
            optimizer = optimizer[0]
        groups = Groups([optimizer], [])
        return groups.learning_rate, groups.weight_decay
    except Exception:  # it may well need the trainer, which is not there yet
        return 1e-3, 0.0


def _clip_of(trainer: Any) -> str:
    return "value" if trainer.gradient_clip_algorithm == "value" else "norm"
