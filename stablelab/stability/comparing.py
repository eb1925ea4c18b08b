"""Whether one way of training spreads its runs wider than another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from .._validation import number, whole
from ._inputs import finite
from .estimates import FEW, RESAMPLES, Estimate, without_interval
from .spread import deviation

LOWEST = 1e-100  # stands for a spread of 0, so that a logarithm exists


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


def compare_spread(a: ArrayLike | Tensor, b: ArrayLike | Tensor, *, level: float = 0.95, seed: int = 0) -> Comparison:
    """Compare the spread of two groups of runs, such as with and without warm-up.

    Args:
        a, b: (R,) one score a run, in any numbers; those that are not finite are left out and counted.
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


def _ratio(a: np.ndarray, b: np.ndarray, left_out: int, level: float, seed: int) -> Estimate:
    n = min(len(a), len(b))
    over, under = (float(deviation(x)) if len(x) > 1 else math.nan for x in (a, b))
    value = over / under if under else math.nan
    if n < 3:
        why = f"{n} run{'s' * (n != 1)} in a group: no interval"
        return without_interval(value, n, why, level=level, left_out=left_out)
    if not (over and under):
        return without_interval(value, n, "equal runs in a group: no interval", level=level, left_out=left_out)
    low, high = _bounds(a, b, level, seed)
    note = "too narrow: few runs" if n < FEW else ""
    return Estimate(value, low, high, level, n, "percentile bootstrap", left_out=left_out, note=note)


def _bounds(a: np.ndarray, b: np.ndarray, level: float, seed: int) -> tuple[float, float]:
    from scipy.stats import bootstrap

    def log_ratio(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        """Logarithms, because a resample may have no spread: quantiles of finite numbers are finite."""
        return np.log(np.maximum(deviation(a), LOWEST)) - np.log(np.maximum(deviation(b), LOWEST))

    settings = {"method": "percentile", "n_resamples": RESAMPLES, "vectorized": True, "axis": -1}
    rng = np.random.default_rng(seed)
    found = bootstrap((a, b), log_ratio, confidence_level=level, batch=500, rng=rng, **settings).confidence_interval
    beyond = -math.log(LOWEST) / 2
    low, high = (math.copysign(math.inf, x) if abs(x) > beyond else x for x in (found.low, found.high))
    return math.exp(low), math.exp(high)
