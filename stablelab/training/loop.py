"""The training loop: a generator that yields one frozen ``Step`` per optimizer step. It knows no widget and no plot."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..formulas import clip_unread_, cross_entropy, multiplier
from ..formulas.losses import check_values
from .checkpoints import (
    MOST,
    SHARE_OF_TIME,
    Best,
    Checkpoint,
    Checkpoints,
    changing_tensors,
    copied,
    put_back,
    safe_interval,
    state_copied,
    trainable_names,
)
from .control import Control
from .evaluation import forward, to_device
from .param_groups import Layers, apply_settings, build_optimizer, needs_rebuild, step_together
from .precision import LossScale, autocast, check_precision, micro_batches
from .protocols import Augment, Batches, Inputs, Loss
from .records import Evaluation, Intervention, Step
from .reproducibility import SharedGenerator, one_step_at_a_time
from .settings import Settings


def steps(
    model: nn.Module,
    batches: Batches,
    loss: Loss,
    control: Control[Settings],
    *,
    total_steps: int | None,
    seed: int = 0,
    evaluate: Callable[[nn.Module, int], Evaluation] | None = None,
    evaluate_every: int = 0,
    layers: Sequence[Sequence[str]] | None = None,
    augment: Augment | None = None,
    checkpoints: Checkpoints | None = None,
) -> Iterator[Step]:
    """Train, one optimizer step at a time; a script, a test, a sweep and the dashboard drain the same generator.

    Args:
        model: any classifier; trained in place, wherever its parameters are.
        batches: batch k as a pure function of k; where it has a ``batch_size``, micro-batches of a smaller batch are
            as large as those of a whole one.
        loss: mean loss of (logits (B, C), targets (B,)).
        control: its settings are read once, at the start of each step; pause and stop act there too.
        total_steps: length of the run, where linear and cosine end; None: no end, until the control stops it.
        seed: of the randomness inside a step (dropout, augmentation); step k sees the same whatever happened before.
        evaluate: scores the model after a number of steps; called every ``evaluate_every`` steps and after the last.
        evaluate_every: steps between two validations; 0 for none.
        layers: of each layer, from the head down, the names of its modules; needed for ``layer_decay``, ``unfrozen``
            and ``unfreeze_every`` to mean anything.
        augment: (inputs, settings) -> inputs: other training inputs of the same classes, as the settings say.
        checkpoints: where states to go back to are kept; by default only what a divergence needs.

    Yields:
        A ``Step`` for every batch. Where the loss or the gradient is not finite the step is marked ``diverged``, no
        update is made, the last good weights are put back, and the optimizer starts with fresh state.

    Raises:
        ValueError: the model has nothing to train, ``layers`` does not fit it, or its device cannot compute in the
            precision of the settings.
    """
    loop = TrainingLoop(
        model,
        batches,
        loss,
        total_steps=total_steps,
        seed=seed,
        evaluate=evaluate,
        evaluate_every=evaluate_every,
        layers=layers,
        augment=augment,
        checkpoints=checkpoints,
    )
    return loop.steps(control)


class TrainingLoop:
    """What lives from one step to the next. The arguments are those of the function ``steps``.

    With ``accumulation`` a step is still that of one batch: it goes through the model in micro-batches, and the mean of
    their gradients, each weighted by its share of the examples, is that of the batch. So schedules, epochs, clipping
    and checkpoints count optimizer steps as ever, and the setting may change between two of them. Augmentation draws
    for the whole batch; dropout draws for each micro-batch, other numbers than for the whole. Batch norm normalizes an
    example by its micro-batch, which is another function of the weights: its gradient is another, and no weighting
    mends that. (Of a network of 16 units on 24 examples it was 30 per cent apart when cut in two, 71 when cut in eight;
    with layer norm less than 1e-6.)

    In fp16 a step whose gradient overflows is left out, and the scale of the loss is halved (see ``LossScale``). A loss
    that is not finite is a divergence in any precision, and so is an overflow that no scale is to blame for.

    Attributes:
        k: how many steps are done.
        best: the best weights so far, None before the first validation.
        trainable: the names of the parameters that may be trained.
        loss_scale: in fp16, of the loss of the next step.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Batches,
        loss: Loss,
        *,
        total_steps: int | None,
        seed: int = 0,
        evaluate: Callable[[nn.Module, int], Evaluation] | None = None,
        evaluate_every: int = 0,
        layers: Sequence[Sequence[str]] | None = None,
        augment: Augment | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self.model, self.batches, self.loss, self.total_steps, self.seed = model, batches, loss, total_steps, seed
        self.evaluate, self.evaluate_every, self.augment = evaluate, evaluate_every, augment
        self.device = next(model.parameters()).device
        self.layers = Layers(model, layers)
        self._randomness = SharedGenerator(model, seed)
        self.trainable, self._parameters = trainable_names(model), tuple(model.parameters())
        self.checkpoints = Checkpoints(memory=0) if checkpoints is None else checkpoints
        self.safe_interval = safe_interval(self._live())
        self.settings: Settings | None = None
        self._classes = 0
        self.validation_losses: list[float] = []
        self.best: Best | None = None
        self.loss_scale = LossScale()
        self.k = 0
        self._gesture_of: Callable[[str], int] = lambda name: 0
        self._gesture = 0  # the latest that a step has used
        self._diverged = self._over = False
        self._next_copy = 0.0  # by the clock; see SHARE_OF_TIME

    def go_on(self) -> None:
        """Train on although training had stopped early here."""
        self._over = False

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from there: model, optimizer and all else as they were, bit for bit."""
        put_back(checkpoint.weights, self._live())
        self.k, self.settings, self.best = checkpoint.step, checkpoint.settings, checkpoint.best
        self.validation_losses = list(checkpoint.validation_losses)
        self.loss_scale = checkpoint.loss_scale
        if self.settings is not None:
            self.optimizer = build_optimizer(self.layers.groups(), self.settings)
        if checkpoint.optimizer is not None:
            self.optimizer.load_state_dict(state_copied(checkpoint.optimizer))

    def steps(self, control: Control[Settings], until: int | None = None) -> Iterator[Step]:
        """Train on to step ``until``, or to the end; see ``steps`` of this module."""
        end = self.total_steps if until is None else until
        self._gesture_of, self._gesture = control.gesture_of, 0
        try:
            while (end is None or self.k < end) and not self._over:
                settings = control.turn()
                if settings is None:
                    return
                with one_step_at_a_time:
                    step = self._step(self.k, settings)
                last = step.step == self.total_steps
                due = self.evaluate_every and (step.step % self.evaluate_every == 0 or last)
                if self.evaluate is not None and due and not step.diverged and (last or not control.stopped):
                    with one_step_at_a_time:  # a probe of another thread must not change the model's mode meanwhile
                        step = self._judge(step, self.evaluate(self.model, step.step), settings)
                self.k += 1
                yield step
        finally:
            with one_step_at_a_time:
                self.layers.release()

    def _step(self, k: int, settings: Settings) -> Step:
        """Step k (from 0) under these settings."""
        began = time.perf_counter()
        gesture = self._new_gesture(settings)
        before_it = self._checkpoint(k, gesture)
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
        learning_rates = apply_settings(settings, settings.learning_rate * factor, self.optimizer)
        inputs, targets = self.batches(k)
        shares, losses = self._gradients(k, settings, inputs, targets)
        gradients = [p.grad for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        scale = self.loss_scale.value if settings.precision == "fp16" else 1.0
        if scale != 1.0:
            self.loss_scale.unscale_(gradients)
        report, values = clip_unread_(gradients, settings.clip, settings.max_norm), torch.stack(losses)
        if self._steps_unread():
            self._leave_out(report, values)
            step_together(self.optimizer)
        before, after, clipped, *parts = torch.cat([report.to(values.device), values]).tolist()  # a GPU waits only here
        loss = sum(share * part for share, part in zip(shares, parts, strict=True))
        overflows = scale > 1.0 and math.isfinite(loss) and not math.isfinite(before)
        diverged = not (math.isfinite(loss) and math.isfinite(before)) and not overflows
        if diverged and self.device.type == "cuda" and self.loss is cross_entropy:
            check_values(targets, self._classes)  # what a processor would have said before the step
        if settings.precision == "fp16":
            self.loss_scale = self.loss_scale.after(overflows)
        if before_it is not None and not diverged:  # only now is it known that its weights give a finite loss
            self.checkpoints.add(before_it, marked=gesture)
        kept = self._go_back(k, settings, loss, before_it) if diverged else None
        if not diverged and not overflows and not self._steps_unread():
            step_together(self.optimizer)
        self._diverged = diverged
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
            clipped=bool(clipped),
            examples_per_second=len(targets) / seconds,
            tokens_per_second=_tokens(inputs, seconds),
            seconds=seconds,
            optimizer=settings.label,
            interventions=interventions,
            diverged=diverged,
            kept=kept,
            disturbed=self._randomness.disturbed,
            scalars={"loss_scale": scale} if settings.precision == "fp16" else {},
        )

    def _new_gesture(self, settings: Settings) -> bool:
        """Whether these settings are the first of a gesture: of a drag of a slider only the first step is."""
        if self.settings is None or self.settings is settings:
            return False
        newest = max((self._gesture_of(name) for name, _, _ in self.settings.differences(settings)), default=0)
        new, self._gesture = newest > self._gesture, max(newest, self._gesture)
        return new

    def _checkpoint(self, k: int, gesture: bool) -> Checkpoint | None:
        """The state after k steps, if it is time for one, or if a gesture begins that one may want to take back."""
        began = time.perf_counter()
        newest = self.checkpoints.newest
        since = k if newest is None else k - newest.step
        safe = k % self.safe_interval == 0 or self._diverged
        spacing = (k if self.total_steps is None else self.total_steps) // MOST  # the fewest steps between two of them
        if not (safe or (gesture and since > 1) or (since >= max(1, spacing) and began >= self._next_copy)):
            return None
        optimizer = None if self.settings is None else state_copied(self.optimizer.state_dict())
        weights = copied(self._live())
        now = time.perf_counter()
        self._next_copy = now + (now - began) / SHARE_OF_TIME
        before = self.checkpoints.safe(k)
        safe_step = k if safe or before is None else before.step
        losses = tuple(self.validation_losses)
        return Checkpoint(k, self.settings, weights, optimizer, losses, self.best, safe_step, self.loss_scale)

    def _adopt(self, settings: Settings, step: int) -> tuple[Intervention, ...]:
        """Take over new settings: what changed by hand, and another optimizer where one is asked for."""
        old, self.settings = self.settings, settings
        if old is None or needs_rebuild(old, settings):
            self.optimizer = build_optimizer(self.layers.groups(), settings)
        if old is None or old.precision != settings.precision:
            check_precision(settings.precision, self.device)
            self.loss_scale = LossScale()
        if old is None or old is settings:
            return ()
        return tuple(Intervention(step, *each, self._gesture_of(each[0])) for each in old.differences(settings))

    def _gradients(
        self, k: int, settings: Settings, inputs: Inputs, targets: Tensor
    ) -> tuple[list[float], list[Tensor]]:
        """Forward and backward with step k's randomness; leaves p.grad filled; returns shares and losses."""
        self.layers.hold(self.layers.trained(settings, k))
        for parameter in self._parameters:  # as zero_grad() does, which goes through all modules again
            parameter.grad = None
        with self._randomness.step(k) as looked_at, torch.enable_grad():
            with looked_at:
                if self.augment is not None:
                    inputs = self.augment(inputs, settings)
            whole = getattr(self.batches, "batch_size", None)  # batches of the learner's own may not say
            shares, losses = [], []
            for part, right, share in micro_batches(inputs, targets, settings.accumulation, whole):
                with looked_at:
                    with autocast(settings.precision, self.device):
                        logits = forward(self.model, to_device(part, self.device))
                    if settings.precision != "fp32":
                        logits = logits.float()
                    self._classes = logits.shape[-1]
                    loss = self.loss(logits, right.to(self.device))
                weight = share * self.loss_scale.value if settings.precision == "fp16" else share
                (loss if weight == 1.0 else weight * loss).backward()
                shares.append(share)
                losses.append(loss.detach().reshape(()))
        return shares, losses

    def _steps_unread(self) -> bool:
        """Whether the optimizer itself leaves out what is not finite, so that a GPU need not be waited for before it.

        Torch's fused Adam and AdamW do. (So does its fused SGD, which then keeps a momentum that nobody has filled.)
        """
        return self.device.type == "cuda" and isinstance(self.optimizer, torch.optim.Adam)

    def _leave_out(self, report: Tensor, losses: Tensor) -> None:
        """Have the optimizer leave the next step out, weights, means and count, if a loss or the norm is not finite."""
        finite = losses.isfinite().all() & report[0].isfinite()
        self.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]

    def _go_back(self, k: int, settings: Settings, loss: float, before_it: Checkpoint | None) -> int:
        """After a non-finite step: weights from before the trouble, and an optimizer that remembers none of it."""
        self.optimizer = build_optimizer(self.layers.groups(), settings)
        # At the very first step there is no good state yet, but batch norm's statistics must be put back there too.
        good = self.checkpoints.safe(k) or before_it
        if math.isfinite(loss) or good is None:
            return k  # a non-finite gradient: the weights themselves are as good as they were
        put_back(good.weights, self._live())
        return good.step

    def _judge(self, step: Step, evaluation: Evaluation, settings: Settings) -> Step:
        """Take in a validation: remember the best weights, and stop early where that is asked for."""
        self.validation_losses.append(evaluation.loss)
        if math.isfinite(evaluation.loss) and (self.best is None or evaluation.loss < self.best.loss):
            self.best = Best(step.step, evaluation.loss, copied(self._live()))
        step = replace(step, evaluation=evaluation)
        if not settings.early_stopping or self.best is None:
            return step
        since = len(self.validation_losses) - 1 - self.validation_losses.index(self.best.loss)
        self._over = since >= settings.early_stopping
        at_the_end = step.step == self.total_steps
        if not self._over and not at_the_end:
            return step
        put_back(self.best.weights, self._live())
        return replace(step, kept=self.best.step, stopped_early=self._over and not at_the_end)

    def _live(self) -> dict[str, Tensor]:
        return changing_tensors(self.model, self.trainable)


def _tokens(inputs: Inputs, seconds: float) -> float | None:
    """Real tokens per second, padding not counted; None where there are none."""
    if not isinstance(inputs, Mapping) or "attention_mask" not in inputs:
        return None
    return float(inputs["attention_mask"].sum()) / seconds
