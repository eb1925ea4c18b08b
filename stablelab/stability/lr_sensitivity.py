"""How much it costs to miss the best learning rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from ._inputs import array
from .estimates import Estimate, bootstrapped


def learning_rate_sensitivity(
    losses: ArrayLike | Tensor, start_loss: ArrayLike | Tensor, *, level: float = 0.95, seed: int = 0
) -> Estimate:
    """LR sensitivity: E over η of min(ℓ(η), ℓ₀) - ℓ*, where ℓ₀ is the loss at the start and ℓ* the best in the range.

    0 says that every rate does as well as the best one; ℓ₀ - ℓ* would say that every rate but the best is useless.
    It is also 0 where no rate learns anything: read it beside the best loss. With several seeds, ℓ(η) is the mean over
    them, each taken as ℓ₀ where it ended above that, so that one run that diverged does not decide everything.

    Args:
        losses: (H,) or (H, S) the final loss for each of H learning rates, with each of S seeds; nan or inf where a run
            diverged. The mean runs over the rates as given: a grid with equal ratios weighs each order of magnitude
            alike. Two ways of training are compared on the same rates.
        start_loss: () or (S,) loss before the first step, finite.
        level: of the interval, between 0 and 1.
        seed: of the bootstrap.

    Returns:
        The estimate, with a percentile bootstrap interval over the seeds; a seed is drawn with all its rates.

    Raises:
        ValueError: one learning rate only, shapes that do not fit, or a start loss that is not finite.

    Source:
        Wortsman et al. 2023, "Small-scale proxies for large-scale Transformer training instabilities", Section 2.
    """
    found = array("losses", losses, 1, 2)
    found = found if found.ndim == 2 else found[:, None]  # (H, S)
    start = array("start_loss", start_loss, 0, 1)
    if len(found) < 2:
        raise ValueError("losses must be those of two or more learning rates; one tells nothing of sensitivity")
    if start.ndim and len(start) != found.shape[1]:
        raise ValueError(f"start_loss must be one number or {found.shape[1]}, one for each seed, not {len(start)}")
    if not np.isfinite(start).all():
        raise ValueError("start_loss must be finite: it is the loss before the first step")
    capped = np.where(found < start, found, start)  # nan is not below the start either

    def sensitivity(seeds: np.ndarray) -> np.ndarray:
        curve = capped[:, seeds].mean(axis=-1)  # (H, ...)
        return (curve - curve.min(axis=0)).mean(axis=0)

    return bootstrapped(sensitivity, capped.shape[1], level=level, seed=seed, method="percentile", of="seed")
