"""The training loop: a generator that yields one frozen ``Step`` per optimizer step. It knows no widget and no plot."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor, nn

from ..formulas import clip_, multiplier
from .building import apply, build, needs_rebuild
from .control import Control
from .evaluation import forward, to_device
from .lastgood import LastGood
from .randomness import one_step_at_a_time, step_randomness
from .record import Evaluation, Intervention, Step
from .settings import Settings
from .task import Batches

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]  # (logits (B, C), targets (B,)) -> mean loss ()


def steps(
    model: nn.Module,
    batches: Batches,
    loss: Loss,
    control: Control,
    *,
    total_steps: int,
    seed: int = 0,
    evaluate: Callable[[nn.Module, int], Evaluation] | None = None,
    evaluate_every: int = 0,
) -> Iterator[Step]:
    """Train, one optimizer step at a time; a script, a test, a sweep and the dashboard drain the same generator.

    Arguments:
        model: any classifier; trained in place, wherever its parameters are.
        batches: batch k as a pure function of k.
        loss: mean loss of (logits (B, C), targets (B,)).
        control: the settings are read once, at the start of each step; pause and stop act there too.
        total_steps: length of the run; cosine ends there.
        seed: of the randomness inside a step (dropout); step k sees the same whatever happened before it.
        evaluate: scores the model after a number of steps; called every ``evaluate_every`` steps and after the last.

    Yields:
        A ``Step`` for every batch. Where the loss or the gradient is not finite the step is marked ``diverged``, no
        update is made, the last good weights are put back, and the optimizer starts with fresh state.
    """
    trainer = _Trainer(model, batches, loss, total_steps, seed)
    for k in range(total_steps):
        settings = control.turn()
        if settings is None:
            return
        with one_step_at_a_time:
            step = trainer.step(k, settings)
        due = evaluate_every and (step.step % evaluate_every == 0 or step.step == total_steps)
        if evaluate is not None and due and not step.diverged and not control.stopped:
            evaluation = evaluate(model, step.step)
            trainer.validation_losses.append(evaluation.loss)
            step = replace(step, evaluation=evaluation)
        yield step


@dataclass
class _Trainer:
    """The state that lives from one step to the next."""

    model: nn.Module
    batches: Batches
    loss: Loss
    total_steps: int
    seed: int

    def __post_init__(self) -> None:
        self.device = next(self.model.parameters()).device
        self.validation_losses: list[float] = []
        self.last_good = LastGood(self.model)
        self.settings: Settings | None = None

    def step(self, k: int, settings: Settings) -> Step:
        """Step k (from 0) under these settings."""
        began = time.perf_counter()
        interventions = self._adopt(settings, k + 1)
        factor = multiplier(
            settings.schedule,
            k,
            self.total_steps,
            warmup_steps=settings.warmup_steps,
            gamma=settings.gamma,
            factor=settings.factor,
            patience=settings.patience,
            losses=self.validation_losses,
        )
        learning_rates = apply(settings, settings.learning_rate * factor, self.optimizer)
        inputs, targets = self.batches(k)
        loss = self._gradients(k, inputs, targets)
        gradients = [p.grad for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        before, after, clipped = clip_(gradients, settings.clip, settings.max_norm)
        diverged = not (math.isfinite(loss) and math.isfinite(before))
        kept = self._go_back(k, loss) if diverged else None
        if not diverged:
            self.last_good.offer(k)
            self.optimizer.step()
        seconds = time.perf_counter() - began
        return Step(
            step=k + 1,
            epoch=(k + 1) / self.batches.per_epoch,
            loss=loss,
            learning_rates=learning_rates,
            max_norm=settings.max_norm,
            clip=settings.clip,
            norm_before=before,
            norm_after=after,
            clipped=clipped,
            examples_per_second=len(targets) / seconds,
            tokens_per_second=_tokens(inputs, seconds),
            seconds=seconds,
            optimizer=settings.label,
            interventions=interventions,
            diverged=diverged,
            kept=kept,
        )

    def _adopt(self, settings: Settings, step: int) -> tuple[Intervention, ...]:
        """Take over new settings: what changed by hand, and another optimizer where one is asked for."""
        old, self.settings = self.settings, settings
        if old is None or needs_rebuild(old, settings):
            self.optimizer = build(self.model, settings)
        if old is None or old is settings:
            return ()
        return tuple(Intervention(step, *change) for change in old.differences(settings))

    def _gradients(self, k: int, inputs: Tensor | Mapping[str, Tensor], targets: Tensor) -> float:
        """Forward and backward with step k's randomness; leaves p.grad filled and returns the loss."""
        self.model.train()
        self.model.zero_grad(set_to_none=True)
        with step_randomness(self.seed, k, self.device), torch.enable_grad():
            logits = forward(self.model, to_device(inputs, self.device))
            loss = self.loss(logits, targets.to(self.device))
            loss.backward()
        return float(loss.detach())

    def _go_back(self, k: int, loss: float) -> int:
        """After a non-finite step: weights from before the trouble, and an optimizer that remembers none of it."""
        assert self.settings is not None
        self.optimizer = build(self.model, self.settings)
        # A finite loss with a non-finite gradient: the weights themselves are still good.
        return k if math.isfinite(loss) else self.last_good.restore()


def _tokens(inputs: Tensor | Mapping[str, Tensor], seconds: float) -> float | None:
    """Real tokens per second, padding not counted; None where there are none."""
    if not isinstance(inputs, Mapping) or "attention_mask" not in inputs:
        return None
    return float(inputs["attention_mask"].sum()) / seconds
