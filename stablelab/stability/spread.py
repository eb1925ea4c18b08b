"""Runs that differ in their seeds alone: where they lie, how far apart, how many fail, and two groups compared."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from .._validation import choice, number, whole
from ._inputs import array, finite, true_classes
from .estimates import FEW, RESAMPLES, Estimate, Statistic, bootstrapped, without_interval

Scores = ArrayLike | Tensor
Bounds = Callable[[np.ndarray, float], tuple[float, float, str]]  # scores and level -> low, high, method
LOWEST = 1e-100  # stands for a spread of 0, so that a logarithm exists


def mean(scores: Scores, *, level: float = 0.95, seed: int = 0, method: str = "BCa") -> Estimate:
    """The mean over runs, with an interval from a bootstrap or from Student's t distribution.

    Args:
        scores: (R,) one number a run, such as its accuracy. Those that are not finite (of runs that diverged) are
            left out, and the estimate counts them: a mean over survivors flatters, so read it with `failed_rate`.
        level: of the interval, between 0 and 1.
        seed: of the bootstrap.
        method: "BCa", or "t" for x̄ ± t s/√R, which holds what it promises with few runs as well, heavy tails included.

    Raises:
        ValueError: no scores, not numbers (R,), or another method.
    """
    choice("method", method, ("BCa", "t"))
    kept, left_out = finite("scores", scores)
    return _over_runs(kept, left_out, lambda x: x.mean(axis=-1), level, seed, _t_bounds if method == "t" else None)


def standard_deviation(scores: Scores, *, level: float = 0.95, seed: int = 0, method: str = "BCa") -> Estimate:
    """The standard deviation over runs, √(Σ (x - x̄)² / (R - 1)), with an interval from a bootstrap or from χ².

    Of one run there is none: the value is nan.

    Args:
        scores: (R,) one number a run; those that are not finite are left out and counted.
        level: of the interval, between 0 and 1.
        seed: of the bootstrap.
        method: "BCa", or "chi2" for s √((R - 1) / χ²), which keeps its promise at any number of normal scores, where
            the bootstrap is too short if they are few; see `bootstrapped`.

    Raises:
        ValueError: no scores, not numbers (R,), or another method.

    Source:
        Reported over seeds by Dodge et al. 2020 and Mosbach et al. 2021; see `bootstrapped` for its interval.
    """
    choice("method", method, ("BCa", "chi2"))
    kept, left_out = finite("scores", scores)
    if len(kept) == 1:
        return without_interval(math.nan, 1, "one run: no spread, no interval", level=level, left_out=left_out)
    return _over_runs(kept, left_out, _deviation, level, seed, _chi2_bounds if method == "chi2" else None)


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


def failed_rate(failed: ArrayLike | Tensor, *, level: float = 0.95) -> Estimate:
    """The share of runs that failed, with Wilson's interval.

    Args:
        failed: (R,) True for each run that failed; see `is_failed`.
        level: of the interval, between 0 and 1.

    Raises:
        ValueError: no runs, or something other than True and False.

    Source:
        Wilson 1927, "Probable inference, the law of succession, and statistical inference", by
        scipy.stats.binomtest. Unlike p ± 1.96 √(p (1 - p) / n) it is no point where no run failed.
    """
    from scipy.stats import binomtest

    number("level", level, above=0, below=1)
    found = array("failed", failed, 1)
    if not np.isin(found, (0, 1)).all():
        raise ValueError("failed must hold True or False, one for each run; is_failed(accuracy, targets) says which")
    n = len(found)
    if n == 1:
        return without_interval(found[0], n, "one run: no interval", level=level)
    test = binomtest(int(found.sum()), n)
    interval = test.proportion_ci(level, method="wilson")
    return Estimate(float(found.mean()), float(interval.low), float(interval.high), level, n, "Wilson")


def is_failed(accuracy: ArrayLike | Tensor, targets: ArrayLike | Tensor) -> np.ndarray:
    """Whether runs failed: an accuracy at or below that of always guessing the most frequent class, or none (nan).

    Args:
        accuracy: () or (R,) accuracies in [0, 1] on the examples of `targets`; nan for a run that diverged.
        targets: (N,) their class numbers.

    Returns:
        bool, of the shape of `accuracy`.

    Raises:
        ValueError: an accuracy outside [0, 1], or targets that are no class numbers.

    Source:
        Mosbach, Andriushchenko & Klakow 2021, "On the stability of fine-tuning BERT", Section 3.
    """
    found = array("accuracy", accuracy, 0, 1)
    if (found < 0).any() or (found > 1).any():
        raise ValueError("accuracy must be a share from 0 to 1")
    right = true_classes(targets)
    # An accuracy in single precision may lie a hair above the share it is equal to.
    return ~(found > np.bincount(right).max() / len(right) + 1e-6)


@dataclass(frozen=True)
class Comparison:
    """Whether one group of runs is spread wider than another.

    Attributes:
        ratio: standard deviation of the first over that of the second.
        p_value: of the Brown-Forsythe test that both are spread alike; nan where it cannot be made.
    """

    ratio: Estimate
    p_value: float

    def __str__(self) -> str:
        test = "no test" if math.isnan(self.p_value) else f"Brown-Forsythe test: p = {self.p_value:.2g}"
        return f"ratio of standard deviations {self.ratio} · {test}"

    __repr__ = __str__


def compare_spread(a: Scores, b: Scores, *, level: float = 0.95, seed: int = 0) -> Comparison:
    """Compare the spread of two groups of runs, such as with and without warm-up.

    Args:
        a: (R,) one score a run, in any numbers; those that are not finite are left out and counted.
        b: (R',) those that it is compared with.
        level: of the ratio's interval, between 0 and 1.
        seed: of the bootstrap.

    Returns:
        The ratio of standard deviations with a percentile bootstrap interval, each group drawn anew from itself, and
        the p-value of a test that both are spread alike. Neither interval nor test where a group has fewer than three
        runs or no spread; the interval ends at 0 or inf where too many resamples have none.

    Raises:
        ValueError: no scores, or not numbers (R,).

    Source:
        Brown & Forsythe 1974, "Robust tests for the equality of variances": Levene's test about the median, by
        scipy.stats.levene. Interval: Efron & Tibshirani 1993, "An introduction to the bootstrap", Chapter 13.
    """
    from scipy.stats import levene

    number("level", level, above=0, below=1)
    whole("seed", seed)
    (kept_a, out_a), (kept_b, out_b) = finite("a", a), finite("b", b)
    ratio = _ratio(kept_a, kept_b, out_a + out_b, level, seed)
    p_value = math.nan if ratio.low is None else float(levene(kept_a, kept_b, center="median").pvalue)
    return Comparison(ratio, p_value)


def _over_runs(
    kept: np.ndarray, left_out: int, statistic: Statistic, level: float, seed: int, bounds: Bounds | None = None
) -> Estimate:
    """With the bounds of a distribution that is known, else of a bootstrap."""
    if not len(kept):
        return without_interval(math.nan, 0, "no finite score", level=level, left_out=left_out)
    if bounds is None or len(kept) == 1 or _deviation(kept) == 0:
        return bootstrapped(lambda runs: statistic(kept[runs]), len(kept), level=level, seed=seed, left_out=left_out)
    number("level", level, above=0, below=1)
    low, high, method = bounds(kept, level)
    return Estimate(float(statistic(kept)), low, high, level, len(kept), method, left_out=left_out)


def _t_bounds(x: np.ndarray, level: float) -> tuple[float, float, str]:
    from scipy.stats import t

    half = float(t.ppf((1 + level) / 2, len(x) - 1) * _deviation(x) / math.sqrt(len(x)))
    return float(x.mean()) - half, float(x.mean()) + half, "Student's t"


def _chi2_bounds(x: np.ndarray, level: float) -> tuple[float, float, str]:
    from scipy.stats import chi2

    low, high = (_deviation(x) * math.sqrt((len(x) - 1) / chi2.ppf((1 + s * level) / 2, len(x) - 1)) for s in (1, -1))
    return float(low), float(high), "χ², normal scores"


def _deviation(x: np.ndarray) -> np.ndarray:
    """Standard deviation of each row, (..., R) -> (...)."""
    return (x - x[..., :1]).std(axis=-1, ddof=1)  # relative to the first: equal scores then give exactly 0


def _ratio(a: np.ndarray, b: np.ndarray, left_out: int, level: float, seed: int) -> Estimate:
    n = min(len(a), len(b))
    over, under = (float(_deviation(x)) if len(x) > 1 else math.nan for x in (a, b))
    value = over / under if under else math.nan
    if n < 3:
        why = f"{n} run{'s' * (n != 1)} in a group: no interval"
        return without_interval(value, n, why, level=level, left_out=left_out)
    if not (over and under):
        return without_interval(value, n, "equal runs in a group: no interval", level=level, left_out=left_out)
    low, high = _ratio_bounds(a, b, level, seed)
    note = "too narrow: few runs" if n < FEW else ""
    return Estimate(value, low, high, level, n, "percentile bootstrap", left_out=left_out, note=note)


def _ratio_bounds(a: np.ndarray, b: np.ndarray, level: float, seed: int) -> tuple[float, float]:
    from scipy.stats import bootstrap

    def log_ratio(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        """Logarithms, because a resample may have no spread: quantiles of finite numbers are finite."""
        return np.log(np.maximum(_deviation(a), LOWEST)) - np.log(np.maximum(_deviation(b), LOWEST))

    settings = {"method": "percentile", "n_resamples": RESAMPLES, "vectorized": True, "axis": -1}
    rng = np.random.default_rng(seed)
    found = bootstrap((a, b), log_ratio, confidence_level=level, batch=500, rng=rng, **settings).confidence_interval
    beyond = -math.log(LOWEST) / 2
    low, high = (math.copysign(math.inf, x) if abs(x) > beyond else x for x in (found.low, found.high))
    return math.exp(low), math.exp(high)
