"""Ensembles: several models answer as one, by voting or by averaging, and what that is worth beside one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._validation import whole
from ._inputs import array, log_probabilities, normalized_weights, true_classes
from .calibration import reliability

if TYPE_CHECKING:
    from pandas import DataFrame

SCORES = ("accuracy", "cross_entropy", "ece")
ROUNDING = 1e-4  # by which probabilities of single precision may miss a sum of 1


def vote(logits: Any) -> np.ndarray:
    """The class that most members choose.

    Of classes with equally many votes it is the one with the largest mean probability; lowest number if that ties, too.
    Votes say nothing of how sure the members are, so no probabilities come of them, nor a calibration.

    Args:
        logits: (M, N, C), numpy or torch, of M members on the same examples.

    Returns:
        (N,) int64, the class of each example.

    Raises:
        ValueError: in one line: fewer than two members, members of different shapes, or one that diverged.

    Source:
        Kuncheva 2014, "Combining pattern classifiers", 2nd edition, Chapter 4 (here the plurality vote).
    """
    log_p = log_probabilities(logits)
    counts = (log_p.argmax(axis=2)[..., None] == np.arange(log_p.shape[2])).sum(axis=0)  # (N, C)
    # A mean probability is at most 1: halved, it never outweighs a vote.
    return (counts + np.exp(log_p).mean(axis=0) / 2).argmax(axis=1)


def average(logits: Any, weights: Sequence[float] | np.ndarray | None = None) -> np.ndarray:
    """The members' mean probability, p_c = Σ_m w_m p_mc with Σ_m w_m = 1.

    Its cross-entropy is never above the (weighted) mean of the members', since -log is convex (Jensen's inequality).

    Args:
        logits: (M, N, C), numpy or torch, of M members on the same examples.
        weights: (M,) at least 0, scaled here to sum to 1; equal ones if not given.

    Returns:
        (N, C) float64 probabilities.

    Raises:
        ValueError: in one line: fewer than two members, members of different shapes, one that diverged, or weights that
            are of another number, negative or all 0.

    Source:
        Lakshminarayanan, Pritzel & Blundell 2017, "Simple and scalable predictive uncertainty estimation using deep
        ensembles", Section 2.4.
    """
    log_p = log_probabilities(logits)
    return np.tensordot(normalized_weights(weights, len(log_p)), np.exp(log_p), axes=1)


def fit_weights(validation_logits: Any, validation_targets: Any) -> np.ndarray:
    """The weights for ``average`` with which the cross-entropy of the validation split is lowest.

    As a function of the weights it is convex. They are written as a softmax of free numbers, so that they stay positive
    and sum to 1, and descent (L-BFGS) begins at equal weights: nothing is drawn at random. With few examples the
    weights settle on the members that happen to suit those, so the score on the very same split flatters: compare with
    equal weights on another split.

    Args:
        validation_logits: (M, N, C), numpy or torch, on examples that no member was trained on. On training examples a
            member that learned them by heart would win, however badly it does elsewhere.
        validation_targets: (N,) integers, their classes.

    Returns:
        (M,) float64, sum 1; of a member that is of no use it is near 0.

    Raises:
        ValueError: in one line: as ``average``, or targets that are not N classes.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax, logsumexp, softmax

    log_p = log_probabilities(validation_logits)
    targets = true_classes(validation_targets, *log_p.shape[1:])
    log_right = log_p[:, np.arange(len(targets)), targets]  # (M, N)

    def loss(z: np.ndarray) -> tuple[float, np.ndarray]:
        joint = log_softmax(z)[:, None] + log_right
        total = logsumexp(joint, axis=0)
        blame = np.exp(joint - total).mean(axis=1)  # the share of each member in the probability of the right class
        return -total.mean(), softmax(z) - blame

    return softmax(minimize(loss, np.zeros(len(log_p)), jac=True, method="L-BFGS-B").x)


@dataclass(frozen=True, eq=False)
class EnsembleComparison:
    """Members and what was made of them, scored on the same examples.

    Attributes:
        names: of the K combinations.
        members: (M, 3) accuracy in [0, 1], mean cross-entropy in nats, and expected calibration error in [0, 1].
        combined: (K, 3) the same; cross-entropy and calibration error are nan for a vote, which has no probabilities.
    """

    names: tuple[str, ...]
    members: np.ndarray
    combined: np.ndarray

    def frame(self) -> DataFrame:
        """A row for the members, their mean and (in columns ``..._std``) standard deviation, and one a combination."""
        from pandas import DataFrame

        rows = np.vstack([self.members.mean(axis=0), self.combined])
        spread = np.vstack([self.members.std(axis=0, ddof=1), np.full_like(self.combined, np.nan)])
        index = [f"single member (mean of {len(self.members)})", *self.names]
        return DataFrame(rows, index, SCORES).join(DataFrame(spread, index, [f"{name}_std" for name in SCORES]))


