"""The published rules of SageMaker Debugger and trainproof, which look at steps, each with its formula and threshold.

As those of ``peer_rules_of_epochs`` they say when they look, and how far past its threshold a run is.
"""

from __future__ import annotations

import math

import numpy as np

from .peer_rules_of_epochs import NOTHING, Column, Series, above, at_least, below, largest, losses_of_epochs, yes
from .record import RunRecord

# -- SageMaker Debugger: "List of Debugger built-in rules", Amazon SageMaker developer guide ---------------------------
# The code of these rules is not public, what they do and their defaults are documented. A rule that wants its tensors
# chosen gets the collection named with it; the steps at which tensors are saved are those that the record holds.


def vanishing_gradient(record: RunRecord) -> Series:
    """The mean of |g| of a gradient is below 10⁻⁷ (``threshold``)."""
    return record.observed.steps.astype(float), largest(below(record.observed.gradient_mean, 1e-7))


def large_update_ratio(record: RunRecord) -> Series:
    """‖Δw‖/‖w‖ of a weight in one step is above 10 (``large_threshold``): half of WeightUpdateRatio."""
    return record.observed.steps.astype(float), largest(above(record.observed.update_ratio, 10.0))


def small_update_ratio(record: RunRecord) -> Series:
    """‖Δw‖/‖w‖ of a weight in one step is below 10⁻⁸ (``small_threshold``): the other half."""
    return record.observed.steps.astype(float), largest(below(record.observed.update_ratio, 1e-8))


def loss_not_decreasing(record: RunRecord) -> Series:
    """A validation loss that is not below the last one that is ``num_steps`` = 10 steps or more behind it.

    Of validation, as the rule takes the losses of evaluation before those of training where there are both.
    """
    log = record.log
    steps, losses = log.validation_steps, log.validation_losses
    far = [int(np.searchsorted(steps, step - 10, side="right")) - 1 for step in steps]
    ratios = [at_least(losses[i], losses[j]) if j >= 0 else 0.0 for i, j in enumerate(far)]
    return steps, np.array(ratios, dtype=float)


def exploding_tensor(record: RunRecord) -> Series:
    """A loss, a gradient or a weight that is not finite."""
    log, seen = record.log, record.observed
    losses = (log.steps, yes(~np.isfinite(log.losses)))
    judged = (log.validation_steps, yes(~np.isfinite(log.validation_losses)))
    lost = np.isinf(seen.gradient_max).any(axis=1) | ~np.isfinite(seen.weight_mean).all(axis=1)
    norms = (log.steps[: len(log.norms)], yes(~np.isfinite(log.norms)))
    return _together(losses, judged, norms, (seen.steps.astype(float), yes(lost)))


def overfit(record: RunRecord) -> Series:
    """(L_val − L_train) / L_train is above 0.1 (``ratio_threshold``) once (``patience`` = 1)."""
    training, validation = losses_of_epochs(record)
    return record.log.validation_steps, above((validation - training) / training, 0.1)


def overtraining(record: RunRecord) -> Series:
    """Neither loss has fallen by ``delta`` = 0.1 below its best for long: 5 saved ones of training, 10 validations.

    The manual leaves open whether one of them is enough; both are asked for here, which fires less.
    """
    seen, log = record.observed, record.log
    at = np.searchsorted(log.steps, seen.steps)
    training = _waits(log.losses[np.minimum(at, len(log) - 1)], 0.1)
    validation = _waits(log.validation_losses, 0.1)
    then = np.searchsorted(seen.steps, log.validation_steps, side="right") - 1
    waited = np.where(then >= 0, training[np.maximum(then, 0)], 0)
    return log.validation_steps, np.minimum(at_least(waited, 5), at_least(validation, 10))


def class_imbalance(record: RunRecord) -> Series:
    """One class has 10 times the examples of another (``threshold_imbalance``), or 0.7 of one were got wrong.

    That share is ``threshold_misprediction``; nothing is said before 500 examples (``samples``).
    """
    seen = record.observed
    shares = seen.class_shares[seen.class_shares > 0]
    enough = seen.steps * (record.log.batch_size or 1) >= 500
    errors = np.maximum(above(shares.max(), shares.min() * 10), largest(above(seen.class_errors, 0.7)))
    return seen.steps.astype(float), np.where(enough, errors, 0.0)


