"""Voting, averaging and what they are worth, by brute force and against scikit-learn; bad input in one line."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, product

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import accuracy_score, log_loss

from stablelab.stability import (
    average,
    compare_ensembles,
    expected_calibration_error,
    fit_weights,
    spread_by_size,
    vote,
)

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


M, N, C = 4, 90, 3
SCORED = np.random.default_rng(0)
SCORED_TARGETS = SCORED.integers(C, size=N)
SCORED_LOGITS = 1.2 * np.eye(C)[SCORED_TARGETS] + 1.5 * SCORED.normal(size=(M, N, C))


def test_members_and_combinations_have_the_scores_of_scikit_learn() -> None:
    mean, chosen = average(SCORED_LOGITS), vote(SCORED_LOGITS)
    found = compare_ensembles(
        torch.tensor(SCORED_LOGITS), {"average": torch.tensor(mean), "vote": chosen}, SCORED_TARGETS
    )
    frame = found.frame()
    assert list(frame.index) == ["single member (mean of 4)", "average", "vote"]
    assert frame.loc["average", "accuracy"] == pytest.approx(accuracy_score(SCORED_TARGETS, mean.argmax(axis=1)))
    assert frame.loc["average", "cross_entropy"] == pytest.approx(log_loss(SCORED_TARGETS, mean))
    assert frame.loc["average", "ece"] == pytest.approx(expected_calibration_error(mean, SCORED_TARGETS).value)
    assert frame.loc["vote", "accuracy"] == pytest.approx(accuracy_score(SCORED_TARGETS, chosen))
    assert frame.loc["vote", ["cross_entropy", "ece"]].isna().all()
    alone = [accuracy_score(SCORED_TARGETS, member.argmax(axis=1)) for member in SCORED_LOGITS]
    assert found.members[:, 0].tolist() == pytest.approx(alone)
    assert frame.iloc[0]["accuracy"] == pytest.approx(np.mean(alone))
    assert frame.iloc[0]["accuracy_std"] == pytest.approx(np.std(alone, ddof=1))
    assert frame["accuracy_std"].isna().tolist() == [False, True, True]


def test_a_right_class_held_impossible_costs_without_end_and_no_combination_is_fine() -> None:
    sure = np.eye(C)[(SCORED_TARGETS + 1) % C]
    assert compare_ensembles(SCORED_LOGITS, {"sure": sure}, SCORED_TARGETS).combined[0].tolist() == [0, np.inf, 1]
    assert len(compare_ensembles(SCORED_LOGITS, {}, SCORED_TARGETS).frame()) == 1


def accuracy(members: tuple[int, ...]) -> float:
    p = [np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in SCORED_LOGITS[list(members)]]
    return float((np.mean(p, axis=0).argmax(axis=1) == SCORED_TARGETS).mean())


def test_the_spread_by_size_is_that_of_all_ways_to_cut_the_members_into_ensembles() -> None:
    found = spread_by_size(SCORED_LOGITS, SCORED_TARGETS, draws=600).set_index("size")
    alone = [accuracy((m,)) for m in range(M)]
    assert found.loc[1, "accuracy"] == pytest.approx(np.mean(alone))
    assert found.loc[1, "std"] == pytest.approx(np.std(alone, ddof=1))
    pairs = [(accuracy((0, m)), accuracy(tuple({1, 2, 3} - {m}))) for m in (1, 2, 3)]
    assert found.loc[2, "accuracy"] == pytest.approx(np.mean(pairs), abs=5e-3)
    assert found.loc[2, "std"] == pytest.approx(np.sqrt(np.var(pairs, axis=1, ddof=1).mean()), rel=0.1)
    threes = [accuracy(three) for three in combinations(range(M), 3)]
    assert found.loc[3, "accuracy"] == pytest.approx(np.mean(threes), abs=5e-3)
    assert found.loc[4, "accuracy"] == pytest.approx(accuracy((0, 1, 2, 3)))
    assert found["std"].isna().tolist() == [False, False, True, True]
    assert found["apart"].tolist() == [4, 2, 1, 1]


def test_ensembles_that_share_no_member_show_the_spread_that_ensembles_drawn_freely_hide() -> None:
    """The truth here is known: many ensembles of five, made of members that nobody else has."""
    generator = np.random.default_rng(2)
    targets = np.zeros(60, dtype=int)
    world = generator.normal(size=(60, 10, 60, 2)) + [0.3, 0] + 0.6 * generator.normal(size=(60, 10, 1, 2))
    truth = np.std([(average(ten[:5]).argmax(axis=1) == 0).mean() for ten in world], ddof=1)
    ours = np.sqrt(np.mean([spread_by_size(ten, targets, [5], draws=8)["std"][0] ** 2 for ten in world]))
    freely = [
        np.var([(average(ten[generator.permutation(10)[:5]]).argmax(axis=1) == 0).mean() for _ in range(8)], ddof=1)
        for ten in world
    ]
    assert ours == pytest.approx(truth, rel=0.2)
    assert np.sqrt(np.mean(freely)) < 0.85 * truth


def test_the_same_seed_gives_the_same_spread() -> None:
    one, same, other = (spread_by_size(SCORED_LOGITS, SCORED_TARGETS, [2], draws=5, seed=seed) for seed in (3, 3, 4))
    assert one.equals(same) and not one.equals(other)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: compare_ensembles(SCORED_LOGITS, {"mine": SCORED_LOGITS[0]}, SCORED_TARGETS),
            "mine must be probabilities",
        ),
        (
            lambda: compare_ensembles(SCORED_LOGITS, {"mine": np.ones((N, 2)) / 2}, SCORED_TARGETS),
            r"mine has shape \(90, 2\); it must be probabilities \(90, 3\) or classes \(90,\)",
        ),
        (
            lambda: compare_ensembles(SCORED_LOGITS, {"mine": SCORED_TARGETS + 0.5}, SCORED_TARGETS),
            "mine must be classes",
        ),
        (
            lambda: compare_ensembles(SCORED_LOGITS, {"mine": SCORED_TARGETS + 5}, SCORED_TARGETS),
            "mine must be classes",
        ),
        (lambda: compare_ensembles(SCORED_LOGITS[:1], {}, SCORED_TARGETS), "logits holds 1 member"),
        (lambda: spread_by_size(SCORED_LOGITS, SCORED_TARGETS, [5]), "size is 5, but there are 4 members"),
        (
            lambda: spread_by_size(SCORED_LOGITS, SCORED_TARGETS, [0]),
            "size is 0; it must be a whole number of members, 1 or more",
        ),
        (lambda: spread_by_size(SCORED_LOGITS, SCORED_TARGETS, draws=0), "draws is 0"),
        (lambda: spread_by_size(SCORED_LOGITS, SCORED_TARGETS, seed=-1), "seed is -1"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line(call, message) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
