"""The exercises of notebook 03: losses in nats, and what is done against overfitting."""

from __future__ import annotations

import math

import torch

from .exercise import Case, Exercise, Slip, float64, normal
from .losses_regularization_fine_tuning import DECAY_STEP, MIXOUT, SMOOTHED_TARGETS
from .losses_regularization_loops import EVALUATE, ONE_STANDARD_ERROR, PARAMETER_GROUPS, TRAIN_CLASSIFIER


def gaussian_nll(prediction, target, variance):
    square = (prediction - target) ** 2
    return (square / (2 * variance) + 0.5 * math.log(2 * math.pi * variance)).mean()


def cross_entropy(logits, targets):
    right = logits[torch.arange(len(targets)), targets]
    return (logits.logsumexp(dim=1) - right).mean()


def cross_entropy_gradient(logits, targets):
    p = torch.softmax(logits, dim=1)
    onehot = torch.nn.functional.one_hot(targets, logits.shape[1])
    return (p - onehot) / len(targets)


_PREDICTION, _TARGET = float64(1.0, -0.5, 2.0, 0.0), float64(1.5, -1.0, 0.0, 0.25)

GAUSSIAN_NLL = Exercise(
    name="losses.gaussian_nll",
    returns="the mean negative log-likelihood, in nats, under Gaussian noise of this variance",
    solution=gaussian_nll,
    cases=(
        Case("variance 1", (_PREDICTION, _TARGET, 1.0)),
        Case("variance 0.25", (_PREDICTION, _TARGET, 0.25)),
        Case("predictions without any error, variance 4", (_TARGET, _TARGET, 4.0)),
    ),
    slips=(
        Slip(
            "the normalizer is missing: the density begins with 1 / √(2πσ²), which adds ½ ln(2πσ²)",
            lambda prediction, target, variance: ((prediction - target) ** 2 / (2 * variance)).mean(),
        ),
        Slip(
            "2π is missing: the normalizer is √(2πσ²), not √σ²",
            lambda prediction, target, variance: (
                ((prediction - target) ** 2 / variance + math.log(variance)).mean() / 2
            ),
        ),
        Slip(
            "½ is missing before the logarithm: the normalizer is the root of 2πσ²",
            lambda prediction, target, variance: (
                ((prediction - target) ** 2).mean() / (2 * variance) + math.log(2 * math.pi * variance)
            ),
        ),
        Slip(
            "½ is missing before the square: it is (y - f)² / (2σ²)",
            lambda prediction, target, variance: (
                ((prediction - target) ** 2).mean() / variance + 0.5 * math.log(2 * math.pi * variance)
            ),
        ),
        Slip(
            "the argument is the variance σ² itself; do not square it once more",
            lambda prediction, target, variance: gaussian_nll(prediction, target, variance**2),
        ),
        Slip(
            "sum instead of mean over the examples",
            lambda prediction, target, variance: gaussian_nll(prediction, target, variance) * len(target),
        ),
        Slip(
            "the sign: a likely target must cost little, so the logarithm of the density is negated",
            lambda prediction, target, variance: -gaussian_nll(prediction, target, variance),
        ),
    ),
    hints=(
        "Write the density of one target down, take its logarithm, change the sign, and average at the very end.",
        "-ln N(y; f, σ²) = (y - f)² / (2σ²) + ½ ln(2πσ²). The argument called variance is σ².",
    ),
)


_LOGITS, _TARGETS = float64([2.0, -1.0, 0.5], [0.0, 0.3, -0.7]), torch.tensor([0, 2])
_BATCHES = (
    Case("two examples, three classes", (_LOGITS, _TARGETS)),
    Case(
        "three examples of two classes, all of class 1",
        (float64([1.0, 1.0], [0.0, 2.0], [4.0, -1.0]), torch.ones(3).long()),
    ),
    Case("an answer that is certain and wrong, 40 nats", (float64([40.0, 0.0], [0.0, 1.0]), torch.tensor([1, 1]))),
)
_SURE = Case("logits of 1000", (float64([1000.0, 0.0], [0.0, 1.0]), torch.tensor([1, 0])))


