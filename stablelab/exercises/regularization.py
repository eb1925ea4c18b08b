"""The exercises of notebook 03 on what is done against overfitting; ``losses`` lists them after its own."""

from __future__ import annotations

import torch

from .exercise import Case, Exercise, Slip


def soft_threshold(theta, threshold):
    return torch.sign(theta) * torch.clamp(theta.abs() - threshold, min=0)


def dropout(x, keep, p):
    return torch.where(keep, x / (1 - p), 0.0)


def early_stopping(losses, patience):
    best = 0
    for i in range(len(losses)):
        if losses[i] < losses[best]:
            best = i
        if i - best == patience:
            return best, i
    return best, len(losses) - 1


def _tensor(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def _stop(improves, first=0, patience_plus=0, counts_on=False):
    """Early stopping with one thing done otherwise."""

    def answer(losses, patience):
        best, waited = 0, 0
        for i in range(1, len(losses)):
            better = improves(losses[i], losses[best], losses[i - 1])
            best = i if better else best
            waited = (waited if counts_on else 0) if better else waited + 1
            if waited == patience + patience_plus:
                return best, i
        return best, len(losses) - 1

    return answer


_WEIGHTS = _tensor(3.0, -2.0, 0.5, -0.25, 0.0)

SOFT_THRESHOLD = Exercise(
    name="losses.soft_threshold",
    asks="the weights that minimize ½ (z - θ)² + threshold · |z|, one by one",
    solution=soft_threshold,
    cases=(
        Case("weights on both sides of the threshold 1", (_WEIGHTS, 1.0)),
        Case("a matrix, threshold 0.4", (_tensor([0.5, -3.0], [0.4, -0.1]), 0.4)),
        Case("threshold 0: nothing changes", (_WEIGHTS, 0.0)),
    ),
    slips=(
        Slip(
            "this is hard thresholding: the weights that survive must come closer to 0 by the threshold, too",
            lambda theta, threshold: torch.where(theta.abs() > threshold, theta, 0.0),
        ),
        Slip(
            "weights within the threshold are pushed past 0 to the other side: they must stop at 0",
            lambda theta, threshold: theta - threshold * torch.sign(theta),
        ),
        Slip(
            "negative weights are lost: work on |θ| and give the sign back",
            lambda theta, threshold: torch.clamp(theta - threshold, min=0),
        ),
        Slip(
            "the sign is not given back: multiply with sign θ",
            lambda theta, threshold: torch.clamp(theta.abs() - threshold, min=0),
        ),
        Slip(
            "this is what an L2 penalty does: it shrinks all by one factor and makes no zeros",
            lambda theta, threshold: theta / (1 + threshold),
        ),
    ),
    hints=(
        "Three cases: θ above the threshold, below minus the threshold, and in between.",
        "The size is |θ| - threshold, but at least 0 (torch.clamp); the sign is that of θ (torch.sign).",
    ),
)

_X, _KEEP = _tensor(1.0, -2.0, 3.0, 0.5), torch.tensor([True, False, True, True])

DROPOUT = Exercise(
    name="losses.dropout",
    asks="the activations after inverted dropout, with the mean they had",
    solution=dropout,
    cases=(
        Case("four units, one dropped, p = 0.2", (_X, _KEEP, 0.2)),
        Case("a batch of two, p = 0.75", (torch.stack((_X, 2 * _X)), torch.stack((_KEEP, ~_KEEP)), 0.75)),
        Case("p = 0, all kept", (_X, torch.ones(4, dtype=torch.bool), 0.0)),
    ),
    slips=(
        Slip(
            "what is kept is not scaled up, so the mean falls to (1 - p) x",
            lambda x, keep, p: torch.where(keep, x, 0.0),
        ),
        Slip(
            "p is the probability of being dropped; divide by that of being kept, 1 - p",
            lambda x, keep, p: torch.where(keep, x / p, 0.0),
        ),
        Slip(
            "multiplied by 1 - p: that is what classical dropout does in use; here, in training, divide",
            lambda x, keep, p: torch.where(keep, x * (1 - p), 0.0),
        ),
        Slip(
            "the mask is upside down: True means that the unit is kept",
            lambda x, keep, p: torch.where(keep, 0.0, x / (1 - p)),
        ),
        Slip(
            "scaled by the share that happened to be kept; the factor is 1 / (1 - p) whatever the mask",
            lambda x, keep, p: torch.where(keep, x / keep.double().mean(), 0.0),
        ),
    ),
    hints=(
        "A unit is kept with probability 1 - p. What must its value then be for the mean to be x?",
        "x / (1 - p) where keep is True, and 0 elsewhere; torch.where or a product with the mask.",
    ),
)

EARLY_STOPPING = Exercise(
    name="losses.early_stopping",
    asks="the positions (from 0) of the best evaluation and of the one after which training stops",
    solution=early_stopping,
    cases=(
        Case("patience 2 runs out before a better loss comes", ([1.0, 0.8, 0.9, 0.85, 0.5], 2)),
        Case("an improvement in time, patience 2", ([1.0, 0.8, 0.9, 0.7, 0.9, 0.75, 0.6], 2)),
        Case("as good is not better, patience 1", ([0.5, 0.5, 0.4], 1)),
        Case("patience never runs out", ([3.0, 2.0, 1.0], 3)),
        Case("worse than the best, though better than the one before, patience 3", ([0.5, 0.9, 0.8, 0.7, 0.1], 3)),
    ),
    slips=(
        Slip(
            "the best of all losses: those after the stop are never measured",
            lambda losses, patience: (losses.index(min(losses)), early_stopping(losses, patience)[1]),
        ),
        Slip(
            "one evaluation too late: stop as soon as patience evaluations in a row did not improve",
            _stop(lambda loss, best, before: loss < best, patience_plus=1),
        ),
        Slip(
            "an improvement must start the count anew",
            _stop(lambda loss, best, before: loss < best, counts_on=True),
        ),
        Slip("a loss equal to the best is no improvement: <, not <=", _stop(lambda loss, best, before: loss <= best)),
        Slip(
            "compare with the best so far, not with the evaluation before",
            _stop(lambda loss, best, before: loss < before),
        ),
        Slip(
            "positions are counted from 0",
            lambda losses, patience: tuple(place + 1 for place in early_stopping(losses, patience)),
        ),
    ),
    hints=(
        "Walk through the losses and remember where the best one so far stands.",
        "At position i, the last i - best evaluations brought nothing. Return (best, i) when that equals patience, and "
        "(best, last position) if it never does.",
    ),
)

EXERCISES: tuple[Exercise, ...] = (SOFT_THRESHOLD, DROPOUT, EARLY_STOPPING)
