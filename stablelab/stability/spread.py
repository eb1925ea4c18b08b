"""Where runs lie that differ in their seeds alone, and how far apart."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from .._validation import number
from ._inputs import array, finite
from .estimates import Estimate, Statistic, bootstrapped, without_interval

Scores = ArrayLike | Tensor


def mean(scores: Scores, *, level: float = 0.95, seed: int = 0) -> Estimate:
    """The mean over runs, with a BCa bootstrap interval.

    Args:
        scores: (R,) one number a run, such as its accuracy. Those that are not finite (of runs that diverged) are
            left out, and the estimate counts them: a mean over survivors flatters, so read it with `failed_rate`.
        level: of the interval, between 0 and 1.
        seed: of the bootstrap.

    Raises:
        ValueError: no scores, or not numbers (R,).
    """
    kept, left_out = finite("scores", scores)
    return _over_runs(kept, left_out, lambda x: x.mean(axis=-1), level, seed)


def standard_deviation(scores: Scores, *, level: float = 0.95, seed: int = 0) -> Estimate:
    """The standard deviation over runs, √(Σ (x - x̄)² / (R - 1)), with a BCa bootstrap interval.

    Of one run there is none: the value is nan.

    Args:
        scores: (R,) one number a run; those that are not finite are left out and counted.
        level: of the interval, between 0 and 1.
        seed: of the bootstrap.

    Raises:
        ValueError: no scores, or not numbers (R,).

    Source:
        Reported over seeds by Dodge et al. 2020 and Mosbach et al. 2021; see `bootstrapped` for the interval.
    """
    kept, left_out = finite("scores", scores)
    if len(kept) == 1:
        return without_interval(math.nan, 1, "one run: no spread, no interval", level=level, left_out=left_out)
    return _over_runs(kept, left_out, deviation, level, seed)


def value_range(scores: Scores, *, level: float = 0.95) -> Estimate:
    """Largest minus smallest score, with the share of all such runs that lie between the two.

    A range describes the runs at hand and grows with their number, so it estimates nothing and has no confidence
    interval; a bootstrap of it never exceeds the range itself. What can be said of other runs is the note: with
    probability `level`, at least that share of them falls between the smallest and the largest of these.

    Args:
        scores: (R,) one number a run; those that are not finite are left out and counted.
        level: of the note, between 0 and 1.

    Raises:
        ValueError: no scores, or not numbers (R,).

    Source:
        Wilks 1941, "Determination of sample sizes for setting tolerance limits": the share between the extremes of n
        continuous scores has a Beta(n - 1, 2) distribution.
    """
    from scipy.stats import beta

    number("level", level, above=0, below=1)
    kept, left_out = finite("scores", scores)
    n = len(kept)
    if n < 2:
        why = "one run: no range, no interval" if n else "no finite score"
        return without_interval(math.nan, n, why, level=level, left_out=left_out)
    share = math.floor(100 * beta.ppf(1 - level, n - 1, 2))
    why = f"of {n} runs; at {100 * level:g} %, {share} % or more of all runs lie between their extremes"
    return without_interval(kept.max() - kept.min(), n, why, level=level, left_out=left_out)


def median(scores: Scores, *, level: float = 0.95) -> Estimate:
    """The median over runs, with an interval from the ordered scores that supposes nothing of their distribution.

    Args:
        scores: (R,) one number a run. inf counts, as the largest of all; nan is left out and counted.
        level: of the interval, between 0 and 1; it is held or exceeded. At 95 % it takes six runs.

    Raises:
        ValueError: no scores, or not numbers (R,).

    Source:
        Conover 1999, "Practical nonparametric statistics", Section 3.2, by scipy.stats.quantile_test.
    """
    from scipy.stats import quantile_test

    number("level", level, above=0, below=1)
    found = array("scores", scores, 1)
    kept = np.sort(found[~np.isnan(found)])
    n, left_out = len(kept), int(np.isnan(found).sum())
    if not n:
        return without_interval(math.nan, 0, "no finite score", level=level, left_out=left_out)
    middle = kept[(n - 1) // 2], kept[n // 2]
    value = middle[0] if middle[0] == middle[1] else (middle[0] + middle[1]) / 2
    interval = quantile_test(kept, p=0.5).confidence_interval(level)
    if math.isnan(interval.low) or math.isnan(interval.high):
        why = f"{'one run' if n == 1 else f'{n} runs are too few'}: no interval"
        return without_interval(value, n, why, level=level, left_out=left_out)
    low, high = float(interval.low), float(interval.high)
    return Estimate(float(value), low, high, level, n, "order statistics", left_out=left_out)


def _over_runs(kept: np.ndarray, left_out: int, statistic: Statistic, level: float, seed: int) -> Estimate:
    if not len(kept):
        return without_interval(math.nan, 0, "no finite score", level=level, left_out=left_out)
    return bootstrapped(lambda runs: statistic(kept[runs]), len(kept), level=level, seed=seed, left_out=left_out)


def deviation(x: np.ndarray) -> np.ndarray:
    """Standard deviation of each row, (..., R) -> (...)."""
    return (x - x[..., :1]).std(axis=-1, ddof=1)  # relative to the first: equal scores then give exactly 0
