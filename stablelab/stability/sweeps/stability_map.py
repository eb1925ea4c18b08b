"""The stability map: learning rate × clip threshold, and what a handful of seeds come to in each cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..._validation import whole
from ...training.settings import Settings
from ..spread import is_failed
from .batched_heads import Heads, evaluation_slices, mean_losses, new_heads, train_heads
from .grid import checked_grid, checked_seeds

Progress: TypeAlias = Callable[[int, int], object]


class FeatureTask(Protocol):
    """A task of features: what ``models.cached_features`` makes."""

    @property
    def classes(self) -> Sequence[str]: ...

    @property
    def train(self) -> Any: ...

    @property
    def validation(self) -> Any: ...

    def batches(self, seed: int, batch_size: int) -> Any:
        """With ``positions(k)``: the positions of batch k."""


@dataclass(frozen=True, eq=False)
class StabilityMap:
    """What S runs came to in each of L × M cells.

    Attributes:
        learning_rates, max_norms, seeds: L, M and S of them; the axes of the arrays, in this order.
        settings: all else that the runs were trained with.
        steps: of every run.
        batch_size: of every run.
        losses: (L, M, S) validation loss after the last step; inf where the run diverged.
        accuracies: (L, M, S) in [0, 1]; nan where it diverged.
        diverged: (L, M, S) whether it did: its training or validation loss, or its gradient, was not finite.
        failed: (L, M, S) diverged, or ended at or below the majority class (``is_failed``).
        clipped: (L, M, S) share of its steps that were clipped.
    """

    learning_rates: tuple[float, ...]
    max_norms: tuple[float | None, ...]
    seeds: tuple[int, ...]
    settings: Settings
    steps: int
    batch_size: int
    losses: np.ndarray
    accuracies: np.ndarray
    diverged: np.ndarray
    failed: np.ndarray
    clipped: np.ndarray

    @property
    def mean_loss(self) -> np.ndarray:
        """(L, M) over the seeds; inf where one of them diverged."""
        return self.losses.mean(axis=2)

    @property
    def spread_loss(self) -> np.ndarray:
        """(L, M) standard deviation over the seeds (n - 1); inf where one diverged, nan for a single seed."""
        return np.where(np.isinf(self.mean_loss), np.inf, _spread(self.losses))

    @property
    def mean_accuracy(self) -> np.ndarray:
        """(L, M) over the seeds; nan where one of them diverged."""
        return self.accuracies.mean(axis=2)

    @property
    def spread_accuracy(self) -> np.ndarray:
        """(L, M) standard deviation over the seeds (n - 1); nan where one diverged, and for a single seed."""
        return _spread(self.accuracies)

    @property
    def diverged_share(self) -> np.ndarray:
        """(L, M) share of the seeds that diverged."""
        return self.diverged.mean(axis=2)

    @property
    def failed_share(self) -> np.ndarray:
        """(L, M) share of the seeds that failed."""
        return self.failed.mean(axis=2)


def stability_map(
    task: FeatureTask,
    *,
    learning_rates: Sequence[float],
    max_norms: Sequence[float | None],
    seeds: Sequence[int] = range(4),
    settings: Settings | None = None,
    steps: int = 100,
    batch_size: int = 32,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> StabilityMap | None:
    """Train a new linear head for every learning rate, clip threshold and seed, all in one computation.

    A seed draws the new weights (as ``nn.Linear`` does) and the order of the data.

    Args:
        task: of features (``models.cached_features``): its inputs are (B, D).
        learning_rates: L of them.
        max_norms: M thresholds; None is no clipping.
        seeds: S of them.
        settings: of every run, but for learning rate and threshold.
        steps: of every run.
        batch_size: of every run.
        progress: called with (steps done by all runs together, all their steps).
        stop: asked after every step of each group of runs; once it says True the map is given up.

    Returns:
        The map, or None if ``stop`` said so.

    Raises:
        ValueError: inputs that are no features, a value that cannot be or is given twice, or settings that need more
            than a head (``why_not_batched``).
    """
    base = Settings() if settings is None else settings
    axes = checked_grid({"learning_rate": learning_rates, "max_norm": max_norms}, base)
    found = checked_seeds("seeds", seeds)
    shape = len(axes["learning_rate"]), len(axes["max_norm"]), len(found)
    own = [base.replace(learning_rate=rate, max_norm=bound) for rate, bound in product(*axes.values())]
    cells = len(own)
    train, validation = _features(task.train), _features(task.validation)
    weights, biases = new_heads(train[0].shape[1], len(task.classes), found)
    orders = [task.batches(seed, whole("batch_size", batch_size, at_least=1)).positions for seed in found]
    try:
        heads = train_heads(
            *train,
            weights.repeat(cells, 1, 1),  # the seeds change fastest, as in the arrays of the map
            biases.repeat(cells, 1),
            orders * cells,
            [each for each in own for _ in found],
            steps,
            _watch(progress, stop),
        )
    except _GivenUpError:
        return None
    losses, accuracies = _judge(heads, *validation)
    clipped = heads.clipped.float().mean(dim=1).numpy()
    columns = losses, accuracies, ~np.isfinite(losses), is_failed(accuracies, validation[1]), clipped
    arrays = (column.reshape(shape) for column in columns)
    return StabilityMap(axes["learning_rate"], axes["max_norm"], found, base, steps, batch_size, *arrays)


class _GivenUpError(Exception):
    """The map is no longer wanted."""


def _watch(progress: Progress | None, stop: Callable[[], bool] | None) -> Progress:
    def watch(done: int, total: int) -> None:
        if stop is not None and stop():
            raise _GivenUpError
        if progress is not None:
            progress(done, total)

    return watch


def _features(split: Any) -> tuple[Tensor, Tensor]:
    """Features (N, D) and targets (N,) of a split."""
    few, _ = split.collate(torch.arange(1))
    if not isinstance(few, Tensor) or few.dim() != 2:
        shape = f"shape {tuple(few.shape)}" if isinstance(few, Tensor) else f"kind {type(few).__name__}"
        raise ValueError(f"the task's inputs are of {shape}, not features (B, D); hand over models.cached_features")
    return split.collate(torch.arange(len(split)))


@torch.no_grad()
def _judge(heads: Heads, features: Tensor, targets: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Validation losses (R,), inf where a run diverged, and accuracies (R,), nan there."""
    losses, accuracies = torch.full((2, len(heads)), torch.nan, dtype=torch.float32)
    for runs in evaluation_slices(len(heads), len(features), heads.biases.shape[1]):
        logits = heads.logits(features, runs)  # (R, N, C)
        losses[runs] = mean_losses(logits, targets)
        accuracies[runs] = (logits.argmax(dim=2) == targets).float().mean(dim=1)
    over = torch.tensor([step is not None for step in heads.diverged]) | ~losses.isfinite()
    return losses.masked_fill(over, torch.inf).numpy(), accuracies.masked_fill(over, torch.nan).numpy()


def _spread(values: np.ndarray) -> np.ndarray:
    if values.shape[2] == 1:
        return np.full(values.shape[:2], np.nan)
    with np.errstate(invalid="ignore"):  # inf - inf, where a run diverged
        return values.std(axis=2, ddof=1)
