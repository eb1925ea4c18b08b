"""Ensembles: several models answer as one. Voting, averaging, and averaging with fitted weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .members import log_probabilities, shares, true_classes


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
    return np.tensordot(shares(weights, len(log_p)), np.exp(log_p), axes=1)


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