def dead_relu(record: RunRecord) -> Series:
    """More than half (``threshold_layer``) of a layer's units are active less than 1 % (``threshold_inactivity``)."""
    return record.observed.steps.astype(float), largest(above(record.observed.dead, 0.5))


def poor_weight_initialization(record: RunRecord) -> Series:
    """In the first 10 steps (``steps``) the layers differ too much, or a gradient's numbers too little.

    The variances of what comes into the activations by more than a factor of 10 (``threshold``), or the 5th and 95th
    percentile of a gradient by less than 0.001 (``distribution_range``). The rule also waits for the loss
    (``patience``); what follows from that is not documented, and left out.
    """
    seen = record.observed
    early = seen.steps <= 10
    variances = seen.input_variance[early]
    spread = largest(below(seen.gradient_spread[early], 1e-3))
    if not variances.shape[1]:
        return seen.steps[early].astype(float), spread
    apart = above(variances.max(axis=1), variances.min(axis=1) * 10)
    return seen.steps[early].astype(float), np.maximum(apart, spread)


def all_zero(record: RunRecord) -> Series:
    """All (``threshold`` = 100 %) numbers of a weight or of a gradient are 0."""
    seen = record.observed
    zero = np.concatenate([seen.gradient_max, seen.weight_mean], axis=1) == 0
    return seen.steps.astype(float), yes(zero.any(axis=1))


def unchanged_tensor(record: RunRecord) -> Series:
    """A weight has not changed over ``num_steps`` = 3 saved steps, by ``numpy.allclose`` with ``rtol`` = 10⁻⁵.

    The record holds the change in one step as ‖Δw‖/‖w‖. Times the steps since the one saved before, it is held against
    the same 10⁻⁵, for the whole weight and not for each of its numbers.
    """
    seen = record.observed
    steps = seen.steps.astype(float)
    if len(steps) < 3:
        return NOTHING
    ratios = seen.update_ratio[1:] * np.diff(steps)[:, None]
    pairs = below(ratios, 1e-5)
    return steps[2:], largest(np.minimum(pairs[:-1], pairs[1:]))


def check_input_images(record: RunRecord) -> Series:
    """The mean of the inputs, pictures, is more than 0.2 (``threshold_mean``) from 0."""
    mean = record.observed.inputs.get("mean", 0.0)
    return np.ones(1), above([abs(mean)], 0.2)


def nlp_sequence_ratio(record: RunRecord) -> Series:
    """More than 50 % (``token_thresholds_percent``) of the tokens of the inputs are the token 0 (``token_values``)."""
    return np.ones(1), above([record.observed.inputs.get("zeros", 0.0)], 0.5)


def _waits(losses: Column, delta: float) -> Column:
    """(K,) how many entries ago the loss last fell by more than delta below its best."""
    best, since, waited = math.inf, 0, []
    for i, loss in enumerate(losses):
        if loss < best - delta:
            best, since = float(loss), i
        waited.append(i - since)
    return np.array(waited, dtype=float)


def _together(*series: Series) -> Series:
    steps, excess = (np.concatenate([each[i] for each in series]) for i in (0, 1))
    order = np.argsort(steps, kind="stable")
    return steps[order], excess[order]


# -- trainproof 0.22.0: trainproof/epoch.py and rules.py ---------------------------------------------------------------
# It reads whole logs, such as the ``trainer_state.json`` of Hugging Face, whose lines are means over some steps, with
# the last one's gradient norm and learning rate. Here a dozen lines, or a few more, which is enough for all its checks
# but those of the time of a step, of the GPU, and of collections of texts or sounds: these have nothing to look at.

LINES = 12


