"""Learning-rate sensitivity, from its definition and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from stablelab.stability import learning_rate_sensitivity


def test_by_hand() -> None:
    losses = [0.6, 0.2, 0.5, math.inf, math.nan, 3.0]  # the last three count as the start, 0.7
    assert float(learning_rate_sensitivity(losses, 0.7)) == pytest.approx((0.4 + 0 + 0.3 + 3 * 0.5) / 6)
    assert float(learning_rate_sensitivity(torch.tensor(losses), torch.tensor(0.7))) == pytest.approx(2.2 / 6)


def test_with_seeds_by_loops() -> None:
    rng = np.random.default_rng(0)
    losses, start = rng.uniform(0, 1.2, size=(5, 12)), rng.uniform(0.6, 0.8, size=12)
    losses[4, :3] = math.inf
    curve = [np.mean([min(losses[i, s], start[s]) for s in range(12)]) for i in range(5)]
    found = learning_rate_sensitivity(losses, start)
    assert found.value == pytest.approx(np.mean([loss - min(curve) for loss in curve]))
    assert found.low < found.value < found.high
    assert (found.n, found.of, found.method) == (12, "seed", "percentile bootstrap")


def test_the_ends_of_its_scale() -> None:
    assert learning_rate_sensitivity([0.2, 0.2, 0.2], 0.7).value == 0
    assert learning_rate_sensitivity([0.2, *[9.0] * 999], 0.7).value == pytest.approx(0.5, rel=2e-3)
    assert learning_rate_sensitivity([math.nan, math.inf, 0.9], 0.7).value == 0  # nothing learns


def test_one_seed_has_no_interval_and_says_so() -> None:
    assert str(learning_rate_sensitivity([0.2, 0.4], 0.7)) == "0.1 (one seed: no interval)"
    assert learning_rate_sensitivity([[0.2], [0.4]], [0.7]).low is None


@pytest.mark.parametrize(
    ("losses", "start", "says"),
    [
        ([0.2], 0.7, "two or more learning rates"),
        ([0.2, 0.4], math.inf, "start_loss must be finite"),
        ([[0.2, 0.3], [0.4, 0.5]], [0.7, 0.7, 0.7], "one number or 2"),
        ([], 0.7, "losses is empty"),
    ],
)
def test_bad_input_is_refused(losses: list, start: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        learning_rate_sensitivity(losses, start)
