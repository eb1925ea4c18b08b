"""The runs of a sweep that train a linear head on frozen features, all in one computation."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .batched_heads import Heads, in_parts, logits_of, train_heads
from .grid import Point
from .trial import Outcome


class _Order:
    """Batch k of one seed in one training subset, as positions in the whole training split."""

    def __init__(self, batches: Any, subset: Tensor | None) -> None:
        self.batches, self.subset = batches, subset

    def __call__(self, k: int) -> Tensor:
        positions = self.batches.positions(k)
        return positions if self.subset is None else self.subset[positions]


def run_heads(
    points: Sequence[Point],
    tasks: Sequence[Any],
    subsets: Sequence[Tensor | None],
    heads: Sequence[nn.Linear],
    whole: Any,
    steps: int,
    batch_size: int,
) -> list[Outcome]:
    """What ``run_one`` comes to for each point, up to rounding, in a fraction of the time.

    Arguments:
        points: R of them.
        tasks: the task that each learns from; those of one subset are the same object.
        subsets: of each, the positions of its training examples in the whole training split; None for all.
        heads: of each, the head that it begins with; not changed.
        whole: the task of all training examples, its inputs features (B, D).
        steps, batch_size: of every run.
    """
    began = time.perf_counter()
    features, targets = whole.train.collate(torch.arange(len(whole.train)))
    orders: dict[tuple[int, int | None], _Order] = {}
    for point, task, subset in zip(points, tasks, subsets, strict=True):
        if (point.order, point.subset) not in orders:
            batches = task.batches(point.order, batch_size)
            orders[point.order, point.subset] = _Order(batches, subset)
    weights = torch.stack([head.weight.detach().cpu() for head in heads])  # (R, C, D)
    biases = torch.stack([head.bias.detach().cpu() for head in heads])  # (R, C)
    positions = [orders[point.order, point.subset] for point in points]
    found = train_heads(features, targets, weights, biases, positions, [p.settings for p in points], steps)
    judged, right = (torch.cat(parts) for parts in zip(*whole.validation.batches(64), strict=True))
    judgements: list[tuple[float, float, Tensor]] = []
    for runs in in_parts(len(points), len(right), weights.shape[1]):
        logits = found.logits(judged, runs)
        starts = _losses(logits_of(weights[runs], biases[runs], judged), right)
        judgements += zip(starts, _losses(logits, right), logits, strict=True)
    seconds = (time.perf_counter() - began) / len(points)
    return [_outcome(found, r, *judgements[r], right, seconds) for r in range(len(points))]


def _losses(logits: Tensor, targets: Tensor) -> list[float]:
    """Mean cross-entropy of each run, from logits (R, N, C) and targets (N,)."""
    each = cross_entropy(logits.transpose(1, 2), targets.expand(len(logits), -1), reduction="none")
    return each.mean(dim=1).tolist()


def _outcome(
    found: Heads, r: int, start: float, end: float, logits: Tensor, targets: Tensor, seconds: float
) -> Outcome:
    done = found.diverged[r] or found.losses.shape[1]
    over = found.diverged[r] is not None or not math.isfinite(end)
    return Outcome(
        losses=found.losses[r, :done].numpy(),
        norms=found.norms[r, :done].numpy(),
        clipped=found.clipped[r, :done].numpy(),
        start_loss=start,
        validation_loss=math.inf if over else end,
        logits=(torch.full_like(logits, torch.nan) if over else logits).numpy(),
        targets=targets.numpy(),
        diverged=done if over else None,
        sharpness=None,
        seconds=seconds,
    )
