"""One run of a sweep: the loop drained from a point to an outcome, on one thread of the processor."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from ...formulas import cross_entropy
from ...training.checkpoints import Checkpoints
from ...training.control import Control
from ...training.evaluation import evaluate, predict
from ...training.loop import steps
from ...training.protocols import Augment, Task
from ...training.records import Step
from ..hessian import sharpness
from .grid import Point
from .outcome import Outcome


@dataclass(frozen=True, eq=False)
class Parts:
    """What one run trains on what.

    Arguments:
        model: what is trained: a whole model, or a head on its own.
        task: its training split is what this run may learn from.
        total_steps, batch_size: of the run.
        evaluate_every: steps between validations, which ``plateau`` and early stopping look at; 0 for none.
        sharpness: on how many training examples λ_max is measured at the end; 0 for not at all.
        layers, augment: as of ``Run``.
    """

    model: nn.Module
    task: Task
    total_steps: int
    batch_size: int
    evaluate_every: int = 0
    sharpness: int = 0
    layers: Sequence[Sequence[str]] | None = None
    augment: Augment | None = None


class Recipe(Protocol):
    """What a sweep hands to its workers; it can be pickled."""

    @property
    def classes(self) -> Sequence[str]: ...

    def describe(self) -> dict[str, Any]:
        """What decides the numbers of a run besides its point, as JSON values: data, model, length, code."""

    def check(self, point: Point) -> None:
        """Raise a one-line ValueError where this point cannot be run."""

    def prepare(self, point: Point) -> Parts:
        """A fresh model and the data for one run."""

    def runs_together(self, points: Sequence[Point]) -> bool:
        """Whether these runs can be done in one computation."""

    def run_together(self, points: Sequence[Point]) -> list[Outcome]:
        """What they come to, if so: the same as one by one, up to rounding."""


def run_one(recipe: Recipe, point: Point) -> Outcome:
    """Train from this point to the end. The numbers depend on the recipe and the point alone, not on the worker."""
    with one_thread():
        began = time.perf_counter()
        parts = recipe.prepare(point)
        start, _ = predict(parts.model, parts.task.validation)
        done = list(_until_divergence(parts, point))
        logits, targets = predict(parts.model, parts.task.validation)
        loss = float(cross_entropy(logits, targets))
        over = done[-1].diverged or not math.isfinite(loss)  # the last update may have been the one too many
        return Outcome(
            losses=np.array([step.loss for step in done], dtype=np.float32),
            norms=np.array([step.norm_before for step in done], dtype=np.float32),
            clipped=np.array([step.clipped and not step.diverged for step in done]),
            start_loss=float(cross_entropy(start, targets)),
            validation_loss=math.inf if over else loss,
            logits=(torch.full_like(logits, torch.nan) if over else logits).numpy(),
            targets=targets.numpy(),
            diverged=done[-1].step if over else None,
            sharpness=_sharpness(parts) if parts.sharpness and not over else None,
            seconds=time.perf_counter() - began,
        )


def _until_divergence(parts: Parts, point: Point) -> Iterator[Step]:
    """The steps, the one that diverges being the last."""
    loop = steps(
        parts.model,
        parts.task.batches(point.order, parts.batch_size),
        cross_entropy,
        Control(point.settings),
        total_steps=parts.total_steps,
        seed=point.order,
        evaluate=lambda model, step: evaluate(model, parts.task.validation, cross_entropy, step),
        evaluate_every=parts.evaluate_every,
        layers=parts.layers,
        augment=parts.augment,
        checkpoints=Checkpoints(memory=0),
    )
    for step in loop:
        yield step
        if step.diverged:
            return


def _sharpness(parts: Parts) -> float:
    examples = next(parts.task.train.batches(min(parts.sharpness, len(parts.task.train))))
    return sharpness(parts.model, *examples, training=False)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch's arithmetic, whose sums then come in one order: the same run has the same numbers in this
    process, in a worker and on a cluster. Workers side by side use the other cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
