"""Mean, standard deviation, range and median over runs: against numpy and scipy, and where there is no spread."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from stablelab.stability import Estimate, mean, median, standard_deviation, value_range

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
