"""Hundreds of linear heads at once: the loop of ``training.loop`` on frozen features, in one batched computation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..._validation import whole
from ...training.settings import AUGMENTATIONS, Settings
from .head_blocks import Block, Order, plans
from .head_rules import FAMILIES

ALIGNED = 16  # columns to a multiple of which features are filled up: a cache line, without which products are slower
AT_ONCE = 2_000_000  # logits that are judged together
WITHOUT_LAYERS = {"layer_decay": 1.0, "unfrozen": None, "unfreeze_every": 0}


@dataclass(frozen=True, eq=False)
class Heads:
    """R trained heads, and how they came about over T steps.

    A run diverges at the first loss or gradient norm that is not finite: it ends there, before the update.

    Arguments:
        weights, biases: (R, C, D) and (R, C), after the last step; of a run that diverged, before the step at which it
            did.
        losses: (R, T) training loss of each step, before its update (nats); nan after a divergence.
        norms: (R, T) norm of the gradient of each step, before clipping; nan after a divergence.
        clipped: (R, T) whether it was clipped.
        diverged: for each run the step, from 1, at which it diverged, or None.
    """

    weights: Tensor
    biases: Tensor
    losses: Tensor
    norms: Tensor
    clipped: Tensor
    diverged: tuple[int | None, ...]

    def __len__(self) -> int:
        return len(self.weights)

    def logits(self, features: Tensor, runs: slice = slice(None)) -> Tensor:
        """(R, N, C): what each head, or each of a slice of them, says of the features (N, D)."""
        return logits_of(self.weights[runs], self.biases[runs], features)


def logits_of(weights: Tensor, biases: Tensor, features: Tensor) -> Tensor:
    """(R, N, C): what heads (R, C, D) with biases (R, C) say of the features (N, D)."""
    products = weights.flatten(0, 1) @ features.T  # (R · C, N): one product for all heads
    return (products.view(*biases.shape, -1) + biases[..., None]).transpose(1, 2)


def in_parts(runs: int, examples: int, classes: int) -> Iterator[slice]:
    """The runs, a few at a time, so that their logits on these examples take a few megabytes."""
    most = max(1, AT_ONCE // (examples * classes))
    return (slice(i, i + most) for i in range(0, runs, most))


def new_heads(dimensions: int, classes: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Weights (R, C, D) and biases (R, C) of new heads, as ``nn.Linear`` draws them after ``torch.manual_seed(seed)``.

    Arguments:
        dimensions: D, of the features.
        classes: C.
        seeds: R of them, one for each head.
    """
    weights, biases = torch.empty(len(seeds), classes, dimensions), torch.empty(len(seeds), classes)
    for seed, weight, bias in zip(seeds, weights, biases, strict=True):
        generator = torch.Generator().manual_seed(seed)
        nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
        nn.init.uniform_(bias, -1 / math.sqrt(dimensions), 1 / math.sqrt(dimensions), generator=generator)
    return weights, biases


def why_not_batched(settings: Settings) -> str:
    """Why ``train_heads`` cannot do a run with these settings, in a few words; empty if it can."""
    if settings.optimizer not in FAMILIES:
        return f"optimizer={settings.optimizer!r} is not one of {', '.join(FAMILIES)}"
    if settings.schedule == "plateau" or settings.early_stopping:
        name = "schedule" if settings.schedule == "plateau" else "early_stopping"
        return f"{name}={getattr(settings, name)!r} needs validations on the way"
    for name, usual in WITHOUT_LAYERS.items():
        if getattr(settings, name) != usual:
            return f"{name}={getattr(settings, name)!r} needs layers under the head"
    used = [name for name in AUGMENTATIONS if getattr(settings, name)]
    return f"{used[0]}={getattr(settings, used[0])!r} changes pictures, not features" if used else ""


