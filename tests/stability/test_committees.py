"""What an ensemble is worth: scores against scikit-learn, and the spread by size by brute force."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss

from stablelab.stability import average, compare_ensembles, expected_calibration_error, spread_by_size, vote

M, N, C = 4, 90, 3
DRAWN = np.random.default_rng(0)
TARGETS = DRAWN.integers(C, size=N)
LOGITS = 1.2 * np.eye(C)[TARGETS] + 1.5 * DRAWN.normal(size=(M, N, C))


def test_members_and_combinations_have_the_scores_of_scikit_learn() -> None:
    mean, chosen = average(LOGITS), vote(LOGITS)
    found = compare_ensembles(torch.tensor(LOGITS), {"average": torch.tensor(mean), "vote": chosen}, TARGETS)
    frame = found.frame()
    assert list(frame.index) == ["single member (mean of 4)", "average", "vote"]
    assert frame.loc["average", "accuracy"] == pytest.approx(accuracy_score(TARGETS, mean.argmax(axis=1)))
    assert frame.loc["average", "cross_entropy"] == pytest.approx(log_loss(TARGETS, mean))
    assert frame.loc["average", "ece"] == pytest.approx(expected_calibration_error(mean, TARGETS).value)
    assert frame.loc["vote", "accuracy"] == pytest.approx(accuracy_score(TARGETS, chosen))
    assert frame.loc["vote", ["cross_entropy", "ece"]].isna().all()
    alone = [accuracy_score(TARGETS, member.argmax(axis=1)) for member in LOGITS]
    assert found.members[:, 0].tolist() == pytest.approx(alone)
    assert frame.iloc[0]["accuracy"] == pytest.approx(np.mean(alone))
    assert frame.iloc[0]["accuracy_std"] == pytest.approx(np.std(alone, ddof=1))
    assert frame["accuracy_std"].isna().tolist() == [False, True, True]


def test_a_right_class_held_impossible_costs_without_end_and_no_combination_is_fine() -> None:
    sure = np.eye(C)[(TARGETS + 1) % C]
    assert compare_ensembles(LOGITS, {"sure": sure}, TARGETS).combined[0].tolist() == [0, np.inf, 1]
    assert len(compare_ensembles(LOGITS, {}, TARGETS).frame()) == 1


def accuracy(members: tuple[int, ...]) -> float:
    p = [np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in LOGITS[list(members)]]
    return float((np.mean(p, axis=0).argmax(axis=1) == TARGETS).mean())


def test_the_spread_by_size_is_that_of_all_ways_to_cut_the_members_into_ensembles() -> None:
    found = spread_by_size(LOGITS, TARGETS, draws=600).set_index("size")
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
    one, same, other = (spread_by_size(LOGITS, TARGETS, [2], draws=5, seed=seed) for seed in (3, 3, 4))
    assert one.equals(same) and not one.equals(other)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare_ensembles(LOGITS, {"mine": LOGITS[0]}, TARGETS), "mine must be probabilities"),
        (
            lambda: compare_ensembles(LOGITS, {"mine": np.ones((N, 2)) / 2}, TARGETS),
            r"mine has shape \(90, 2\); it must be probabilities \(90, 3\) or classes \(90,\)",
        ),
        (lambda: compare_ensembles(LOGITS, {"mine": TARGETS + 0.5}, TARGETS), "mine must be classes"),
        (lambda: compare_ensembles(LOGITS, {"mine": TARGETS + 5}, TARGETS), "mine must be classes"),
        (lambda: compare_ensembles(LOGITS[:1], {}, TARGETS), "logits holds 1 member"),
        (lambda: spread_by_size(LOGITS, TARGETS, [5]), "size is 5, but there are 4 members"),
        (lambda: spread_by_size(LOGITS, TARGETS, [0]), "size is 0; it must be a whole number of members, 1 or more"),
        (lambda: spread_by_size(LOGITS, TARGETS, draws=0), "draws is 0"),
        (lambda: spread_by_size(LOGITS, TARGETS, seed=-1), "seed is -1"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line(call, message) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
