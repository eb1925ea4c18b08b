"""Calibration against its definition in loops, scikit-learn's curve, and models whose calibration is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve

from stablelab.stability import expected_calibration_error, reliability


def model(rng: np.random.Generator, N: int, too_sure: float = 0.0, C: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, C) and targets of a model that is right less often than it says, by `too_sure`."""
    confidence = rng.uniform(0.6, 0.99, size=N)
    probabilities = np.repeat((1 - confidence)[:, None] / (C - 1), C, axis=1)
    said = rng.integers(0, C, size=N)
    probabilities[np.arange(N), said] = confidence
    right = rng.random(N) < confidence - too_sure
    return probabilities, np.where(right, said, (said + 1) % C)


def test_the_error_by_loops() -> None:
    p, y = model(np.random.default_rng(0), 200, 0.1, C=3)
    total = 0.0
    for m in range(10):
        inside = [i for i in range(200) if m / 10 < p[i].max() <= (m + 1) / 10]
        if inside:
            accuracy = np.mean([p[i].argmax() == y[i] for i in inside])
            total += len(inside) / 200 * abs(accuracy - np.mean([p[i].max() for i in inside]))
    assert float(expected_calibration_error(p, y, bins=10)) == pytest.approx(total)
    assert reliability(p, y, bins=10).error == pytest.approx(total)


def test_the_curve_is_scikit_learns() -> None:
    p, y = model(np.random.default_rng(1), 300)
    found = reliability(torch.tensor(p), torch.tensor(y))
    full = found.counts > 0
    accuracy, confidence = calibration_curve(p.argmax(axis=1) == y, p.max(axis=1), n_bins=15)
    assert found.accuracy[full] == pytest.approx(accuracy)
    assert found.confidence[full] == pytest.approx(confidence)
    assert np.isnan(found.accuracy[~full]).all()
    assert found.counts.sum() == 300


def test_a_confidence_on_an_edge_belongs_below_it() -> None:
    found = reliability([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0]], [0, 0, 0], bins=4)
    assert found.counts.tolist() == [0, 1, 1, 1]


def test_the_interval_holds_a_known_error_about_as_often_as_said() -> None:
    rng = np.random.default_rng(2)
    found = [expected_calibration_error(*model(rng, 400, 0.1), bins=5) for _ in range(16)]
    assert 0.8 <= np.mean([e.low <= 0.1 <= e.high for e in found]) <= 1
    assert (found[0].n, found[0].of, found[0].method) == (400, "example", "basic bootstrap")


def test_a_model_that_is_always_right_and_sure_has_no_error() -> None:
    found = expected_calibration_error(np.eye(3)[[0, 1, 2, 1]], [0, 1, 2, 1])
    assert (found.value, found.low) == (0, None)
    assert expected_calibration_error(np.eye(2)[[0, 0]], [1, 1]).value == 1


def test_one_example_has_no_interval() -> None:
    assert "one example: no interval" in str(expected_calibration_error([[0.7, 0.3]], [0]))


def test_the_bounds_stay_above_zero() -> None:
    p, y = model(np.random.default_rng(3), 300)
    found = expected_calibration_error(p, y)
    assert 0 <= found.low <= found.high


@pytest.mark.parametrize(
    ("probabilities", "targets", "settings", "says"),
    [
        ([[2.0, -1.0]], [0], {}, "softmax"),
        ([[0.7, 0.7]], [0], {}, "sum to 1"),
        ([[math.nan, 0.5]], [0], {}, "each row of probabilities"),
        ([[0.7, 0.3]], [2], {}, "targets"),
        ([[0.7, 0.3]], [0, 1], {}, "targets"),
        ([[0.7, 0.3]], [0], {"bins": 0}, "bins is 0"),
        ([0.7, 0.3], [0], {}, "2 dimensions"),
    ],
)
def test_what_is_no_probability_is_refused(probabilities: list, targets: list, settings: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        expected_calibration_error(probabilities, targets, **settings)
