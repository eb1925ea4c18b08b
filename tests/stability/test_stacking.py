"""Stacking: no example's answer reaches what predicts it, and where it would, noise would look like knowledge."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neighbors import KNeighborsClassifier

from stablelab.stability import average, out_of_fold, stack

N, C, CHANCE = 180, 3, 1 / 3
NOISE = np.random.default_rng(0)
X = NOISE.normal(size=(N, 6))
TARGETS = NOISE.integers(C, size=N)  # nothing to be learned from X


def memorizer(columns: list[int]) -> Callable:
    """A member that knows its training examples by heart: the class of the nearest one."""

    def fit(train: np.ndarray) -> Callable:
        model = KNeighborsClassifier(1).fit(X[train][:, columns], TARGETS[train])
        return lambda positions: np.log(0.98 * model.predict_proba(X[positions][:, columns]) + 0.02 / C)

    return fit


MEMBERS = [memorizer(columns) for columns in ([0, 1, 2], [2, 3, 4], [3, 4, 5])]


def test_members_that_saw_the_answers_make_noise_look_like_knowledge_and_out_of_fold_does_not() -> None:
    everything = np.arange(N)
    seen = np.stack([fit(everything)(everything) for fit in MEMBERS])
    unseen = np.stack([out_of_fold(fit, TARGETS) for fit in MEMBERS])
    leaky, ours = stack(seen, TARGETS, seen), stack(unseen, TARGETS, unseen)
    assert leaky.validation_accuracy == 1
    assert abs(ours.validation_accuracy - CHANCE) < 0.1
    assert ours.validation_cross_entropy > np.log(C) > leaky.validation_cross_entropy + 0.8


def test_a_combiner_scored_where_it_was_fitted_looks_better_than_it_is_and_ours_does_not() -> None:
    logits = np.random.default_rng(1).normal(size=(12, N, C))
    features = logits.transpose(1, 0, 2).reshape(N, -1)
    leaky = LogisticRegression(max_iter=500).fit(features, TARGETS).score(features, TARGETS)
    ours = stack(logits, TARGETS, logits)
    assert leaky > 0.55
    assert abs(ours.validation_accuracy - CHANCE) < 0.1


def test_no_member_is_asked_about_an_example_it_was_trained_on() -> None:
    asked = np.zeros(N, dtype=int)

    def fit(train: np.ndarray) -> Callable:
        def predict(positions: np.ndarray) -> torch.Tensor:
            assert not set(train) & set(positions) and len(train) + len(positions) == N
            assert abs(np.bincount(TARGETS[positions], minlength=C) * 4 - np.bincount(TARGETS)).max() <= 4
            asked[positions] += 1
            return torch.tensor(np.stack([positions, -positions], axis=1))

        return predict

    found = out_of_fold(fit, torch.tensor(TARGETS), folds=4, seed=3)
    assert (asked == 1).all()
    assert np.array_equal(found, np.stack([np.arange(N), -np.arange(N)], axis=1))
    assert out_of_fold(lambda train: lambda held: held + 0.5, TARGETS).shape == (N,)


def skilled(seed: int, examples: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Two members that mistake the same two classes for one another in opposite ways, and one that knows nothing."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(C, size=examples)
    logits = 0.7 * generator.normal(size=(3, examples, C))
    logits[0] += 2 * np.eye(C)[targets][:, [1, 0, 2]]
    logits[1] += 2 * np.eye(C)[targets]
    return logits, targets


def test_a_stack_learns_what_an_average_cannot_and_its_estimate_holds_on_new_examples() -> None:
    (seen, targets), (new, answers) = skilled(1), skilled(2)
    found = stack(seen, targets, torch.tensor(new))
    assert np.allclose(found.probabilities.sum(axis=1), 1)
    right = (found.probabilities.argmax(axis=1) == answers).mean()
    assert right > (average(new).argmax(axis=1) == answers).mean() + 0.15
    assert found.validation_accuracy == pytest.approx(right, abs=0.08)
    assert found.validation_cross_entropy == pytest.approx(log_loss(targets, found.validation_probabilities))
    again = stack(seen, targets, new)
    assert np.array_equal(found.probabilities, again.probabilities)
    assert not np.array_equal(
        found.validation_probabilities, stack(seen, targets, new, seed=1).validation_probabilities
    )


def test_a_class_that_never_occurs_gets_no_probability() -> None:
    logits, targets = skilled(3)
    wider = np.concatenate([logits[:, :, :1], logits], axis=2)
    found = stack(wider, targets + 1, wider)
    assert (found.probabilities[:, 0] == 0).all() and (found.validation_probabilities[:, 0] == 0).all()
    assert found.validation_accuracy > 0.8


LOGITS, KNOWN = skilled(4, 30)
RARE = np.where(np.arange(30) < 3, 2, np.arange(30) % 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: stack(LOGITS, KNOWN, LOGITS[:2]),
            "validation_logits has 3 members and 3 classes, but test_logits has 2 and 3",
        ),
        (lambda: stack(LOGITS, RARE, LOGITS), "class 2 has 3 examples, fewer than the 5 folds; use fewer folds"),
        (lambda: stack(LOGITS, 0 * KNOWN, LOGITS), "all 30 targets are of class 0; two classes are needed"),
        (lambda: stack(LOGITS, KNOWN, LOGITS, folds=1), "folds is 1; it must be a whole number, 2 or more"),
        (lambda: stack(LOGITS, KNOWN, LOGITS, strength=0), "strength is 0; it must be a finite number above 0"),
        (lambda: stack(LOGITS, KNOWN, LOGITS * np.nan), "member 0 of test_logits is not finite"),
        (lambda: out_of_fold(lambda _: lambda held: held[1:], KNOWN), r"fold 0 has 6 examples, but predictions of"),
        (lambda: out_of_fold(lambda _: lambda held: held, []), "targets must be N integers"),
    ],
)
def test_what_cannot_be_stacked_is_refused_in_one_line(call, message) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
