"""Mean, deviation, range, median, failures and the ratio of two spreads, against numpy, scipy and formulas."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import f_oneway, norm

from stablelab.stability import (
    Estimate,
    compare_spread,
    failed_rate,
    is_failed,
    mean,
    median,
    standard_deviation,
    value_range,
)

RUNS = np.random.default_rng(0).normal(0.8, 0.03, size=20)


def test_values_are_those_of_numpy_for_arrays_tensors_and_lists() -> None:
    for scores in (RUNS, torch.tensor(RUNS), RUNS.tolist()):
        assert float(mean(scores)) == pytest.approx(RUNS.mean())
        assert float(standard_deviation(scores)) == pytest.approx(RUNS.std(ddof=1))
        assert float(value_range(scores)) == pytest.approx(np.ptp(RUNS))
        assert float(median(scores)) == pytest.approx(np.median(RUNS))


@pytest.mark.parametrize("measure", [mean, standard_deviation, median])
def test_the_interval_holds_the_value_and_the_truth(measure) -> None:
    found = measure(RUNS)
    truth = 0.03 if measure is standard_deviation else 0.8
    assert found.low < found.value < found.high
    assert found.low < truth < found.high
    assert (found.n, found.level) == (20, 0.95)


def test_the_interval_of_the_standard_deviation_holds_the_truth_about_as_often_as_said_in_the_docstring() -> None:
    x = np.random.default_rng(1).normal(size=(40, 20))
    held = [e.low <= 1 <= e.high for e in map(standard_deviation, x)]
    assert 0.78 <= np.mean(held) <= 0.98  # 0.89 in a long trial


@pytest.mark.parametrize("n", [3, 5, 20])
@pytest.mark.slow
def test_t_and_chi2_hold_the_truth_as_often_as_they_promise_at_any_number_of_normal_scores(n: int) -> None:
    x = np.random.default_rng(n).normal(size=(600, n))
    means = [e.low <= 0 <= e.high for e in (mean(row, method="t") for row in x)]
    deviations = [e.low <= 1 <= e.high for e in (standard_deviation(row, method="chi2") for row in x)]
    assert 0.92 <= np.mean(means) <= 0.98
    assert 0.92 <= np.mean(deviations) <= 0.98


def test_the_chi2_interval_of_three_runs_is_wide_and_that_of_the_bootstrap_is_not() -> None:
    three = [0.5, 0.5, 0.76]
    wide, narrow = standard_deviation(three, method="chi2"), standard_deviation(three)
    assert (wide.low, wide.high) == pytest.approx((0.0782, 0.943), abs=1e-3)
    assert (narrow.low, narrow.high) == pytest.approx((0.0, 0.150), abs=1e-3)
    assert "χ²" in str(wide)


@pytest.mark.parametrize("measure", [mean, standard_deviation])
def test_equal_scores_have_no_interval_by_any_method_and_an_unknown_one_is_refused(measure: Callable) -> None:
    method = "t" if measure is mean else "chi2"
    assert measure([0.8, 0.8, 0.8], method=method).low is None
    assert measure([0.8], method=method).low is None
    with pytest.raises(ValueError, match="method"):
        measure([0.8, 0.9], method="guess")


@pytest.mark.parametrize("measure", [mean, standard_deviation, value_range, median])
def test_one_run_has_no_interval_and_says_so(measure) -> None:
    found = measure([0.84])
    assert found.low is None
    assert "one run" in str(found)
    assert "no interval" in str(found)
    assert math.isnan(found.value) == (measure in (standard_deviation, value_range))


@pytest.mark.parametrize("measure", [mean, standard_deviation, value_range])
def test_equal_scores_are_no_proof_of_no_spread(measure) -> None:
    found = measure([0.1, 0.1, 0.1])
    assert found.low is None
    assert found.value == (pytest.approx(0.1) if measure is mean else 0)


@pytest.mark.parametrize("measure", [mean, standard_deviation, value_range])
def test_runs_that_diverged_are_left_out_and_counted(measure) -> None:
    found = measure([*RUNS, math.nan, math.inf])
    assert found.left_out == 2
    assert (found.value, found.low, found.n) == (measure(RUNS).value, measure(RUNS).low, 20)
    assert "2 not finite, left out" in str(found)
    nothing = measure([math.nan, math.inf])
    assert math.isnan(nothing.value)
    assert "no finite score" in str(nothing)


def test_the_share_between_the_extremes_is_held_as_often_as_said() -> None:
    from scipy.stats import norm

    x = np.random.default_rng(2).normal(size=(4000, 20))
    between = norm.cdf(x.max(axis=1)) - norm.cdf(x.min(axis=1))
    assert "at 95 %, 78 % or more" in str(value_range(RUNS))
    assert 0.94 < np.mean(between >= 0.784) < 0.96


def test_a_median_counts_inf_as_the_largest_and_holds_the_truth_as_often_as_said() -> None:
    assert median([1.0, 2.0, math.inf]).value == 2
    assert median([1.0, math.inf, math.inf, math.inf]).value == math.inf
    assert median([1.0, math.nan, 3.0]).left_out == 1
    assert "5 runs are too few" in str(median(RUNS[:5]))
    assert isinstance(median(RUNS[:6]).low, float)
    x = np.random.default_rng(3).exponential(size=(60, 15))
    held = [e.low <= math.log(2) <= e.high for e in map(median, x)]
    assert np.mean(held) >= 0.9


@pytest.mark.parametrize("measure", [mean, standard_deviation, value_range, median])
@pytest.mark.parametrize(("scores", "says"), [([], "scores is empty"), ([["a"]], "numbers"), ([[0.8]], "1 dimensions")])
def test_what_is_no_list_of_scores_is_refused(measure, scores: list, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        measure(scores)


@pytest.mark.parametrize("measure", [mean, standard_deviation, value_range, median])
def test_a_level_in_percent_is_refused(measure) -> None:
    with pytest.raises(ValueError, match="level is 95"):
        measure(RUNS, level=95)


def test_an_estimate_is_what_comes_back() -> None:
    assert isinstance(mean(RUNS), Estimate)
    assert mean(RUNS) == mean(RUNS)


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


def test_runs_that_diverged_are_left_out_of_a_comparison_and_counted() -> None:
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


@pytest.mark.parametrize(("failures", "n", "level"), [(0, 20, 0.95), (3, 20, 0.95), (20, 20, 0.9), (1, 2, 0.99)])
def test_wilsons_interval_by_its_formula(failures: int, n: int, level: float) -> None:
    found = failed_rate([True] * failures + [False] * (n - failures), level=level)
    z, p = norm.ppf((1 + level) / 2), failures / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    wanted = [(middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)]
    assert [found.low, found.high] == pytest.approx(wanted, abs=1e-12)
    assert (found.value, found.n, found.method) == (p, n, "Wilson")


def test_wilson_holds_the_truth_about_as_often_as_said() -> None:
    failures = np.random.default_rng(0).binomial(20, 0.15, size=300)
    bounds = {k: failed_rate([True] * k + [False] * (20 - k)) for k in set(failures.tolist())}
    assert 0.91 <= np.mean([bounds[k].low <= 0.15 <= bounds[k].high for k in failures.tolist()]) <= 0.99


def test_of_one_run_the_rate_of_failing_has_no_interval() -> None:
    assert str(failed_rate([True])) == "1 (one run: no interval)"


@pytest.mark.parametrize(
    ("failed", "says"), [([], "empty"), ([0.5, 0.6], "True or False"), ([True, math.nan], "True or False")]
)
def test_accuracies_are_no_failures(failed: list, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        failed_rate(failed)


def test_a_run_fails_at_or_below_the_majority_class_or_without_an_accuracy() -> None:
    targets = [0, 0, 0, 1, 2]  # the majority class is right three times in five
    assert is_failed([0.4, 0.6, 0.8, math.nan], targets).tolist() == [True, True, False, True]
    assert bool(is_failed(0.6, torch.tensor(targets)))
    assert not is_failed(torch.tensor(0.8), np.array(targets))


def test_guessing_the_majority_class_fails_in_single_precision_too() -> None:
    targets = torch.tensor([1] * 8 + [0] * 7)
    assert is_failed((torch.ones(15) == targets).float().mean(), targets)


@pytest.mark.parametrize(
    ("accuracy", "targets", "says"),
    [(80.0, [0, 1], "share from 0 to 1"), (-0.1, [0, 1], "share"), (0.5, [0.5, 1.5], "targets"), (0.5, [], "targets")],
)
def test_percentages_and_targets_that_are_no_classes_are_refused(accuracy: float, targets: list, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        is_failed(accuracy, targets)
