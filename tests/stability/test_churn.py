"""Churn by counting, and against runs whose churn is known."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score

from stablelab.stability import churn, pairwise_churn


def runs(rng: np.random.Generator, R: int, N: int, share: float) -> np.ndarray:
    """Predictions of two classes, each turned round from a common answer with probability `share`."""
    return (rng.random((R, N)) < share).astype(int)


def test_by_counting() -> None:
    p = np.random.default_rng(0).integers(0, 3, size=(5, 40))
    found = [sum(a != b for a, b in zip(p[i], p[j], strict=True)) / 40 for i, j in combinations(range(5), 2)]
    assert churn(p).value == pytest.approx(np.mean(found))
    assert pairwise_churn(p)[1, 3] == pytest.approx(1 - accuracy_score(p[1], p[3]))
    assert np.array_equal(pairwise_churn(p), pairwise_churn(p).T)


def test_logits_count_by_their_largest() -> None:
    logits = torch.randn(4, 30, 3, generator=torch.Generator().manual_seed(0))
    assert churn(logits).value == churn(logits.argmax(dim=-1)).value


def test_the_interval_holds_the_true_churn_about_as_often_as_said() -> None:
    rng = np.random.default_rng(1)
    # Each run turns its own share of the answers round, so runs differ in more than chance.
    shares = rng.uniform(0.05, 0.25, size=(16, 15))
    found = [churn((rng.random((15, 300)) < s[:, None]).astype(int)) for s in shares]
    truth = 2 * 0.15 * (1 - 0.15)
    assert 0.8 <= np.mean([e.low <= truth <= e.high for e in found]) <= 1


def test_runs_that_agree_and_two_runs() -> None:
    assert churn([[0, 1, 1]] * 4).value == 0
    assert churn([[0, 1, 1]] * 4).low is None
    two = churn([[0, 1, 1, 0], [0, 1, 0, 0]])
    assert two.value == 0.25


def test_one_run_has_no_churn_and_says_so() -> None:
    assert str(churn([[0, 1]])) == "– (one run: no churn, no interval)"


def test_runs_that_diverged_are_left_out_and_counted() -> None:
    good = runs(np.random.default_rng(2), 3, 20, 0.3)
    assert churn([*good, [-1] * 20]).left_out == 1
    logits = np.random.default_rng(3).normal(size=(3, 5, 2))
    with_nan = np.concatenate([logits, np.full((1, 5, 2), math.nan)])
    assert (churn(with_nan).value, churn(with_nan).left_out) == (churn(logits).value, 1)
    assert "no run with predictions" in str(churn([[-1, -1]]))


@pytest.mark.parametrize(("given", "says"), [([0, 1], "2 or 3 dimensions"), ([[0.5, 0.2], [0, 1]], "class numbers")])
def test_probabilities_are_no_predictions(given: list, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        churn(given)
