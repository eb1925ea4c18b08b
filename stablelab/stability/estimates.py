"""A number measured on runs, with how far it is to be trusted."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .._formatting import format_number
from .._validation import number, whole

RESAMPLES = 4_999  # 125 of them lie beyond each bound of a 95 % interval
FEW = 10  # below, what a bootstrap calls 95 % holds the true value much less often
Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Estimate:
    """A measured value and its confidence interval.

    Attributes:
        value: the estimate; nan where there is nothing to estimate it from.
        low, high: bounds of the interval; None where there is none, and then `note` says why.
        level: how often, over repetitions of the whole experiment, the interval is to hold the true value; 0 to 1.
        n: how many runs (seeds, examples: see `of`) it rests on.
        method: how the interval was made; "" without one.
        of: what is counted by `n`.
        left_out: how many were left out because their score is not finite, as of a run that diverged.
        note: what a reader has to know besides.
    """

    value: float
    low: float | None
    high: float | None
    level: float
    n: int
    method: str
    of: str = "run"
    left_out: int = 0
    note: str = ""

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            interval, inside = "", []
        else:
            interval = f" [{_short(self.low)}, {_short(self.high)}]"
            inside = [f"{100 * self.level:g} %", self.method, f"n={self.n}"]
        said = [", ".join(inside), self.note, f"{self.left_out} not finite, left out" if self.left_out else ""]
        return f"{_short(self.value)}{interval} ({'; '.join(filter(None, said))})"

    __repr__ = __str__


def without_interval(value: float, n: int, why: str, *, level: float, of: str = "run", left_out: int = 0) -> Estimate:
    """An estimate that says why it has no interval."""
    return Estimate(float(value), None, None, level, n, "", of, left_out, why)


def bootstrapped(
    statistic: Statistic,
    n: int,
    *,
    level: float = 0.95,
    seed: int = 0,
    method: str = "BCa",
    of: str = "run",
    left_out: int = 0,
    resamples: int = RESAMPLES,
) -> Estimate:
    """A statistic of n independent things and its bootstrap interval.

    The interval is of what the statistic comes to when the n are drawn anew, with replacement, from themselves.

    Args:
        statistic: takes positions (..., n) of things, a row a resample, and gives (...) values.
        n: how many things there are, 1 or more.
        level: of the interval, between 0 and 1.
        seed: of the resampling; the same seed gives the same interval.
        method: "BCa" (bias-corrected and accelerated), "percentile" or "basic". Where BCa is not defined, as for
            things that all weigh the same, the percentile interval takes its place and is named.
        of: see `Estimate`.
        left_out: see `Estimate`.
        resamples: how many.

    Returns:
        The estimate. There is no interval for one thing, nor where the statistic is the same in all resamples: equal
        scores are no proof that the next one is equal. Below ten things it says that the interval is too narrow: with
        normal scores, what is called 95 % held the true standard deviation in 89 of 100 trials with 20 runs, in 83
        with 10, in 64 with 5; the true mean in 93, 90 and 84.

    Raises:
        ValueError: a level or a seed out of its range.

    Source:
        Efron 1987, "Better bootstrap confidence intervals"; Efron & Tibshirani 1993, "An introduction to the
        bootstrap", Chapters 13 and 14. Computed by scipy.stats.bootstrap.
    """
    number("level", level, above=0, below=1)
    whole("seed", seed)
    everything = np.arange(n)
    value = float(statistic(everything))
    if n == 1:
        return without_interval(value, n, f"one {of}: no interval", level=level, of=of, left_out=left_out)
    low, high, used = _bounds(statistic, everything, level, seed, method, resamples)
    if low == high or math.isnan(low + high):
        why = f"{n} {of}s that do not differ: no interval"
        return without_interval(value, n, why, level=level, of=of, left_out=left_out)
    note = f"too narrow: few {of}s" if n < FEW else ""
    return Estimate(value, low, high, level, n, f"{used} bootstrap", of, left_out, note)


def _bounds(
    statistic: Statistic, everything: np.ndarray, level: float, seed: int, method: str, resamples: int
) -> tuple[float, float, str]:
    """Low, high and the method that gave them."""
    from scipy.stats import bootstrap

    def draw(method: str) -> tuple[float, float]:
        found = bootstrap(
            (everything,),
            lambda positions, axis: statistic(positions),
            confidence_level=level,
            method=method,
            n_resamples=resamples,
            vectorized=True,
            axis=-1,
            batch=500,
            rng=np.random.default_rng(seed),
        )
        return float(found.confidence_interval.low), float(found.confidence_interval.high)

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # scipy warns where BCa is not defined, which is looked at here
        low, high = draw(method)
        if method == "BCa" and math.isnan(low + high):
            return *draw("percentile"), "percentile"
    return low, high, method


def _short(value: float) -> str:
    """As ``format_number``, with no trace of rounding where the value is 0."""
    return format_number(0.0 if abs(value) < 1e-12 else value)
