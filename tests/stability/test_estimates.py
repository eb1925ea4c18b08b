"""The bootstrap against scipy used by hand, how often it holds the truth, and what an estimate says of itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap

from stablelab.stability import Estimate
from stablelab.stability._inputs import array, finite
from stablelab.stability.estimates import RESAMPLES, bootstrapped


@pytest.mark.parametrize("method", ["BCa", "percentile", "basic"])
def test_the_interval_is_scipys(method: str) -> None:
    x = np.random.default_rng(0).normal(size=12)
    mine = bootstrapped(lambda runs: x[runs].mean(axis=-1), 12, method=method, seed=5)
    theirs = bootstrap((x,), np.mean, method=method, n_resamples=RESAMPLES, rng=np.random.default_rng(5), batch=500)
    assert (mine.low, mine.high) == pytest.approx(tuple(theirs.confidence_interval))
    assert mine.method == f"{method} bootstrap"


def test_the_same_seed_gives_the_same_interval_and_a_higher_level_a_wider_one() -> None:
    x = np.random.default_rng(1).normal(size=15)

    def interval(**settings: float) -> Estimate:
        return bootstrapped(lambda runs: x[runs].mean(axis=-1), 15, **settings)

    assert interval() == interval()
    assert interval(seed=1) != interval()
    assert interval(level=0.99).low < interval().low < interval().high < interval(level=0.99).high


def test_a_95_percent_interval_of_20_normal_runs_holds_the_mean_about_as_often() -> None:
    x = np.random.default_rng(2).normal(size=(100, 20))
    found = [bootstrapped(lambda runs, one=one: one[runs].mean(axis=-1), 20, resamples=499) for one in x]
    assert 0.87 <= np.mean([e.low <= 0 <= e.high for e in found]) <= 0.99


def test_where_bca_is_not_defined_the_percentile_interval_is_named() -> None:
    x = np.array([0.0, 0.0, 1.0, 1.0])  # leaving out any one of them gives the same standard deviation
    found = bootstrapped(lambda runs: x[runs].std(axis=-1), 4)
    assert found.method == "percentile bootstrap"
    assert found.low < found.value <= found.high


@pytest.mark.parametrize(
    ("estimate", "says"),
    [
        (
            Estimate(0.0512, 0.0341, 0.0832, 0.95, 20, "BCa bootstrap"),
            "0.0512 [0.0341, 0.0832] (95 %, BCa bootstrap, n=20)",
        ),
        (Estimate(0.84, None, None, 0.95, 1, "", note="one run: no interval"), "0.84 (one run: no interval)"),
        (
            Estimate(1e-17, 0.0, 0.5, 0.9, 4, "Wilson", left_out=2, note="few"),
            "0 [0, 0.5] (90 %, Wilson, n=4; few; 2 not finite, left out)",
        ),
    ],
)
def test_an_estimate_reads_as_one_line(estimate: Estimate, says: str) -> None:
    assert str(estimate) == repr(estimate) == says
    assert float(estimate) == estimate.value


def test_few_runs_are_said_to_be_few() -> None:
    x = np.random.default_rng(3).normal(size=10)
    notes = [bootstrapped(lambda runs: x[runs].mean(axis=-1), n).note for n in (9, 10)]
    assert notes == ["too narrow: few runs", ""]


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"level": 95}, "level is 95"), ({"level": 0.0}, "level"), ({"seed": -1}, "seed is -1"), ({"seed": 0.5}, "seed")],
)
def test_a_level_or_seed_out_of_range_is_refused(settings: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        bootstrapped(lambda runs: runs.mean(axis=-1), 5, **settings)


def test_arrays_tensors_and_sequences_are_alike() -> None:
    given = [1.0, 2.0, 4.0]
    for values in (given, tuple(given), np.array(given), torch.tensor(given, requires_grad=True)):
        assert array("scores", values, 1).tolist() == given
    assert finite("scores", [1.0, None, np.inf, np.nan, 2.0])[1] == 3


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([], "scores is empty"),
        ("many", "scores must"),
        (["a", "b"], "scores must be numbers"),
        ([[1.0], [1.0, 2.0]], "rows of one length"),
        (0.84, r"must have 1 dimensions, not 0"),
        ([[1.0]], r"shape is \(1, 1\)"),
    ],
)
def test_what_is_no_list_of_numbers_is_refused_in_one_line(values: object, says: str) -> None:
    with pytest.raises(ValueError, match=says) as raised:
        array("scores", values, 1)
    assert "\n" not in str(raised.value)
