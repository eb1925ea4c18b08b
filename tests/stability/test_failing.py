"""Failed runs and Wilson's interval, which is worked out here from its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from stablelab.stability import failed_rate, is_failed


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


def test_one_run_has_no_interval_and_says_so() -> None:
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
