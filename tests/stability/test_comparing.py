"""The ratio of two spreads and its test, against scipy and simulated runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import f_oneway

from stablelab.stability import compare_spread

WIDE = np.random.default_rng(0).normal(0.8, 0.03, size=20)
NARROW = np.random.default_rng(1).normal(0.8, 0.01, size=25)


def _brown_forsythe(a: np.ndarray, b: np.ndarray) -> float:
    """An analysis of variance of the distances from the medians."""
    return f_oneway(*(np.abs(x - np.median(x)) for x in (a, b))).pvalue


def test_the_ratio_and_the_test() -> None:
    found = compare_spread(WIDE, NARROW)
    assert found.ratio.value == pytest.approx(WIDE.std(ddof=1) / NARROW.std(ddof=1))
    assert 1 < found.ratio.low < 3 < found.ratio.high
    assert found.p_value == pytest.approx(_brown_forsythe(WIDE, NARROW))
    assert found.p_value < 0.01
    assert "Brown-Forsythe test: p = " in str(found)


def test_turned_round_it_is_the_inverse() -> None:
    one, other = compare_spread(WIDE, NARROW).ratio, compare_spread(NARROW, WIDE).ratio
    assert other.value == pytest.approx(1 / one.value)
    assert other.high == pytest.approx(1 / one.low, rel=0.1)


def test_the_interval_holds_the_true_ratio_about_as_often_as_said() -> None:
    rng = np.random.default_rng(2)
    found = [compare_spread(rng.normal(size=20), rng.normal(0, 2, size=20)).ratio for _ in range(16)]
    assert np.mean([e.low <= 0.5 <= e.high for e in found]) >= 0.8


def test_runs_that_diverged_are_left_out_and_counted() -> None:
    found = compare_spread([*WIDE, math.inf], [*NARROW, math.nan])
    assert found.ratio.left_out == 2
    assert found.ratio.low == compare_spread(WIDE, NARROW).ratio.low


@pytest.mark.parametrize(
    ("a", "b", "value", "says"),
    [
        ([0.8], [0.8, 0.7, 0.9], math.nan, "1 run in a group"),
        ([0.8, 0.9], [0.8, 0.7], 1.0, "2 runs in a group"),
        ([0.8, 0.8, 0.8], [0.8, 0.7, 0.9], 0.0, "equal runs in a group"),
        ([0.8, 0.7, 0.9], [0.8, 0.8, 0.8], math.nan, "equal runs in a group"),
    ],
)
def test_without_a_spread_in_both_there_is_neither_interval_nor_test(a: list, b: list, value: float, says: str) -> None:
    found = compare_spread(a, b)
    assert found.ratio.value == pytest.approx(value, nan_ok=True)
    assert found.ratio.low is None
    assert math.isnan(found.p_value)
    assert says in str(found)
    assert "no test" in str(found)


def test_resamples_without_spread_open_the_interval() -> None:
    assert compare_spread([0.8, 0.7, 0.9, 0.6], [0.8, 0.8, 0.8, 0.7]).ratio.high == math.inf
    assert compare_spread([0.8, 0.8, 0.8, 0.7], [0.8, 0.7, 0.9, 0.6]).ratio.low == 0


def test_a_group_without_scores_is_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match="b is empty"):
        compare_spread(WIDE, [])