def _onehot(logits, targets):
    return torch.nn.functional.one_hot(targets, logits.shape[1])


CROSS_ENTROPY = Exercise(
    name="losses.cross_entropy",
    returns="the mean over the batch of -ln p(right class), in nats",
    solution=cross_entropy,
    cases=(*_BATCHES, _SURE),
    slips=(
        Slip(
            "sum instead of mean over the examples",
            lambda logits, targets: cross_entropy(logits, targets) * len(targets),
        ),
        Slip("the sign: a surprise is positive, -ln p", lambda logits, targets: -cross_entropy(logits, targets)),
        Slip(
            "the mean runs over all N · C entries of onehot · ln p; only the sum over classes and the mean over "
            "examples is meant",
            lambda logits, targets: -(_onehot(logits, targets) * torch.log_softmax(logits, dim=1)).mean(),
        ),
        Slip(
            "this is the mean probability of the right class, not its surprise: take -ln before the mean",
            lambda logits, targets: (_onehot(logits, targets) * torch.softmax(logits, dim=1)).sum(dim=1).mean(),
        ),
        Slip(
            "the logarithm of the mean probability is not the mean of the logarithms: -ln first, then the mean",
            lambda logits, targets: -(_onehot(logits, targets) * torch.softmax(logits, dim=1)).sum(dim=1).mean().log(),
        ),
        Slip(
            "the logits are not normalized: ln p is z minus ln Σ exp z",
            lambda logits, targets: -(_onehot(logits, targets) * logits).sum(dim=1).mean(),
        ),
        Slip(
            "at logits of 1000 exp overflows, or p becomes 0 and its logarithm -inf: use logsumexp, or log_softmax",
            lambda logits, targets: -torch.softmax(logits, dim=1)[torch.arange(len(targets)), targets].log().mean(),
        ),
        Slip(
            "softmax runs over the classes, dim=1, and this one over the examples",
            lambda logits, targets: -(_onehot(logits, targets) * torch.log_softmax(logits, dim=0)).sum(dim=1).mean(),
        ),
    ),
    hints=(
        "Of each row only one log-probability counts: that of the right class. Then average over the rows.",
        "logits[torch.arange(N), targets] picks the right logits, (N,). Subtract them from logits.logsumexp(dim=1).",
    ),
)


CROSS_ENTROPY_GRADIENT = Exercise(
    name="losses.cross_entropy_gradient",
    returns="the gradient of the mean cross-entropy with respect to the logits, (N, C)",
    solution=cross_entropy_gradient,
    cases=(*_BATCHES, _SURE),
    slips=(
        Slip(
            "the loss is a mean over N examples, so each row of the gradient is divided by N",
            lambda logits, targets: torch.softmax(logits, dim=1) - _onehot(logits, targets),
        ),
        Slip(
            "the sign: the gradient points uphill, p - onehot",
            lambda logits, targets: -cross_entropy_gradient(logits, targets),
        ),
        Slip(
            "the right class is not subtracted: p - onehot",
            lambda logits, targets: torch.softmax(logits, dim=1) / len(targets),
        ),
        Slip(
            "divided by all N · C entries; the mean is over the N examples only",
            lambda logits, targets: cross_entropy_gradient(logits, targets) / logits.shape[1],
        ),
        Slip(
            "softmax runs over the classes, dim=1, and this one over the examples",
            lambda logits, targets: (torch.softmax(logits, dim=0) - _onehot(logits, targets)) / len(targets),
        ),
        Slip(
            "only the right class has a gradient here; the wrong ones get p / N, so that the row sums to 0",
            lambda logits, targets: cross_entropy_gradient(logits, targets) * _onehot(logits, targets),
        ),
    ),
    hints=(
        "For one example the gradient is p - onehot. What does the mean over the batch add?",
        "torch.softmax(logits, dim=1), minus 1 at [i, targets[i]], all divided by N.",
    ),
)


def noise_variance(X, y):
    theta = torch.linalg.lstsq(X, y[:, None]).solution[:, 0]
    N, D = X.shape
    return ((y - X @ theta) ** 2).sum() / (N - D)


