"""How much of the spread each seed makes: variance components of a crossed design."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from .._formatting import format_number
from .._validation import number, whole
from ._inputs import array
from .estimates import Estimate, without_interval

DRAWS = 10_000
REST = "rest"
Effect = tuple[int, ...]  # the axes of the factors that make it


@dataclass(frozen=True)
class VarianceSplit:
    """The variance of a score, by what causes it.

    Attributes:
        components: variance caused by each factor alone ("init"), by how two of three go together ("init × order"),
            and the "rest": how all of them go together, and whatever no seed determines. In squared units of the score.
        shares: of each component in the total, 0 to 1; nan, and no interval, where the total is 0.
        total: variance of a run whose seeds are all drawn anew: the sum of the components.
        levels: number of values of each factor.
        set_to_zero: components whose estimate came out negative, as happens where the true one is small.
    """

    components: dict[str, Estimate]
    shares: dict[str, Estimate]
    total: float
    levels: dict[str, int]
    set_to_zero: tuple[str, ...]

    def __str__(self) -> str:
        design = " × ".join(f"{count} {name}" for name, count in self.levels.items())
        total, deviation = format_number(self.total), format_number(math.sqrt(self.total))
        lines = [f"variance {total}, standard deviation {deviation} ({design})"]
        for name, one in self.components.items():
            below = "; estimated below 0, set to 0" if name in self.set_to_zero else ""
            lines.append(f"{name:16} {_percent(self.shares[name]):20}   {one}{below}")
        return "\n".join(lines)

    __repr__ = __str__


def variance_split(
    scores: ArrayLike | Tensor,
    init: ArrayLike | Tensor,
    order: ArrayLike | Tensor,
    subset: ArrayLike | Tensor | None = None,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> VarianceSplit:
    """Split the variance of a score into seed of initialisation, order of the data and choice of training set.

    The model: score = μ + a_init + b_order (+ c_subset) + what they make together, each term drawn at random with a
    variance of its own. Mean squares are set equal to their expectations and solved for the variances.

    Args:
        scores: (R,) one number a run, all finite.
        init: (R,) the seed of each run's new weights, two or more values.
        order: (R,) the seed of each run's order of the data, two or more values.
        subset: (R,) the training subset of each run; None where all have the same.
        level: of the intervals, between 0 and 1.
        seed: of the draws that the intervals are made from.

    Returns:
        The components and their shares. Their generalized confidence intervals suppose that each term is normal. A few
        failed runs among good ones are far from that: split those that did not fail, or take them as a rough guide.

    Raises:
        ValueError: a score that is not finite, a factor with one value, or not exactly one run for each combination.

    Source:
        The crossed design: Dodge et al. 2020, "Fine-tuning pretrained language models: weight initializations, data
        orders, and early stopping". Estimates: Searle, Casella & McCulloch 1992, "Variance components", Chapter 4.
        Intervals: Weerahandi 1993, "Generalized confidence intervals".
    """
    number("level", level, above=0, below=1)
    whole("seed", seed)
    factors = {"init": init, "order": order} | ({} if subset is None else {"subset": subset})
    table = _crossed(array("scores", scores, 1), {name: array(name, values, 1) for name, values in factors.items()})
    names = {e: _name(e, tuple(factors)) for e in _effects(table.ndim)}
    squares = {e: np.asarray(_mean_square(table, e)) for e in names}
    raw = {e: float(_solved(squares, table.shape, e)) for e in names}
    rng = np.random.default_rng(seed)
    degrees = {e: _degrees(table.shape, e) for e in names}
    drawn = {e: squares[e] * degrees[e] / rng.chisquare(degrees[e], DRAWS) for e in names}
    possible = {e: _solved(drawn, table.shape, e) for e in names}
    tails = [(1 - level) / 2, (1 + level) / 2]
    bounds = {e: np.maximum(np.quantile(possible[e], tails), 0) for e in names}
    values = {e: max(raw[e], 0.0) for e in names}
    total = sum(values.values())
    method, n = "generalized interval, normal effects", table.size

    def share(e: Effect) -> Estimate:
        if not total:
            return without_interval(math.nan, n, "all scores are equal", level=level)
        low, high = np.quantile(np.maximum(possible[e], 0) / totals, tails)
        return Estimate(values[e] / total, float(low), float(high), level, n, method)

    totals = sum(np.maximum(each, 0) for each in possible.values())  # (DRAWS,), above 0: the rest is
    return VarianceSplit(
        {names[e]: Estimate(values[e], float(bounds[e][0]), float(bounds[e][1]), level, n, method) for e in names},
        {names[e]: share(e) for e in names},
        total,
        dict(zip(factors, table.shape, strict=True)),
        tuple(names[e] for e in names if raw[e] < 0),
    )


def _percent(share: Estimate) -> str:
    if share.low is None or share.high is None:
        return f"{share.value:.1%}"
    return f"{share.value:.1%} [{share.low:.0%}, {share.high:.0%}]"


def _crossed(scores: np.ndarray, factors: Mapping[str, np.ndarray]) -> np.ndarray:
    """The scores as a table with an axis for each factor."""
    for name, values in factors.items():
        if len(values) != len(scores):
            raise ValueError(f"{name} must be {len(scores)} values, one for each score, not {len(values)}")
        if not np.isfinite(values).all():
            raise ValueError(f"{name} must be a number for each run; leave it out if all runs have the same")
    if not np.isfinite(scores).all():
        wrong = int((~np.isfinite(scores)).sum())
        raise ValueError(f"{wrong} of {len(scores)} scores are not finite; leave out their seeds, with all their runs")
    levels, places = zip(*(np.unique(values, return_inverse=True) for values in factors.values()), strict=True)
    for name, found in zip(factors, levels, strict=True):
        if len(found) < 2:
            raise ValueError(f"{name} has one value; it takes two or more to tell what it changes")
    shape = tuple(map(len, levels))
    counts = np.zeros(shape, dtype=int)
    np.add.at(counts, places, 1)
    if (counts != 1).any():
        cell = np.unravel_index(int((counts != 1).argmax()), shape)
        where = ", ".join(f"{name} {found[i]:g}" for name, found, i in zip(factors, levels, cell, strict=True))
        raise ValueError(f"each combination must have been run once, but {where} was run {counts[cell]} times")
    table = np.empty(shape)
    table[places] = scores
    return table


def _effects(count: int) -> Iterator[Effect]:
    """Every set of axes but the empty one, the single ones first."""
    for size in range(1, count + 1):
        yield from combinations(range(count), size)


def _name(effect: Effect, factors: tuple[str, ...]) -> str:
    return REST if len(effect) == len(factors) else " × ".join(factors[i] for i in effect)


def _degrees(shape: tuple[int, ...], effect: Effect) -> int:
    return math.prod(shape[i] - 1 for i in effect)


def _mean_square(table: np.ndarray, effect: Effect) -> float:
    """What the effect adds to each cell beyond effects of fewer factors, squared and summed, per degree of freedom."""
    part = table - table.flat[0]  # equal scores then give exactly 0
    for axis in range(table.ndim):
        middle = part.mean(axis=axis, keepdims=True)
        part = part - middle if axis in effect else middle
    others = math.prod(table.shape[i] for i in range(table.ndim) if i not in effect)
    return float((part**2).sum()) * others / _degrees(table.shape, effect)


def _solved(squares: Mapping[Effect, np.ndarray], shape: tuple[int, ...], effect: Effect) -> np.ndarray:
    """The variance of an effect.

    E[MS] of a set of axes is the sum, over all sets that hold it, of their variance times the cells that share a level
    of theirs; solved by inclusion and exclusion.
    """
    holding = [e for e in squares if set(effect) <= set(e)]
    total = sum(((-1) ** (len(e) - len(effect)) * squares[e] for e in holding), start=np.zeros(()))
    return total / math.prod(count for i, count in enumerate(shape) if i not in effect)
