"""How many predictions change when nothing but the seed does."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from ._inputs import array
from .estimates import Estimate, bootstrapped, without_interval


def pairwise_churn(predictions: ArrayLike | Tensor) -> np.ndarray:
    """For each pair of runs, the share of examples that they put into different classes.

    Args:
        predictions: (R, N) class numbers of N examples by R runs.

    Returns:
        (R, R) symmetric, 0 to 1, with zeros on the diagonal.

    Raises:
        ValueError: not class numbers (R, N).

    Source:
        Milani Fard et al. 2016, "Launch and iterate: reducing prediction churn"; between runs of one recipe:
        Bhojanapalli et al. 2021, "On the reproducibility of neural network predictions".
    """
    found = array("predictions", predictions, 2)
    if not np.isfinite(found).all() or (found != np.floor(found)).any():
        raise ValueError("predictions must be class numbers (R, N); of logits take the argmax over the classes")
    return np.stack([(found != one).mean(axis=1) for one in found])


def churn(predictions: ArrayLike | Tensor, *, level: float = 0.95, seed: int = 0) -> Estimate:
    """The share of predictions that differ between two runs, as the mean over all pairs of runs.

    Two runs of one accuracy may disagree on many examples: churn sees what a spread of accuracies does not.

    Args:
        predictions: (R, N) class numbers by run and example, or (R, N, C) logits. Runs with logits that are not finite
            or a class below 0 (they diverged, and predict nothing) are left out and counted.
        level: of the interval, between 0 and 1.
        seed: of the bootstrap.

    Returns:
        The estimate, with a percentile bootstrap interval over the runs. A resample holds some runs twice; pairs of a
        run with itself do not count. Of one run there is no churn: the value is nan.

    Raises:
        ValueError: not class numbers (R, N) or logits (R, N, C).

    Source:
        See `pairwise_churn`.
    """
    found = array("predictions", predictions, 2, 3)
    gone = ~np.isfinite(found).reshape(len(found), -1).all(axis=1)
    if found.ndim == 3:
        found = found.argmax(axis=-1)
    gone |= (found < 0).any(axis=1)
    kept, left_out = found[~gone], int(gone.sum())
    if len(kept) < 2:
        why = "one run: no churn, no interval" if len(kept) else "no run with predictions"
        return without_interval(np.nan, len(kept), why, level=level, left_out=left_out)
    differ = pairwise_churn(kept)

    def between(runs: np.ndarray) -> np.ndarray:
        one, other = runs[..., :, None], runs[..., None, :]
        pairs = (one != other).sum(axis=(-2, -1))
        return differ[one, other].sum(axis=(-2, -1)) / np.maximum(pairs, 1)

    return bootstrapped(between, len(kept), level=level, seed=seed, method="percentile", left_out=left_out)
