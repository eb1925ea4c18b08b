"""All that a plain PyTorch loop does, as one frozen recipe, and the loop that follows it and keeps what it saw."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...training.protocols import Inputs, Loss
from ..setup import TensorExamples, TrainingSetup
from ..training_log import TrainingLog
from .record import Observed, RunRecord

MakeOptimizer: TypeAlias = Callable[[Iterable[nn.Parameter], float, float], torch.optim.Optimizer]
Schedule: TypeAlias = Callable[[int, int], float]  # (step from 0, steps of the run) -> factor of the learning rate
Change: TypeAlias = Callable[[nn.Module], object]  # of a model, in place
OnBatch: TypeAlias = Callable[[int, Inputs, Tensor], tuple[Inputs, Tensor]]  # (step from 0, inputs, targets)
OnStep: TypeAlias = Callable[[int, nn.Module], object]  # (step from 0, model), before the step

VALIDATIONS = 12
OBSERVED = 9  # steps of a run at which peers look at weights and gradients
INACTIVE = 0.01  # of its outputs: a unit of which fewer are not 0 is dead, as SageMaker Debugger's DeadRelu has it


def adamw(parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """torch's AdamW."""
    return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)


def sgd(parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """torch's SGD with momentum 0.9."""
    return torch.optim.SGD(parameters, lr=learning_rate, momentum=0.9, weight_decay=weight_decay)


def constant(k: int, steps: int) -> float:
    """The same learning rate at every step."""
    return 1.0


def linear_to_0(k: int, steps: int) -> float:
    """A learning rate that falls on a line, to 0 after the last step."""
    return max(0.0, 1 - k / steps)


def cosine_to_0(k: int, steps: int) -> float:
    """A learning rate that falls on half a cosine, to 0 after the last step."""
    return 0.5 * (1 + math.cos(math.pi * k / steps))


@dataclass(frozen=True, eq=False)
class Recipe:
    """What a loop does.

    Args:
        name: of the task.
        make_model: a new model; its random numbers come from torch's generator, which ``train`` has seeded.
        train: the examples to learn from.
        validation: those to judge by while it trains.
        test: clean ones, for the true accuracy; the loop never looks at them.
        classes: C.
        learning_rate: the highest.
        steps: how many.
        batch_size: examples per step.
        make_optimizer: (parameters, learning rate, weight decay) -> optimizer.
        weight_decay: of the optimizer.
        schedule: (step from 0, steps) -> factor of the learning rate.
        warmup: steps over which the learning rate rises on a line to its plan.
        max_norm: the gradient is clipped to this L2 norm; None does not clip.
        zero_every: ``optimizer.zero_grad()`` before every so many steps; 0 for never.
        loss: of logits (B, C) and targets (B,).
        half: activations and their gradients are rounded to fp16, what is too small to 0 and too large to ±inf, as
            autocast does it; the weights stay in float32.
        loss_scale: the loss is multiplied by it before ``backward``, and the gradients divided by it after.
        shuffled: each epoch draws a new order; else the examples come as they lie.
        eval_from: the step, from 0, from which the loop trains in evaluation mode; None for never.
        validates_in_training_mode: whether ``model.eval()`` is missing before a validation.
        validation_batch: examples per batch of a validation.
        before_optimizer: changes of the model before the optimizer is built.
        after_optimizer: changes of the model after it is built.
        on_batch: (step from 0, inputs, targets) -> the batch that is trained on.
        on_step: called with (step from 0, model) before each step.
        resume_at: the step, from 0, at which the run goes on with a new optimizer, and its plan anew but for the
            warm-up.
        tokenizer: of texts.
        onset: the last step before a fault is at work.
    """

    name: str
    make_model: Callable[[], nn.Module]
    train: TensorExamples
    validation: TensorExamples
    test: TensorExamples
    classes: int
    learning_rate: float
    steps: int
    batch_size: int
    make_optimizer: MakeOptimizer = adamw
    weight_decay: float = 0.0
    schedule: Schedule = constant
    warmup: int = 0
    max_norm: float | None = None
    zero_every: int = 1
    loss: Loss = F.cross_entropy
    half: bool = False
    loss_scale: float = 1.0
    shuffled: bool = True
    eval_from: int | None = None
    validates_in_training_mode: bool = False
    validation_batch: int = 64
    before_optimizer: tuple[Change, ...] = ()
    after_optimizer: tuple[Change, ...] = ()
    on_batch: OnBatch | None = None
    on_step: OnStep | None = None
    resume_at: int | None = None
    tokenizer: Any = None
    onset: int = 0

    def factor(self, k: int) -> float:
        """Of the learning rate at step k, from 0: the schedule, and the warm-up in front of it."""
        if self.resume_at is not None and k >= self.resume_at:
            return self.schedule(k - self.resume_at, self.steps)
        return self.schedule(k, self.steps) * (min(1.0, (k + 1) / self.warmup) if self.warmup else 1.0)


def train(
    recipe: Recipe,
    seed: int,
    *,
    kind: str = "clean",
    severity: float = 0.0,
    record: Callable[..., object] | None = None,
) -> RunRecord:
    """Follow a recipe. Torch's global generator is left as it was.

    Args:
        recipe: what to do.
        seed: of the weights, the order of the examples, and dropout.
        kind: what is written on the record.
        severity: what is written on the record.
        record: called at each step with ``loss``, ``gradient_norm`` and ``learning_rate``, and with ``validation_loss``
            and ``validation_accuracy`` where it validated, such as ``live.record`` of ``lab.watch``.

    Returns:
        The record, with the setup as the loop left it: after the last step, in the mode of that step.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _train(recipe, seed, kind, severity, record)


def _train(recipe: Recipe, seed: int, kind: str, severity: float, record: Callable[..., object] | None) -> RunRecord:
    began = time.perf_counter()
    model = recipe.make_model()
    for change in recipe.before_optimizer:
        change(model)
    optimizer = recipe.make_optimizer(_trained(model), recipe.learning_rate, recipe.weight_decay)
    for change in recipe.after_optimizer:
        change(model)
    order = _Order(len(recipe.train), recipe.batch_size, recipe.shuffled)
    validate_at = {round(recipe.steps * (i + 1) / VALIDATIONS) for i in range(VALIDATIONS)}
    observe_at = {max(1, round(recipe.steps * (i + 1) / OBSERVED)) for i in range(OBSERVED)} | {1}
    observer = _Observer(model)
    rows: list[tuple[float, float, float]] = []
    judged: list[tuple[int, float, float]] = []
    hits: list[float] = []
    wrong: list[tuple[Tensor, Tensor]] = []
    for k in range(recipe.steps):
        inputs, targets = recipe.train.collate(order(k))
        if recipe.on_batch is not None:
            inputs, targets = recipe.on_batch(k, inputs, targets)
        if recipe.on_step is not None:
            recipe.on_step(k, model)
        if k == recipe.resume_at:
            known = optimizer.param_groups[0]["params"]
            optimizer = recipe.make_optimizer(known, recipe.learning_rate, recipe.weight_decay)
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * recipe.factor(k)
        model.train(recipe.eval_from is None or k < recipe.eval_from)
        with _rounded_to_half(model, recipe.half), observer.watching(k + 1 in observe_at):
            logits = forward(model, inputs)
            loss = recipe.loss(logits, targets)
            if recipe.zero_every and k % recipe.zero_every == 0:
                optimizer.zero_grad()
            (loss * recipe.loss_scale).backward()
        if recipe.loss_scale != 1:
            for p in model.parameters():
                if p.grad is not None:
                    p.grad.div_(recipe.loss_scale)
        observer.before_step(k + 1)
        norm = float(nn.utils.clip_grad_norm_(model.parameters(), recipe.max_norm or math.inf))
        rate = float(optimizer.param_groups[0]["lr"])
        optimizer.step()
        observer.after_step()
        rows.append((loss.item(), rate, norm))
        right = logits.detach().argmax(1) == targets
        hits.append(float(right.float().mean()))
        wrong.append((targets[~right].bincount(minlength=recipe.classes), targets.bincount(minlength=recipe.classes)))
        said: dict[str, float] = {}
        if k + 1 in validate_at:
            mode = model.training
            model.train(recipe.validates_in_training_mode)
            judged.append((k + 1, *judge(recipe, model, recipe.validation)))
            model.train(mode)
            said = {"validation_loss": judged[-1][1], "validation_accuracy": judged[-1][2]}
        if record is not None:
            record(loss=rows[-1][0], gradient_norm=norm, learning_rate=rate, **said)
    seconds = time.perf_counter() - began
    mode = model.training
    model.eval()
    rightly = judge(recipe, model, recipe.validation)
    true = judge(recipe, model, recipe.test)
    probability = _is_probability(forward(model, recipe.train.collate(torch.arange(min(8, len(recipe.train))))[0]))
    model.train(mode)
    log = _log(recipe, optimizer, np.array(rows, dtype=float), np.array(judged, dtype=float).reshape(-1, 3))
    outcome = dict(
        zip(
            ("reported_loss", "reported_accuracy", "right_loss", "right_accuracy", "true_loss", "true_accuracy"),
            (*judged[-1][1:], *rightly, *true),
            strict=True,
        )
    )
    return RunRecord(
        task=recipe.name,
        kind=kind,
        severity=severity,
        seed=seed,
        log=log,
        observed=observer.observed(recipe, hits, wrong, probability),
        outcome=outcome | {"seconds": seconds},
        onset=recipe.onset,
        live=TrainingSetup(
            model=model,
            train=recipe.train,
            validation=recipe.validation,
            optimizer=optimizer,
            loss=recipe.loss if recipe.loss_scale == 1 else partial(_scaled_loss, recipe.loss, recipe.loss_scale),
            batch_size=recipe.batch_size,
            classes=recipe.classes,
            tokenizer=recipe.tokenizer,
            log=log,
        ),
    )


def forward(model: nn.Module, inputs: Inputs) -> Tensor:
    """(B, C) logits, whether the inputs are one tensor or named ones."""
    output = model(**inputs) if isinstance(inputs, Mapping) else model(inputs)
    logits: Tensor = getattr(output, "logits", output)
    return logits


@torch.no_grad()
def judge(recipe: Recipe, model: nn.Module, examples: TensorExamples) -> tuple[float, float]:
    """Mean loss and accuracy, in the mode that the model is in."""
    losses = hits = 0.0
    for inputs, targets in examples.batches(recipe.validation_batch):
        logits = forward(model, inputs)
        loss = float(recipe.loss(logits, targets))
        losses += loss * len(targets)
        hits += float((logits.argmax(1) == targets).sum())
    return losses / len(examples), hits / len(examples)


def _spread(gradient: Tensor, entries: int = 4096) -> float:
    """95th less 5th percentile of evenly spaced entries."""
    some = gradient.flatten()[:: max(1, gradient.numel() // entries)]
    return float(some.quantile(0.95) - some.quantile(0.05))


class _Order:
    """Which examples make batch k, in a new order each epoch where they are shuffled."""

    def __init__(self, n: int, batch_size: int, shuffled: bool) -> None:
        self.n, self.batch_size, self.shuffled = n, min(batch_size, n), shuffled
        self.per_epoch = max(1, n // self.batch_size)  # a last batch that is not full is dropped
        self.order = torch.arange(n)

    def __call__(self, k: int) -> Tensor:
        place = k % self.per_epoch
        if place == 0 and self.shuffled:
            self.order = torch.randperm(self.n)
        return self.order[place * self.batch_size : (place + 1) * self.batch_size]


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


def _scaled_loss(loss: Loss, scale: float, logits: Tensor, targets: Tensor) -> Tensor:
    return loss(logits, targets) * scale


def _is_probability(outputs: Tensor) -> bool:
    return bool(((outputs >= 0) & (outputs <= 1)).all() and ((outputs.sum(1) - 1).abs() < 1e-4).all())


def _log(
    recipe: Recipe,
    optimizer: torch.optim.Optimizer,
    rows: np.ndarray[Any, np.dtype[np.float64]],
    judged: np.ndarray[Any, np.dtype[np.float64]],
) -> TrainingLog:
    """What such a loop writes down, and what is known of it beside: all of it a reader of the loop can see."""
    bad = np.flatnonzero(~np.isfinite(rows[:, [0, 2]]).all(axis=1))
    shares = _shares(recipe)
    shares = shares[shares > 0]
    adam = "betas" in optimizer.defaults
    group = optimizer.param_groups[0]
    return TrainingLog(
        source=f"a loop on {recipe.name}",
        steps=np.arange(1, len(rows) + 1, dtype=float),
        losses=rows[:, 0],
        learning_rates=rows[:, 1],
        norms=rows[:, 2],
        max_norms=np.full(len(rows), recipe.max_norm, dtype=float) if recipe.max_norm is not None else np.empty(0),
        validation_steps=judged[:, 0],
        validation_losses=judged[:, 1],
        accuracies=judged[:, 2],
        not_finite=int(bad[0]) + 1 if len(bad) else None,
        classes=recipe.classes,
        label_entropy=float(-(shares * np.log(shares)).sum()),
        batch_size=recipe.batch_size,
        steps_per_epoch=_Order(len(recipe.train), recipe.batch_size, recipe.shuffled).per_epoch,
        total_steps=recipe.steps,
        over=True,
        optimizer=type(optimizer).__name__,
        parameters=sum(p.numel() for each in optimizer.param_groups for p in each["params"] if p.requires_grad),
        bias_correction=bool(group.get("bias_correction", True)) if adam else None,
        warmup_steps=recipe.warmup,
    )


def _shares(recipe: Recipe) -> np.ndarray[Any, np.dtype[np.float64]]:
    counts = torch.bincount(recipe.train.targets, minlength=recipe.classes)
    return (counts / counts.sum()).numpy().astype(float)


class _Half(torch.autograd.Function):
    """A tensor rounded to fp16 on its way forward, and its gradient on its way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.half().float()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].half().float()


