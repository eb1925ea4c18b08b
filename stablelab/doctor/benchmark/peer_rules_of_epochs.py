"""The published rules of AutoTrainer and UMLAUT, which look at epochs, each with its formula and threshold.

Every rule says when it looks and how far past its threshold a run is: 1 at the threshold, above 1 where the rule fires,
and infinity for what knows no degree. Written anew from what papers, manuals and public sources say; where a rule
leaves a choice, it is made as in its own example or in its favour, and said.

An *epoch* of the peers that work in epochs (AutoTrainer, UMLAUT) is here what lies between two validations: the points
at which Keras would call them, with mean loss and accuracy of training in between and both of validation at its end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .record import RunRecord

Column: TypeAlias = npt.NDArray[np.floating[Any]]
Series: TypeAlias = tuple[Column, Column]  # steps, and how far past the threshold: above 1 it fires
Look: TypeAlias = Callable[[RunRecord], Series]

NOTHING: Series = (np.empty(0), np.empty(0))


# -- how far past a threshold ------------------------------------------------------------------------------------------


def above(value: npt.ArrayLike, threshold: npt.ArrayLike) -> Column:
    """How far past a threshold that fires above it; NaN, as not seen, does not."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.asarray(value, dtype=float) / np.asarray(threshold, dtype=float)
    return np.where(np.isnan(ratio), 0.0, ratio)


def at_least(value: npt.ArrayLike, threshold: npt.ArrayLike) -> Column:
    """How far past a threshold that fires on it as well."""
    return above(value, threshold) * (1 + 1e-9)


def below(value: npt.ArrayLike, threshold: npt.ArrayLike) -> Column:
    """How far past a threshold that fires below it."""
    value = np.asarray(value, dtype=float)
    return np.where(value == 0, math.inf, above(threshold, value))


def yes(truth: npt.ArrayLike) -> Column:
    """For what is true or not, in no degree."""
    return np.where(truth, math.inf, 0.0)


def largest(table: Column) -> Column:
    """(K,) the largest of each row, whatever of it was seen."""
    return np.max(np.nan_to_num(table, nan=0.0, posinf=math.inf), axis=1, initial=0.0)


# -- what peers that work in epochs see --------------------------------------------------------------------------------


def _epochs(record: RunRecord, column: Column) -> Column:
    """(M,) mean of a column that has a row per step over the steps up to each validation, from the one before."""
    ends = np.searchsorted(record.log.steps, record.log.validation_steps, side="right")
    return np.array([column[a:b].mean() if b > a else math.nan for a, b in zip([0, *ends], ends, strict=False)])


def _at_validation(record: RunRecord, column: Column) -> Column:
    """(M,) a column that has a row per step, at each validation."""
    return column[np.searchsorted(record.log.steps, record.log.validation_steps, side="right") - 1]


def losses_of_epochs(record: RunRecord) -> tuple[Column, Column]:
    """(M,) of training and of validation."""
    return _epochs(record, record.log.losses), record.log.validation_losses


def _accuracies(record: RunRecord) -> tuple[Column, Column]:
    """(M,) of training and of validation."""
    return _epochs(record, record.observed.batch_accuracies), record.log.accuracies


# -- AutoTrainer: Zhang, Zhai, Ma & Shen, ICSE 2021; utils/monitor.py and utils.py of its repository -------------------

BETA_1, BETA_2, BETA_3, GAMMA, ZETA, ETA, DELTA, THETA = 1e-3, 1e-4, 70.0, 0.7, 0.03, 0.2, 0.01, 0.7
EVERY = 3  # epochs from check to check
JUDGEMENT = 0.3  # of the planned epochs, before which accuracies are not judged
LARGE_LOSS = 1e5


def _checked(record: RunRecord, *conditions: Column) -> Series:
    """All of the conditions at every third epoch; what was seen of one at a check stays seen."""
    checks = record.log.validation_steps[::EVERY]
    if not len(checks):
        return NOTHING
    return checks, np.min([np.maximum.accumulate(each[::EVERY]) for each in conditions], axis=0)


def _gradients(record: RunRecord) -> tuple[Column, Column, Column]:
    """(M,) norm of the first and the last weight's gradient, and share of zeros, as last seen before each validation.

    Embeddings are left out, as their sparse gradients are in the source, and so are weights without a gradient.
    """
    seen = record.observed
    at = np.searchsorted(seen.steps, record.log.validation_steps, side="right") - 1
    norms, zeros = seen.gradient_norm[np.maximum(at, 0)], seen.gradient_zeros[np.maximum(at, 0)]
    trained = np.asarray(np.isfinite(seen.gradient_zeros).any(axis=0))
    mine = [i for i, name in enumerate(seen.weights) if "embedding" not in name.lower() and trained[i]]
    if not mine or not len(at):
        return (np.full(len(at), math.nan),) * 3
    share = (zeros[:, mine] * seen.sizes[mine]).sum(axis=1) / seen.sizes[mine].sum()
    return norms[:, mine[0]].astype(float), norms[:, mine[-1]].astype(float), share.astype(float)


def _poor(record: RunRecord) -> Column:
    """(M,) how far the best accuracy is below Θ, or its rise in an epoch below δ: only then gradients are judged."""
    training, validation = _accuracies(record)
    n = len(validation)
    if not n:
        return np.empty(0)
    best = np.minimum(np.fmax.accumulate(training), np.fmax.accumulate(validation))
    judged = np.arange(1, n + 1) >= JUDGEMENT * n
    return np.where(judged, np.maximum(below(best, THETA), slow_epochs(training, validation)), 0.0)