def compare_ensembles(logits: Any, combined: Mapping[str, Any], targets: Any) -> EnsembleComparison:
    """Score the members of an ensemble and its combinations: accuracy, cross-entropy and calibration.

    Args:
        logits: (M, N, C), numpy or torch, of the members.
        combined: name -> probabilities (N, C), as ``average`` returns, or classes (N,), as ``vote`` does.
        targets: (N,) integers, the true classes.

    Returns:
        An ``EnsembleComparison``; ``.frame()`` is its table.

    Raises:
        ValueError: in one line: logits as for ``average``, a combination of another shape or no probabilities.

    Source:
        Guo et al. 2017, "On calibration of modern neural networks", Section 2 (expected calibration error).
    """
    log_p = log_probabilities(logits)
    _, N, C = log_p.shape
    right = true_classes(targets, N, C)
    members = [_scores(member, right) for member in np.exp(log_p)]
    scored = [_scores(_answers(name, found, N, C), right) for name, found in combined.items()]
    return EnsembleComparison(tuple(combined), np.array(members), np.array(scored).reshape(-1, len(SCORES)))


def spread_by_size(
    logits: Any, targets: Any, sizes: Sequence[int] | None = None, draws: int = 200, seed: int = 0
) -> DataFrame:
    """Accuracy of averaged ensembles of k members: how high, and by how much it differs from one ensemble to the next.

    A draw shuffles the M members and cuts them into ⌊M/k⌋ ensembles of k that share none. Standard deviations are
    taken among these, and averaged over the draws as variances. Two ensembles drawn freely share many of their members
    once k comes near M, and so differ less than two that were trained anew would. For the same reason there is no
    standard deviation (nan) for k above M/2: among M members there are no two such ensembles. What all members have in
    common, such as a training set, does not show in it.

    Args:
        logits: (M, N, C), numpy or torch, of the members.
        targets: (N,) integers, the true classes.
        sizes: numbers of members, each from 1 to M; all of them if not given.
        draws: shuffles for each size.
        seed: of the shuffles, at least 0.

    Returns:
        A frame, a row for each size: ``size``, ``accuracy`` (mean over all its ensembles), ``std`` and ``apart``, the
        number ⌊M/k⌋ of ensembles that share no member.

    Raises:
        ValueError: in one line: logits as for ``average``, or a size that cannot be.
    """
    from pandas import DataFrame

    log_p = log_probabilities(logits)
    right = true_classes(targets, *log_p.shape[1:])
    M, probabilities = len(log_p), np.exp(log_p)
    whole("draws", draws, at_least=1)
    generator = np.random.default_rng(whole("seed", seed))
    rows = []
    for k in range(1, M + 1) if sizes is None else sizes:
        if whole("size", k, at_least=1, of=" of members") > M:
            raise ValueError(f"size is {k}, but there are {M} members")
        orders = [generator.permutation(M) for _ in range(draws)]
        found = np.array([_accuracies(probabilities[order], right, k) for order in orders])  # (draws, M // k)
        std = float(np.sqrt(found.var(axis=1, ddof=1).mean())) if M // k > 1 else np.nan
        rows.append((k, float(found.mean()), std, M // k))
    return DataFrame(rows, columns=["size", "accuracy", "std", "apart"])


def _accuracies(probabilities: np.ndarray, right: np.ndarray, k: int) -> np.ndarray:
    """Of the ensembles that are the members 0 to k - 1, k to 2k - 1 and so on; what is left over is left out."""
    apart = len(probabilities) // k
    groups = probabilities[: apart * k].reshape(apart, k, *probabilities.shape[1:])
    return (groups.mean(axis=1).argmax(axis=2) == right).mean(axis=1)


def _answers(name: str, found: Any, N: int, C: int) -> np.ndarray:
    """Classes (N,) int64 or probabilities (N, C)."""
    answers = array(name, found, 1, 2)
    if answers.shape == (N,):
        if not np.isin(answers, np.arange(C)).all():
            raise ValueError(f"{name} must be classes, 0 to {C - 1}, since it has one number for each example")
        return answers.astype(np.int64)
    if answers.shape != (N, C):
        raise ValueError(f"{name} has shape {answers.shape}; it must be probabilities ({N}, {C}) or classes ({N},)")
    if not ((answers >= 0).all() and np.allclose(answers.sum(axis=1), 1, rtol=0, atol=ROUNDING)):
        raise ValueError(f"{name} must be probabilities, at least 0 and summing to 1 in each row; are they logits?")
    return answers


def _scores(answers: np.ndarray, right: np.ndarray) -> tuple[float, float, float]:
    if answers.ndim == 1:
        return float((answers == right).mean()), np.nan, np.nan
    with np.errstate(divide="ignore"):  # a right class that was held impossible: infinitely surprising
        cross_entropy = -np.log(answers[np.arange(len(right)), right]).mean()
    accuracy = (answers.argmax(axis=1) == right).mean()
    return float(accuracy), float(cross_entropy), reliability(answers, right).error
