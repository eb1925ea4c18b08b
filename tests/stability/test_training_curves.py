"""Steps to a loss, clipped steps, and sharpness against what descent can bear, tried on a quadratic."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from stablelab.stability import clipped_share, median_steps_to_loss, sharpness_against, steps_to_loss


def test_the_first_window_whose_mean_is_low_enough_by_loops() -> None:
    losses = np.linspace(1, 0, 200) + np.random.default_rng(0).normal(0, 0.2, size=200)
    for window in (1, 7, 30):
        reached = [t for t in range(window, 201) if np.mean(losses[t - window : t]) <= 0.4]
        assert steps_to_loss(torch.tensor(losses), 0.4, window) == reached[0]


def test_a_single_low_batch_does_not_count() -> None:
    losses = [1.0] * 20 + [0.0] + [1.0] * 20
    assert steps_to_loss(losses, 0.5) is None
    assert steps_to_loss(losses, 0.5, window=1) == 21


def test_a_run_that_ends_early_or_diverges_never_gets_there() -> None:
    assert steps_to_loss([0.1] * 9, 0.5) is None
    assert steps_to_loss([0.1] * 10, 0.5) == 10
    assert steps_to_loss([1.0] * 10 + [math.nan] + [math.inf] * 10, 0.5) is None
    assert steps_to_loss([math.inf] + [0.1] * 10, 0.5) == 11


def test_the_median_counts_runs_that_never_get_there() -> None:
    runs = [np.linspace(1, end, 100) for end in (0.0, 0.1, 0.2, 0.3, 0.9, 0.9, 0.4)]
    steps = sorted(steps_to_loss(run, 0.5) or math.inf for run in runs)
    found = median_steps_to_loss(runs, 0.5)
    assert found.value == steps[3]
    assert (found.low, found.high, found.n) == (steps[0], math.inf, 7)
    assert "one run: no interval" in str(median_steps_to_loss(runs[:1], 0.5))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(([1.0], math.nan), "target is nan"), (([1.0], 0.5, 0), "window is 0"), (([], 0.5), "losses is empty")],
)
def test_steps_to_nowhere_are_refused(arguments: tuple, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        steps_to_loss(*arguments)


def test_the_share_of_clipped_steps_is_the_mean_over_runs() -> None:
    found = clipped_share([[True, False], torch.tensor([True, True, True, False]), np.zeros(5, dtype=bool)])
    assert found.value == pytest.approx((0.5 + 0.75 + 0) / 3)
    assert found.low < found.value < found.high
    assert "one run: no interval" in str(clipped_share([[True, False]]))


@pytest.mark.parametrize(
    ("runs", "says"), [([], "empty"), ([[0.3, 2.0]], "run 0 must hold True"), ([[]], "run 0 is empty")]
)
def test_norms_are_no_clipped_steps(runs: list, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        clipped_share(runs)


@pytest.mark.parametrize("learning_rate", [0.05, 0.099, 0.101, 0.3])
def test_above_one_descent_on_a_quadratic_diverges(learning_rate: float) -> None:
    theta = 1.0
    for _ in range(200):
        theta -= learning_rate * 20 * theta  # loss 10 θ², sharpness 20
    assert (abs(theta) > 1) == (sharpness_against(20.0, learning_rate) > 1)


def test_sharpness_of_many_runs() -> None:
    assert sharpness_against([10.0, math.nan, -4.0], 0.1) == pytest.approx([0.5, math.nan, -0.2], nan_ok=True)
    assert sharpness_against(torch.tensor([10.0, 20.0]), [0.1, 0.2]) == pytest.approx([0.5, 2.0])
    assert isinstance(sharpness_against(10, 0.1), float)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [((1.0, 0.0), "learning_rate must be above 0"), ((1.0, math.inf), "finite"), (([1, 2], [1, 2, 3]), "go together")],
)
def test_impossible_rates_are_refused(arguments: tuple, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        sharpness_against(*arguments)
