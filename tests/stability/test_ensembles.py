"""Voting and averaging, by brute force; and what cannot be combined is refused in one line."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from scipy.special import softmax

from stablelab.stability import average, fit_weights, vote

DRAWN = np.random.default_rng(0)
LOGITS = 2 * DRAWN.normal(size=(5, 40, 4))
TARGETS = DRAWN.integers(4, size=40)


def helpful(M: int = 3, N: int = 60, C: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Members that know something: the first the most, the last nothing."""
    generator = np.random.default_rng(1)
    targets = generator.integers(C, size=N)
    skill = np.linspace(2, 0, M)[:, None, None]
    return skill * np.eye(C)[targets] + 1.5 * generator.normal(size=(M, N, C)), targets


def loss_of(weights: np.ndarray, logits: np.ndarray, targets: np.ndarray) -> float:
    p = np.tensordot(weights, softmax(logits, axis=2), axes=1)
    return float(-np.log(p[np.arange(len(targets)), targets]).mean())


def test_a_vote_is_the_most_frequent_choice_and_ties_go_to_the_larger_mean_probability() -> None:
    probabilities = softmax(LOGITS, axis=2)
    ties = 0
    for n, winner in enumerate(vote(LOGITS)):
        ballots = Counter(LOGITS[:, n].argmax(axis=1).tolist())
        first = [c for c, count in ballots.items() if count == max(ballots.values())]
        ties += len(first) > 1
        assert winner == max(first, key=lambda c: probabilities[:, n, c].mean())
    assert ties > 2


def test_one_very_sure_member_decides_an_average_but_not_a_vote() -> None:
    logits = np.array([[[0.0, 9.0]], [[0.3, 0.0]], [[0.3, 0.0]]])
    assert vote(logits).tolist() == [0]
    assert average(logits).argmax(axis=1).tolist() == [1]


@pytest.mark.parametrize("as_given", [np.asarray, torch.tensor, lambda x: torch.tensor(x).float(), list])
def test_an_average_is_the_weighted_mean_of_probabilities(as_given) -> None:
    found = average(as_given(LOGITS), [1, 2, 0, 4, 1])
    weights = np.array([1, 2, 0, 4, 1]) / 8
    expected = sum(w * softmax(member, axis=1) for w, member in zip(weights, LOGITS, strict=True))
    assert np.allclose(found, expected, atol=1e-6)
    assert np.allclose(average(LOGITS), softmax(LOGITS, axis=2).mean(axis=0))


def test_an_average_is_never_more_surprised_than_its_members_are_on_average() -> None:
    each = [loss_of(np.eye(5)[m], LOGITS, TARGETS) for m in range(5)]
    assert loss_of(np.full(5, 0.2), LOGITS, TARGETS) < np.mean(each)


def test_fitted_weights_are_as_good_as_the_best_of_a_grid_and_the_same_each_time() -> None:
    logits, targets = helpful()
    weights = fit_weights(logits, targets)
    ticks = np.linspace(0, 1, 41)
    grid = [np.array([a, b, 1 - a - b]) for a, b in product(ticks, ticks) if a + b <= 1]
    best = min(grid, key=lambda w: loss_of(w, logits, targets))
    assert (
        loss_of(weights, logits, targets) <= loss_of(best, logits, targets) + 1e-5
    )  # weights come near 0, never to it
    assert np.abs(weights - best).max() < 0.05
    assert weights.sum() == pytest.approx(1) and (weights >= 0).all()
    assert weights[0] > 0.7 and weights[2] < 0.2
    assert np.array_equal(weights, fit_weights(torch.tensor(logits), torch.tensor(targets)))


def test_members_that_are_alike_get_equal_weights_and_extreme_logits_do_no_harm() -> None:
    same = np.stack([LOGITS[0]] * 4)
    assert np.allclose(fit_weights(same, TARGETS), 0.25)
    assert np.isfinite(fit_weights(1e4 * LOGITS, TARGETS)).all()
    assert np.isfinite(average(1e4 * LOGITS)).all()


DIVERGED = LOGITS.copy()
DIVERGED[3, 7, 1] = np.nan


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (LOGITS[:1], r"logits holds 1 member; an ensemble needs two or more, as \(M, N, C\)"),
        (
            [LOGITS[0], LOGITS[1, :30]],
            r"member 1 of logits has shape \(30, 4\), but member 0 has \(40, 4\); use one split",
        ),
        (DIVERGED, "member 3 of logits is not finite: it diverged, so leave it out"),
        (torch.tensor(DIVERGED), "member 3 of logits is not finite"),
        (LOGITS[:, :, :1], "the members of logits have 1 class; there must be two or more"),
        (LOGITS[0], "member 0 of logits must have 2 dimensions, not 1"),
        (LOGITS[:, :0], "member 0 of logits is empty"),
    ],
)
def test_logits_that_make_no_ensemble_are_refused_in_one_line(logits, message) -> None:
    for combine in (vote, average, lambda x: fit_weights(x, TARGETS)):
        with pytest.raises(ValueError, match=message) as caught:
            combine(logits)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 1], r"weights has shape \(2,\); it must be \(5,\), one for each member"),
        ([1, 1, -0.5, 1, 1], "the weight of member 2 is -0.5; it must be a finite number at least 0"),
        ([1, 1, 1, np.inf, 1], "the weight of member 3 is inf"),
        ([0, 0, 0, 0, 0], "all weights are 0; at least one must be above 0"),
        ([], "weights is empty"),
    ],
)
def test_weights_that_cannot_be_are_refused_in_one_line(weights, message) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        average(LOGITS, weights)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (TARGETS[:39], r"targets must be 40 integers, one for each example, not int64 of shape \(39,\)"),
        (TARGETS + 0.5, "targets must be 40 integers, one for each example, not float64"),
        (TARGETS + 1, r"targets must lie in 0..3, the classes, but they span 1..4"),
        (torch.tensor(TARGETS) - 1, "but they span -1..2"),
    ],
)
def test_targets_that_are_no_classes_are_refused_in_one_line(targets, message) -> None:
    with pytest.raises(ValueError, match=message):
        fit_weights(LOGITS, targets)