def _lines(record: RunRecord) -> tuple[Column, Column, Column, Column]:
    """Steps, losses, norms and learning rates of the lines."""
    log = record.log
    k = max(1, len(log) // LINES)
    n = len(log) // k
    steps, norms, rates = (column[k - 1 : n * k : k] for column in (log.steps, log.norms, log.learning_rates))
    return steps, log.losses[: n * k].reshape(n, k).mean(axis=1), norms, rates


def _at_end(record: RunRecord, excess: float) -> Series:
    return record.log.steps[-1:], np.array([excess])


def nan_in_loss(record: RunRecord) -> Series:
    """TP-NAN: a loss that is not finite."""
    steps, losses, _, _ = _lines(record)
    return steps, yes(~np.isfinite(losses))


def nan_in_gradient(record: RunRecord) -> Series:
    """TP-NAN-GRAD: a gradient norm that is not finite."""
    steps, _, norms, _ = _lines(record)
    return steps, yes(~np.isfinite(norms))


def zero_loss(record: RunRecord) -> Series:
    """TP-ZERO-LOSS and TP-ZERO-LOSS-ONSET: the last five losses or more are exactly 0."""
    losses = _finite(_lines(record)[1])
    return _at_end(record, float(yes(len(losses) >= 5 and not losses[-5:].any())))


def flat(record: RunRecord) -> Series:
    """TP-FLAT: standard deviation over mean of the losses is below 0.001."""
    losses = _finite(_lines(record)[1])
    positive = len(losses) > 0 and losses.mean() > 0
    return _at_end(record, float(below(losses.std() / losses.mean(), 1e-3)) if positive else 0.0)


def diverging(record: RunRecord) -> Series:
    """TP-DIVERGE: the last loss is above 1.5 times the lowest."""
    losses = _finite(_lines(record)[1])
    some = losses[losses != 0]
    return _at_end(record, float(above(losses[-1], 1.5 * some.min())) if len(some) and some.min() > 0 else 0.0)


def dead_run(record: RunRecord) -> Series:
    """TP-DEAD-RUN: of ten losses or more, the median of the last five is not 5 % below that of the first five."""
    losses = _finite(_lines(record)[1])
    if len(losses) < 10:
        return NOTHING
    return _at_end(record, float(at_least(np.median(losses[-5:]), 0.95 * np.median(losses[:5]))))


def zero_gradient(record: RunRecord) -> Series:
    """TP-ZERO-GRAD: five gradient norms or more, all of them exactly 0, and a loss that never fell by 5 %."""
    _, losses, norms, _ = _lines(record)
    losses, norms = _finite(losses[losses != 0]), _finite(norms)
    fell = len(losses) > 0 and losses.min() < 0.95 * losses[0]
    return _at_end(record, float(yes(len(norms) >= 5 and not norms.any() and not fell)))


def gradient_spike(record: RunRecord) -> Series:
    """TP-GRAD-SPIKE: of six gradient norms or more, one is above 10 times the median."""
    steps, _, norms, _ = _lines(record)
    known = np.sort(_finite(norms))
    if len(known) < 6 or known[len(known) // 2] <= 0:
        return NOTHING
    return steps, above(np.where(np.isfinite(norms), norms, 0.0), 10 * known[len(known) // 2])


def zero_learning_rate(record: RunRecord) -> Series:
    """TP-ZERO-LR and TP-ZERO-LR-PARTIAL: the learning rate is 0 on more than a tenth of the lines."""
    rates = _lines(record)[3]
    return _at_end(record, float(above(np.mean(rates <= 0), 0.1))) if len(rates) else NOTHING


def overfitting(record: RunRecord) -> Series:
    """TP-OVERFIT: the validation loss ends above 1.2 times its lowest, while the training loss has fallen since.

    Its end is the median of the last three, all of them after the lowest; there are four or more.
    """
    steps, losses, _, _ = _lines(record)
    judged = np.isfinite(record.log.validation_losses)
    values, at = record.log.validation_losses[judged], record.log.validation_steps[judged]
    known = _finite(losses)
    if len(values) < 4 or not len(known):
        return NOTHING
    lowest = int(np.argmin(values))
    if len(values) - lowest - 1 < 3:
        return NOTHING
    then = losses[min(int(np.searchsorted(steps, at[lowest])), len(losses) - 1)]
    rose = above(np.median(values[-3:]), 1.2 * values[lowest])
    return _at_end(record, float(np.minimum(rose, above(then, known[-1]))))


def _finite(column: Column) -> Column:
    return column[np.isfinite(column)]