@contextmanager
def _rounded_to_half(model: nn.Module, wanted: bool) -> Iterator[None]:
    """Within it what every layer returns is rounded to fp16, and so is the gradient that comes back to it."""

    def hook(module: nn.Module, arguments: Any, output: Any) -> Any:
        return _Half.apply(output) if isinstance(output, Tensor) and output.is_floating_point() else output

    layers = [module for module in model.modules() if not any(True for _ in module.children())] if wanted else []
    handles = [module.register_forward_hook(hook) for module in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Observer:
    """Looks at weights, gradients and activations at the steps that it is told to."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.weights = [(name, p) for name, p in model.named_parameters() if p.ndim >= 2]
        active = (nn.ReLU, nn.GELU)
        self.active = [
            (name, m)
            for name, m in model.named_modules()
            if isinstance(m, active) or type(m).__name__ == "GELUActivation"
        ]
        self.steps: list[int] = []
        self.rows: list[list[list[float]]] = []  # (K, quantities, W)
        self.outputs: list[list[tuple[float, ...]]] = []  # (K, A, quantities)
        self.before: list[Tensor] = []
        self.seen: dict[str, tuple[float, ...]] = {}
        self.variances: dict[str, float] = {}
        self.now = False

    @contextmanager
    def watching(self, now: bool) -> Iterator[None]:
        """Within it activations are looked at, where it is the time."""
        self.now = now
        handles = []
        if now:
            self.seen = {}
            for name, module in self.active:

                def before(module: nn.Module, arguments: Any, name: str = name) -> None:  # ReLU may work in place
                    self.variances[name] = float(arguments[0].detach().var())

                def after(module: nn.Module, arguments: Any, output: Tensor, name: str = name) -> None:
                    active = (output.detach() != 0).float()
                    of_unit = active.transpose(1 if active.ndim == 4 else -1, 0).flatten(1).mean(1)
                    self.seen[name] = (
                        1 - float(active.mean()),
                        float((of_unit < INACTIVE).float().mean()),
                        self.variances[name],
                    )

                handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @torch.no_grad()
    def before_step(self, step: int) -> None:
        """Look at the gradients."""
        if not self.now:
            return
        means, largest, none, norms, spreads, sizes = [], [], [], [], [], []
        for _, p in self.weights:
            g = None if p.grad is None else p.grad.abs()
            means.append(math.nan if g is None else float(g.mean()))
            largest.append(math.nan if g is None else float(g.max()))
            none.append(math.nan if g is None else float((g == 0).float().mean()))
            norms.append(math.nan if g is None else float(g.norm()))
            spreads.append(math.nan if p.grad is None else _spread(p.grad))
            sizes.append(float(p.abs().mean()))
        self.steps.append(step)
        self.rows.append([means, largest, none, norms, spreads, sizes])
        self.outputs.append([self.seen.get(name, (math.nan,) * 3) for name, _ in self.active])
        self.before = [p.clone() for _, p in self.weights]

    @torch.no_grad()
    def after_step(self) -> None:
        """Look at what the step did."""
        if not self.now:
            return
        ratios = []
        for (_, p), before in zip(self.weights, self.before, strict=True):
            ratios.append(float((p - before).norm()) / max(float(before.norm()), 1e-30))
        self.rows[-1].append(ratios)
        self.before, self.now = [], False

    def observed(
        self, recipe: Recipe, hits: list[float], wrong: list[tuple[Tensor, Tensor]], probability: bool
    ) -> Observed:
        """All that was seen."""
        table = np.array(self.rows, dtype=float).reshape(len(self.steps), 7, len(self.weights))
        outputs = np.array(self.outputs, dtype=float).reshape(len(self.steps), len(self.active), 3)
        counts = torch.stack([torch.stack(each) for each in wrong]).double()  # (N, 2, C): of each class wrong, and all
        windows = [counts[begin:end].sum(0) for begin, end in zip([0, *self.steps], self.steps, strict=False)]
        inputs: dict[str, float] = {}
        if isinstance(recipe.train.inputs, Tensor):
            x = recipe.train.inputs
            inputs = {"min": float(x.min()), "max": float(x.max()), "mean": float(x.mean()), "std": float(x.std())}
        elif "input_ids" in recipe.train.inputs:
            inputs = {"zeros": float((recipe.train.inputs["input_ids"] == 0).float().mean())}
        dropouts = [m for m in self.model.modules() if isinstance(m, nn.Dropout)]
        return Observed(
            steps=np.array(self.steps, dtype=float),
            weights=tuple(name for name, _ in self.weights),
            sizes=np.array([p.numel() for _, p in self.weights], dtype=float),
            gradient_mean=table[:, 0],
            gradient_max=table[:, 1],
            gradient_zeros=table[:, 2],
            gradient_norm=table[:, 3],
            gradient_spread=table[:, 4],
            weight_mean=table[:, 5],
            update_ratio=table[:, 6],
            activations=tuple(name for name, _ in self.active),
            zeros=outputs[:, :, 0],
            dead=outputs[:, :, 1],
            input_variance=outputs[:, :, 2],
            batch_accuracies=np.array(hits, dtype=float),
            class_errors=torch.stack([amiss / every for amiss, every in windows]).numpy(),
            class_shares=_shares(recipe),
            inputs=inputs,
            dropout=max((m.p for m in dropouts), default=0.0),
            output_is_probability=probability,
        )
