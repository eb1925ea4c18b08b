"""Variance components: by brute force on one table, and on simulated runs whose components are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from stablelab.stability import VarianceSplit, variance_split


def split(table: np.ndarray, **settings: float) -> VarianceSplit:
    return variance_split(table.ravel(), *(axis.ravel() for axis in np.indices(table.shape)), **settings)


def values(found: VarianceSplit) -> dict[str, float]:
    return {name: one.value for name, one in found.components.items()}


def shares(found: VarianceSplit) -> dict[str, float]:
    return {name: one.value for name, one in found.shares.items()}


def simulated(rng: np.random.Generator, shape: tuple[int, ...], deviations: dict[tuple[int, ...], float]) -> np.ndarray:
    """A table (A, B) or (A, B, C) that sums one random term for each set of axes."""
    table = np.full(shape, 0.8)
    for axes, deviation in deviations.items():
        kept = tuple(count if axis in axes else 1 for axis, count in enumerate(shape))
        table = table + rng.normal(0, deviation, size=kept)
    return table


def test_two_factors_by_the_textbook_sums() -> None:
    y = np.random.default_rng(0).normal(size=(4, 6)) + np.arange(4)[:, None] + np.arange(6) / 2
    a, b = y.shape
    rows, columns, grand = y.mean(axis=1), y.mean(axis=0), y.mean()
    ms_a = b * sum((rows[i] - grand) ** 2 for i in range(a)) / (a - 1)
    ms_b = a * sum((columns[j] - grand) ** 2 for j in range(b)) / (b - 1)
    left = sum((y[i, j] - rows[i] - columns[j] + grand) ** 2 for i in range(a) for j in range(b))
    ms_e = left / ((a - 1) * (b - 1))
    wanted = {"init": (ms_a - ms_e) / b, "order": (ms_b - ms_e) / a, "rest": ms_e}
    found = split(y)
    assert values(found) == pytest.approx(wanted)
    assert found.total == pytest.approx(sum(wanted.values()))
    assert shares(found) == pytest.approx({name: value / found.total for name, value in wanted.items()})
    assert (found.levels, found.set_to_zero) == ({"init": 4, "order": 6}, ())


def test_three_factors_solve_the_equations_of_expected_mean_squares() -> None:
    shape = A, B, C = 4, 3, 5
    y = simulated(np.random.default_rng(2), shape, {(0,): 3.0, (1,): 3.0, (2,): 3.0, (0, 1): 1.5, (1, 2): 1.5})
    y += simulated(np.random.default_rng(3), shape, {(0, 2): 1.5, (0, 1, 2): 0.1})
    found = split(y)
    assert not found.set_to_zero
    s = values(found)
    ab, ac, bc = s["init × order"], s["init × subset"], s["order × subset"]
    means = y.mean(axis=(1, 2)), y.mean(axis=(0, 2)), y.mean(axis=(0, 1))
    # The variance of the means over the levels of a factor, in terms of the components.
    assert means[0].var(ddof=1) == pytest.approx(s["init"] + ab / B + ac / C + s["rest"] / (B * C))
    assert means[1].var(ddof=1) == pytest.approx(s["order"] + ab / A + bc / C + s["rest"] / (A * C))
    assert means[2].var(ddof=1) == pytest.approx(s["subset"] + ac / A + bc / B + s["rest"] / (A * B))


def test_on_the_average_the_estimates_are_the_true_components() -> None:
    rng = np.random.default_rng(4)
    from stablelab.stability.variance_components import _effects, _mean_square, _solved

    deviations = {(0,): 2.0, (1,): 1.0, (2,): 1.5, (0, 1): 0.7, (0, 2): 0.5, (1, 2): 0.3, (0, 1, 2): 1.0}
    shape = (3, 4, 5)
    sums = dict.fromkeys(deviations, 0.0)
    for _ in range(400):
        y = simulated(rng, shape, deviations)
        squares = {e: np.asarray(_mean_square(y, e)) for e in _effects(3)}
        for e in sums:
            sums[e] += float(_solved(squares, shape, e)) / 400
    for e, deviation in deviations.items():
        assert sums[e] == pytest.approx(deviation**2, rel=0.15, abs=0.05)


def test_the_intervals_hold_the_true_components_about_as_often_as_said() -> None:
    rng = np.random.default_rng(5)
    truth = {"init": 4.0, "order": 0.25, "rest": 1.0}
    held = dict.fromkeys(truth, 0.0)
    held_shares = dict.fromkeys(truth, 0.0)
    for _ in range(40):
        found = split(simulated(rng, (5, 6), {(0,): 2.0, (1,): 0.5, (0, 1): 1.0}))
        for name, one in found.components.items():
            held[name] += (one.low <= truth[name] <= one.high) / 40
            share = found.shares[name]
            held_shares[name] += (share.low <= truth[name] / 5.25 <= share.high) / 40
    assert all(0.88 <= share <= 1 for share in held.values()), held
    assert all(0.88 <= share <= 1 for share in held_shares.values()), held_shares


def test_the_interval_of_a_share_is_that_of_the_ratio_of_two_mean_squares() -> None:
    # Where columns make nothing, F has an exact interval of σ_a² / σ_e², which the draws are to come to.
    table = simulated(np.random.default_rng(8), (6, 200), {(0,): 1.0, (0, 1): 2.0})
    a, b = table.shape
    left = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    ratio = b * table.mean(axis=1).var(ddof=1) / ((left**2).sum() / ((a - 1) * (b - 1)))
    low, high = ((ratio / stats.f.ppf(q, a - 1, (a - 1) * (b - 1)) - 1) / b for q in (0.975, 0.025))
    share = split(table).shares["init"]
    assert share.low == pytest.approx(low / (1 + low), abs=0.02)
    assert share.high == pytest.approx(high / (1 + high), abs=0.02)


def test_a_seed_that_changes_nothing_gets_nothing() -> None:
    table = np.repeat(np.array([[0.7], [0.8], [0.9]]), 4, axis=1)
    assert values(split(table)) == pytest.approx({"init": 0.01, "order": 0, "rest": 0}, abs=1e-12)


def test_what_comes_out_negative_is_set_to_zero_and_said() -> None:
    table = np.array([[0.0, 1.0], [1.0, 0.0]])  # both means are equal, and all variance is in the interaction
    found = split(table)
    assert found.set_to_zero == ("init", "order")
    assert values(found) == {"init": 0, "order": 0, "rest": 1}
    assert str(found).count("estimated below 0, set to 0") == 2


def test_equal_scores_have_no_variance_and_no_shares() -> None:
    found = split(np.full((3, 3), 0.1))
    assert found.total == 0
    assert all(math.isnan(share.value) and share.low is None for share in found.shares.values())


def test_neither_the_order_of_the_runs_nor_the_numbers_of_the_seeds_matter() -> None:
    table = np.random.default_rng(6).normal(size=(3, 4))
    init, order = (axis.ravel() for axis in np.indices(table.shape))
    shuffled = np.random.default_rng(7).permutation(12)
    found = variance_split(torch.tensor(table.ravel()[shuffled]), 10 * init[shuffled], (order[shuffled] + 7).tolist())
    assert values(found) == pytest.approx(values(split(table)))
    assert "variance" in str(found)
    assert "(3 init × 4 order)" in str(found)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (([0.8], [0], [0]), "init has one value"),
        (([0.8, 0.7], [0, 1], [0, 0]), "order has one value"),
        (([1, 2, 3], [0, 0, 1], [0, 1, 0]), "init 1, order 1 was run 0 times"),
        (([1, 2, 3, 4, 5], [0, 0, 1, 1, 1], [0, 1, 0, 1, 1]), "init 1, order 1 was run 2 times"),
        (([1, 2, 3, math.nan], [0, 0, 1, 1], [0, 1, 0, 1]), "1 of 4 scores are not finite"),
        (([1, 2, 3, 4], [0, 0, 1], [0, 1, 0, 1]), "init must be 4 values"),
        (([1, 2, 3, 4], [0, 0, 1, 1], [0, 1, 0, 1], [None] * 4), "subset must be a number for each run"),
    ],
)
def test_a_design_that_is_not_crossed_is_refused_in_one_line(arguments: tuple, says: str) -> None:
    with pytest.raises(ValueError, match=says) as raised:
        variance_split(*arguments)
    assert "\n" not in str(raised.value)