@torch.no_grad()
def train_heads(
    features: Tensor,
    targets: Tensor,
    weights: Tensor,
    biases: Tensor,
    positions: Sequence[Order],
    settings: Sequence[Settings],
    steps: int,
    progress: Callable[[int, int], object] | None = None,
) -> Heads:
    """Train R linear heads on frozen features: for each the numbers of ``Trainer`` on an ``nn.Linear``, up to rounding.

    The loss is the mean cross-entropy of a batch. Runs with the same order share the work on its batches; runs whose
    optimizer, momentum, betas, eps, bias correction and kind of clip are the same are updated together. Learning rate,
    threshold, schedule and weight decay (of the weights; biases do not decay) may differ from run to run at no cost.

    Arguments:
        features: (N, D) float32, every number finite.
        targets: (N,) class numbers in 0..C-1.
        weights, biases: (R, C, D) and (R, C) float32, what each run starts from; not changed.
        positions: of each run, the batch k (from 0) as positions (B,) int64 into the features, as
            ``task.batches(seed, batch_size).positions``. Runs share an order if theirs are equal (the same object, or
            the same method of the same object). A training subset is an order that keeps to it.
        settings: of each run, the same throughout.
        steps: T ≥ 1; schedules end there.
        progress: called with (steps done by all runs together, R · T) after every step of each group of runs that is
            trained together; what it raises ends the training.

    Raises:
        ValueError: shapes that do not fit, targets that are no classes, features that are not finite, positions outside
            of the features, or settings that need more than a head (``why_not_batched``), naming the run.
    """
    _check(features, targets, weights, biases, positions, settings, steps)
    R, C, D = weights.shape
    inputs = torch.zeros(len(features), -(-(D + 1) // ALIGNED) * ALIGNED)
    inputs[:, :D], inputs[:, D] = features, 1  # the bias is the weight of a feature that is always 1
    theta = torch.zeros(R, C, inputs.shape[1])
    theta[..., :D], theta[..., D] = weights, biases
    losses, norms = torch.empty(2, R, steps)
    clipped, diverged = torch.empty(R, steps, dtype=torch.bool), torch.empty(R, dtype=torch.int64)
    done = 0
    for plan in plans(settings, positions, theta[0].numel(), len(positions[0](0)) * inputs.shape[1]):
        runs = torch.tensor(plan.runs)
        own = [settings[run] for run in plan.runs]
        block = Block(inputs, targets, theta[runs], D, plan.orders, own, steps)
        for step in block.train():
            if progress is not None:
                progress(done + step * len(own), R * steps)
        done += steps * len(own)
        theta[runs], losses[runs], norms[runs] = block.theta, block.losses.T, block.norms.T
        clipped[runs], diverged[runs] = block.clipped.T, block.diverged
    ends = tuple(step or None for step in diverged.tolist())
    return Heads(theta[..., :D].clone(), theta[..., D].clone(), losses, norms, clipped, ends)


def _check(
    features: Tensor,
    targets: Tensor,
    weights: Tensor,
    biases: Tensor,
    positions: Sequence[Order],
    settings: Sequence[Settings],
    steps: int,
) -> None:
    whole("steps", steps, at_least=1)
    if features.dim() != 2 or features.dtype != torch.float32 or len(features) != len(targets):
        shapes = f"{tuple(features.shape)} {features.dtype} and {tuple(targets.shape)}"
        raise ValueError(f"features must be (N, D) torch.float32 and targets (N,), not {shapes}")
    if weights.dim() != 3 or weights.shape[2] != features.shape[1] or biases.shape != weights.shape[:2]:
        shapes = f"{tuple(weights.shape)} and {tuple(biases.shape)}"
        raise ValueError(f"weights must be (R, C, {features.shape[1]}) and biases (R, C), not {shapes}")
    if not len(weights) == len(positions) == len(settings) or not len(weights):
        counts = f"{len(weights)}, {len(positions)} and {len(settings)}"
        raise ValueError(f"weights, positions and settings must be of the same runs, at least one, not {counts}")
    if not features.isfinite().all():
        raise ValueError("features hold nan or inf; every number must be finite")
    low, high = torch.stack(torch.aminmax(targets)).tolist()
    if low < 0 or high >= weights.shape[1]:
        classes = weights.shape[1]
        raise ValueError(f"targets must lie in 0..{classes - 1} for {classes} classes, but they span {low}..{high}")
    for run, own in enumerate(settings):
        reason = why_not_batched(own)
        if reason:
            raise ValueError(f"run {run} cannot be trained with the others: {reason}; train it by itself")