def _residual_square(X, y):
    return noise_variance(X, y) * (X.shape[0] - X.shape[1])


_LINE = torch.stack([torch.ones(5), torch.arange(5.0)], dim=1).double()

NOISE_VARIANCE = Exercise(
    name="losses.noise_variance",
    returns="the estimate of the noise variance σ² that is right on average",
    solution=noise_variance,
    cases=(
        Case("a straight line through five points", (_LINE, float64(0.1, 0.8, 2.3, 2.9, 4.2))),
        Case("six targets, three weights", (normal(6, 3, seed=1), normal(6, seed=2))),
        Case("N = 8 and D = 7: one target to spare", (normal(8, 7, seed=3), normal(8, seed=4))),
    ),
    slips=(
        Slip(
            "divided by N: the weights have taken a share of D / N of the noise, so this is too low",
            lambda X, y: _residual_square(X, y) / len(y),
        ),
        Slip(
            "divided by N - 1, which is right where one mean was fitted; here D weights were",
            lambda X, y: _residual_square(X, y) / (len(y) - 1),
        ),
        Slip("this is the sum of the squares; divide by N - D", lambda X, y: _residual_square(X, y)),
        Slip(
            "N + D is for the error on fresh targets, σ² (1 + D/N); the training error is σ² (1 - D/N)",
            lambda X, y: _residual_square(X, y) / (len(y) + X.shape[1]),
        ),
        Slip("this is the standard deviation σ; the variance is asked for", lambda X, y: noise_variance(X, y).sqrt()),
    ),
    hints=(
        "On average the training error is σ² (1 - D/N). By what must you divide the sum of the squares to get σ²?",
        "theta = torch.linalg.lstsq(X, y[:, None]).solution[:, 0]; then the sum of (y - X @ theta)² over N - D.",
    ),
)


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


_WEIGHTS = float64(3.0, -2.0, 0.5, -0.25, 0.0)

SOFT_THRESHOLD = Exercise(
    name="losses.soft_threshold",
    returns="the weights that minimize ½ (z - θ)² + threshold · |z|, one by one",
    solution=soft_threshold,
    cases=(
        Case("weights on both sides of the threshold 1", (_WEIGHTS, 1.0)),
        Case("a matrix, threshold 0.4", (float64([0.5, -3.0], [0.4, -0.1]), 0.4)),
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


_X, _KEEP = float64(1.0, -2.0, 3.0, 0.5), torch.tensor([True, False, True, True])

DROPOUT = Exercise(
    name="losses.dropout",
    returns="the activations after inverted dropout, with the mean they had",
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
    returns="the positions (from 0) of the best evaluation and of the one after which training stops",
    solution=early_stopping,
    cases=(
        Case("patience 2 runs out before a better loss comes", ([1.0, 0.8, 0.9, 0.85, 0.5], 2)),
        Case("an improvement in time, patience 2", ([1.0, 0.8, 0.9, 0.7, 0.9, 0.75, 0.6], 2)),
        Case("as good is not better, patience 1", ([0.5, 0.5, 0.4], 1)),
        Case("patience never runs out", ([3.0, 2.0, 1.0], 3)),
        Case("patience 1 runs out at once", ([0.5, 0.6, 0.7, 0.8, 0.4, 0.6], 1)),
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
            "patience is not used: these are the best of all losses and the last one, as if training never stopped",
            lambda losses, patience: (losses.index(min(losses)), len(losses) - 1),
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


EXERCISES = (  # in the order of the page
    GAUSSIAN_NLL,
    CROSS_ENTROPY,
    CROSS_ENTROPY_GRADIENT,
    TRAIN_CLASSIFIER,
    NOISE_VARIANCE,
    DECAY_STEP,
    SOFT_THRESHOLD,
    DROPOUT,
    MIXOUT,
    SMOOTHED_TARGETS,
    EARLY_STOPPING,
    ONE_STANDARD_ERROR,
    PARAMETER_GROUPS,
    EVALUATE,
)