def slow_epochs(training: Column, validation: Column) -> Column:
    """(M,) how far below δ the largest rise of either accuracy from one epoch to the next has stayed so far."""
    rises = [np.fmax.accumulate(np.concatenate([[0.0], np.diff(each)])) for each in (training, validation)]
    return np.where(np.arange(len(training)) > 0, below(np.fmax(*rises), DELTA), 0.0)


def exploding(record: RunRecord) -> Series:
    """Loss, weight or gradient that is or was not finite; a validation loss of 10⁵."""
    training, validation = losses_of_epochs(record)
    seen = record.observed
    broken = ~np.isfinite(training + validation + _at_validation(record, record.log.norms))
    broken = np.logical_or.accumulate(broken) | (validation >= LARGE_LOSS)
    lost = np.isinf(seen.gradient_max).any(axis=1) | ~np.isfinite(seen.weight_mean).all(axis=1)
    since = seen.steps[lost][0] if lost.any() else math.inf
    return _checked(record, yes(broken | (record.log.validation_steps >= since)))


def dying_relu(record: RunRecord) -> Series:
    """A share γ of all gradients is 0, in a run that does poorly."""
    return _checked(record, _poor(record), at_least(_gradients(record)[2], GAMMA))


def exploding_gradient(record: RunRecord) -> Series:
    """The norm of the first layer's gradient is more than β₃ times the last one's, in a run that does poorly."""
    first, last, _ = _gradients(record)
    return _checked(record, _poor(record), above(first, last * BETA_3))


def vanishing(record: RunRecord) -> Series:
    """It is less than β₁ times the last one's, and less than β₂, in a run that does poorly."""
    first, last, _ = _gradients(record)
    return _checked(record, _poor(record), np.minimum(below(first, last * BETA_1), below(first, BETA_2)))


def slow_convergence(record: RunRecord) -> Series:
    """From 30 % of the epochs on, no epoch has yet raised the accuracy of training or of validation by δ."""
    training, validation = _accuracies(record)
    judged = np.arange(1, len(validation) + 1) >= JUDGEMENT * len(validation)
    return _checked(record, np.where(judged, slow_epochs(training, validation), 0.0))


def oscillating(record: RunRecord) -> Series:
    """In a share η of the epochs or more the training accuracy has a maximum ζ above the minimum of the same number.

    Only in a run that does not do poorly. Maxima and minima are those of the epochs so far, none of its ends.
    """
    accuracies, _ = _accuracies(record)
    n, excess = len(accuracies), np.zeros(len(accuracies))
    for epochs in range(3, n + 1):
        a = accuracies[:epochs]
        left, right = np.diff(a)[:-1], -np.diff(a)[1:]
        tops, bottoms = a[1:-1][(left >= 0) & (right >= 0)], a[1:-1][(left <= 0) & (right <= 0)]
        pairs = min(len(tops), len(bottoms))
        wanted = math.ceil(ETA * epochs - 1e-9)
        if epochs >= JUDGEMENT * n and pairs >= wanted:
            excess[epochs - 1] = at_least(np.sort(tops[:pairs] - bottoms[:pairs])[-wanted], ZETA)
    checks, found = _checked(record, excess)
    poor = _checked(record, _poor(record))[1]
    return checks, np.where(poor > 1, 0.0, found)


# -- UMLAUT: Schoop, Huang & Hartmann, CHI 2021; umlaut/heuristics.py of its repository --------------------------------
# Checks of Keras's layers that have no counterpart in PyTorch modules (input of N, H, W, C; activations as arguments of
# layers; a loss that wants probabilities) are left out; none of the benchmark's faults is one of these.


def final_layer_activation(record: RunRecord) -> Series:
    """The last layer has an activation where the loss wants logits."""
    return np.ones(1), yes([record.observed.output_is_probability])


def high_dropout(record: RunRecord) -> Series:
    """A dropout above 0.5."""
    return np.ones(1), above([record.observed.dropout], 0.5)


def input_not_normalized(record: RunRecord) -> Series:
    """An input below −1 or above 1. Of pictures only: numbers of tokens are no quantities."""
    inputs = record.observed.inputs
    return np.ones(1), above([max(-inputs.get("min", 0.0), inputs.get("max", 0.0))], 1.0)


def nan_loss(record: RunRecord) -> Series:
    """The loss of an epoch is NaN. The source's last version says so only where the input is NaN; its earlier does."""
    return record.log.validation_steps, yes(np.isnan(losses_of_epochs(record)[0]))


def learning_rate_high(record: RunRecord) -> Series:
    """A learning rate above 0.01 at the end of an epoch."""
    return record.log.validation_steps, above(_at_validation(record, record.log.learning_rates), 0.01)


def learning_rate_low(record: RunRecord) -> Series:
    """A learning rate below 10⁻⁷ at the end of an epoch; not of the last, where a plan that ends at 0 has its end."""
    return record.log.validation_steps[:-1], below(_at_validation(record, record.log.learning_rates)[:-1], 1e-7)


def possible_overfitting(record: RunRecord) -> Series:
    """From one epoch to the next the validation loss rises, and the training loss does not."""
    training, validation = losses_of_epochs(record)
    excess = np.minimum(above(validation[1:], validation[:-1]), at_least(training[:-1], training[1:]))
    return record.log.validation_steps[1:], excess


def high_validation_accuracy(record: RunRecord) -> Series:
    """From the fourth epoch on: validation accuracy above 0.95, or more than 0.05 above that of training."""
    training, validation = _accuracies(record)
    excess = np.maximum(above(validation, 0.95), above(validation - training, 0.05))
    return record.log.validation_steps[3:], excess[3:]
