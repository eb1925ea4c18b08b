"""Stacking: a second model learns how to combine the members, from answers that none of them could know by heart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._validation import number, whole
from ._inputs import array, log_probabilities, true_classes

if TYPE_CHECKING:
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import Pipeline

Predict = Callable[[np.ndarray], Any]  # positions (B,) -> predictions (B,) or (B, C), numpy or torch
LOWEST = -12.0  # log-probabilities below say no more than "impossible", and would outweigh all others


@dataclass(frozen=True, eq=False)
class Stack:
    """What stacking came to.

    Attributes:
        probabilities: (T, C) for the test examples, by the combiner that was fitted on the whole validation split.
        validation_probabilities: (N, C) for the validation examples, each by a combiner that was fitted without it.
        validation_accuracy, validation_cross_entropy: of the latter, in [0, 1] and in nats; an honest estimate.
    """

    probabilities: np.ndarray
    validation_probabilities: np.ndarray
    validation_accuracy: float
    validation_cross_entropy: float


def stack(
    validation_logits: Any,
    validation_targets: Any,
    test_logits: Any,
    folds: int = 5,
    seed: int = 0,
    strength: float = 0.1,
) -> Stack:
    """Fit a combiner on the validation split and apply it to the test split.

    The combiner is a logistic regression (scikit-learn) on the standardized log-probabilities of all members, M times C
    numbers an example. There are two places where examples can leak, and both look like success:

    1. *Members.* On an example it was trained on, a member is right because it has seen the answer. A combiner fitted
       there trusts the member that memorizes best. Hence the logits here must be of examples that no member was trained
       on: a validation split, or what ``out_of_fold`` returns, where each example is predicted by a member trained
       without it.
    2. *Combiner.* Scored on the examples it was fitted on, it looks better than it is: with M times C numbers an
       example it can fit pure noise. Hence the validation score is out of fold as well: the split is cut into
       ``folds`` parts and each part is scored by a combiner fitted on the others.

    The test split is in neither; targets of it are not asked for.

    Args:
        validation_logits: (M, N, C), numpy or torch, on examples that no member was trained on.
        validation_targets: (N,) integers, their classes.
        test_logits: (M, T, C), of the same members in the same order.
        folds: parts of the validation split, at least 2; with every class in its share in each.
        seed: of the cut into folds, at least 0.
        strength: inverse strength of the combiner's L2 penalty, above 0 (scikit-learn's ``C``): the smaller, the less
            it can fit. To choose it, compare the validation scores that come back.

    Returns:
        A ``Stack``. A class that never occurs in the validation split gets probability 0.

    Raises:
        ValueError: in one line: logits as for ``average``, other members or classes in the test, or a class with fewer
            examples than folds.

    Source:
        Wolpert 1992, "Stacked generalization"; Ting & Witten 1999, "Issues in stacked generalization" (probabilities
        as the combiner's inputs).
    """
    from sklearn.model_selection import cross_val_predict

    seen, unseen = (
        log_probabilities(validation_logits, "validation_logits"),
        log_probabilities(test_logits, "test_logits"),
    )
    (M, N, C), (members, _, classes) = seen.shape, unseen.shape
    if (members, classes) != (M, C):
        raise ValueError(
            f"validation_logits has {M} members and {C} classes, but test_logits has {members} and {classes}"
        )
    targets = true_classes(validation_targets, N, C)
    combiner, cut = _combiner(number("strength", strength, above=0)), _folds(targets, folds, seed)
    held_out = cross_val_predict(combiner, _features(seen), targets, cv=cut, method="predict_proba")
    combiner.fit(_features(seen), targets)  # now on every validation example
    validation = _spread(held_out, combiner.classes_, C)
    return Stack(
        probabilities=_spread(combiner.predict_proba(_features(unseen)), combiner.classes_, C),
        validation_probabilities=validation,
        validation_accuracy=float((validation.argmax(axis=1) == targets).mean()),
        validation_cross_entropy=float(-np.log(validation[np.arange(N), targets]).mean()),
    )


def out_of_fold(fit: Callable[[np.ndarray], Predict], targets: Any, folds: int = 5, seed: int = 0) -> np.ndarray:
    """Predictions for every example, each by a model that was trained without it.

    For members with no validation split to spare: train each ``folds`` times, and hand the predictions of all members
    to ``stack`` as its validation logits. (For the test, train each member once more on everything.)

    Args:
        fit: called with the positions to train on; returns what predicts: called with positions, (B,) int64, it returns
            their predictions, (B,) or (B, C), numpy or torch. Whatever it chooses by looking at examples (when to stop,
            how to scale the inputs) it must choose by looking at those it was given: else the leak is in there.
        targets: (N,) integers, the classes.
        folds: parts, at least 2; with every class in its share in each.
        seed: of the cut, at least 0; the same seed and targets give the same cut, so use one for all members.

    Returns:
        (N,) or (N, C), in the order of ``targets``.

    Raises:
        ValueError: in one line: a class with fewer examples than folds, or predictions that are not one a position.

    Source:
        Wolpert 1992, "Stacked generalization".
    """
    classes = true_classes(targets)
    found: np.ndarray | None = None
    for i, (train, held) in enumerate(_folds(classes, folds, seed).split(classes, classes)):
        predictions = array(f"what fold {i} predicts", fit(train)(held), 1, 2)
        if predictions.shape[:1] != (len(held),):
            raise ValueError(
                f"fold {i} has {len(held)} examples, but predictions of shape {predictions.shape} came back"
            )
        if found is None:
            found = np.empty((len(classes), *predictions.shape[1:]))
        found[held] = predictions
    assert found is not None
    return found


def _combiner(strength: float) -> Pipeline:
    """The scaling is a part of it, so that a fold is scaled by what the other folds look like."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))


def _folds(targets: np.ndarray, folds: int, seed: int) -> StratifiedKFold:
    from sklearn.model_selection import StratifiedKFold

    whole("folds", folds, at_least=2)
    counts = np.bincount(targets)
    if (counts > 0).sum() < 2:
        raise ValueError(f"all {len(targets)} targets are of class {targets[0]}; two classes are needed")
    for c, count in enumerate(counts):
        if 0 < count < folds:
            raise ValueError(f"class {c} has {count} examples, fewer than the {folds} folds; use fewer folds")
    return StratifiedKFold(folds, shuffle=True, random_state=whole("seed", seed))


def _features(log_p: np.ndarray) -> np.ndarray:
    """(M, N, C) -> (N, M C)."""
    return np.maximum(log_p, LOWEST).transpose(1, 0, 2).reshape(log_p.shape[1], -1)


def _spread(probabilities: np.ndarray, classes: np.ndarray, C: int) -> np.ndarray:
    """(N, classes that occur) -> (N, C)."""
    result = np.zeros((len(probabilities), C))
    result[:, classes] = probabilities
    return result
