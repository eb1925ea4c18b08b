"""What the course of a run tells: how soon, how often clipped, how near the edge of stability."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from .._validation import number, whole
from ._inputs import array
from .estimates import Estimate
from .spread import mean, median


def steps_to_loss(losses: ArrayLike | Tensor, target: float, window: int = 10) -> int | None:
    """The number of steps after which the loss, averaged over the last `window` steps, is first at or below a target.

    Args:
        losses: (T,) loss of each step of one run (nats).
        target: the loss to reach, finite.
        window: steps averaged, 1 or more; the loss of a single batch is too noisy to count. The first window - 1 steps
            have no such average yet.

    Returns:
        Steps, from `window` to T; None where the run never gets there, or is shorter than the window.

    Raises:
        ValueError: losses that are not (T,), or a target or window out of its range.
    """
    number("target", target)
    whole("window", window, at_least=1)
    found = array("losses", losses, 1)
    if len(found) < window:
        return None
    smooth = np.lib.stride_tricks.sliding_window_view(found, window).mean(axis=1)
    there = np.flatnonzero(smooth <= target)
    return int(there[0]) + window if len(there) else None


def median_steps_to_loss(
    runs: Sequence[ArrayLike | Tensor], target: float, window: int = 10, *, level: float = 0.95
) -> Estimate:
    """The median over runs of `steps_to_loss`, where a run that never gets there counts as slower than any other.

    A mean would have to leave such runs out, and so favour settings under which only the lucky ones get there.

    Args:
        runs: the losses (T,) of each run; they may differ in length.
        target: see `steps_to_loss`.
        window: see `steps_to_loss`.
        level: of the interval, between 0 and 1.

    Returns:
        The median, inf where half of the runs or more never get there; see `median` for the interval.

    Raises:
        ValueError: no runs, or see `steps_to_loss`.
    """
    found = [steps_to_loss(losses, target, window) for losses in runs]
    return median([math.inf if steps is None else steps for steps in found], level=level)


def clipped_share(runs: Sequence[ArrayLike | Tensor], *, level: float = 0.95, seed: int = 0) -> Estimate:
    """The share of a run's steps whose gradient was clipped, as the mean over runs.

    Args:
        runs: for each run (T,) True where clipping changed the gradient; they may differ in length. One run is [run].
        level: of the interval, between 0 and 1.
        seed: of the bootstrap.

    Returns:
        The share, 0 to 1, with a bootstrap interval over the runs. Steps of one run are no independent trials, so they
        make no interval.

    Raises:
        ValueError: no runs, or something other than True and False.
    """
    shares = []
    for number_of, run in enumerate(runs):
        clipped = array(f"run {number_of}", run, 1)
        if not np.isin(clipped, (0, 1)).all():
            raise ValueError(f"run {number_of} must hold True or False for each step")
        shares.append(clipped.mean())
    return mean(shares, level=level, seed=seed)


def sharpness_against(sharpness: ArrayLike | Tensor, learning_rate: ArrayLike | Tensor) -> float | np.ndarray:
    """Sharpness over 2/η, the largest at which plain gradient descent is stable: λ_max η / 2.

    Above 1 a step along the sharpest direction overshoots by more than it was off, on a quadratic. The threshold is
    that of full-batch descent without momentum. Adam's concerns the Hessian preconditioned by its second moments,
    λ_max(P⁻¹H), which has to stay below 38/η at β₁ = 0.9; the plain sharpness may lie far above 2/η under Adam.

    Args:
        sharpness: λ_max of the loss's Hessian, any shape; nan gives nan.
        learning_rate: η above 0, of a shape that broadcasts with it.

    Returns:
        A float for two numbers, else an array.

    Raises:
        ValueError: a learning rate that is not above 0, or shapes that do not go together.

    Source:
        Cohen et al. 2021, "Gradient descent on neural networks typically occurs at the edge of stability"; Adam:
        Cohen et al. 2022, "Adaptive gradient methods at the edge of stability".
    """
    curvature = array("sharpness", sharpness, 0, 1, 2)
    rates = array("learning_rate", learning_rate, 0, 1, 2)
    if not (np.isfinite(rates).all() and (rates > 0).all()):
        raise ValueError("learning_rate must be above 0, and finite")
    try:
        found = curvature * rates / 2
    except ValueError:
        raise ValueError(f"sharpness {curvature.shape} and learning_rate {rates.shape} do not go together") from None
    return float(found) if found.ndim == 0 else found
