"""What the order of the data, single batches and the validation say: not shuffled, an odd batch, overfitting."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .findings import Cause, Finding
from .judging import UnknownError, made, need_classes, need_rows, write
from .training_log import TrainingLog, noise, running_mean

EPOCHS = 3
BY_CHANCE = 1e-4
AROUND = 20  # rows before a batch that it is compared with
GENERALIZATION_LOSS = 0.05
GAP = 0.25


def not_shuffled(log: TrainingLog) -> Finding | None:
    """A loss that comes again with every epoch.

    The logarithms of the losses as a table, epochs × places in the epoch, each row less its cubic trend, so that what
    falls or rises slowly within an epoch does not count. Were the data shuffled, no place would be hard time and again:
    Friedman's test on the ranks within the rows, Q = n_epochs (n_places − 1) W ~ χ² with n_places − 1 degrees of
    freedom, W Kendall's concordance. A fault where that comes about by chance less than once in 10⁴ runs and W > 0.1.
    Where there are more than three epochs they are asked without the first one too, in which most is learnt, and the
    chance counts twice.
    A learning rate that itself begins anew each epoch hides it: then nothing is said.

    Source: Friedman 1937; Kendall & Babington Smith 1939. 10⁻⁴ is chosen: one false alarm in ten thousand runs.
    """
    if log.steps_per_epoch is None:
        raise UnknownError("the steps of an epoch are not in the log: lab.examine(log, steps_per_epoch=...) says them")
    if log.unit != "step" or log.averaged > 1:
        raise UnknownError("the log has no line per step")
    n = round(log.steps_per_epoch)
    epochs = (len(log) - (int(-(log.steps[0] - 1) % n) if len(log) else 0)) // max(1, n)
    if n < 5:
        raise UnknownError(f"an epoch has {n} steps only; it takes 5")
    if epochs < EPOCHS:
        raise UnknownError(f"the log has {max(0, epochs)} whole epochs; it takes {EPOCHS}")
    if np.any(np.diff(log.steps) != 1):
        raise UnknownError("steps are missing in the log")
    skip = int(-(log.steps[0] - 1) % n)
    whole = slice(skip, skip + n * epochs)
    if len(log.learning_rates):
        rates = log.learning_rates[whole].reshape(epochs, n)
        ranges = np.ptp(rates, axis=1) / np.maximum(rates.max(axis=1), 1e-30)
        begins_anew = bool(np.any(rates[1:, 0] > rates[:-1, -1]))
        if np.nanmedian(ranges) > 0.5 and begins_anew:
            raise UnknownError("the learning rate moves within each epoch, too")
    table = np.log(np.maximum(log.losses[whole], 1e-12)).reshape(epochs, n)
    if not np.isfinite(table).all():
        raise UnknownError("losses are missing, or not finite")
    if np.ptp(table) < 1e-6:
        return None  # nothing moves: ranks of equal numbers say nothing
    x = np.linspace(-1, 1, n)
    powers = np.stack([x**k for k in range(min(3, n // 4) + 1)], axis=1)  # (n, powers)
    table = table - table @ powers @ np.linalg.inv(powers.T @ powers) @ powers.T
    ranks = table.argsort(axis=1).argsort(axis=1) + 1.0
    asked = [_concordance(ranks), *([_concordance(ranks[1:])] if epochs > EPOCHS else [])]
    by_chance, W = min(asked)
    by_chance = min(1.0, len(asked) * by_chance)
    if by_chance >= BY_CHANCE or W <= 0.1:
        return None
    hard = int(np.argmax(ranks.mean(axis=0))) + 1
    return made(
        not_shuffled,
        "the loss comes again with every epoch",
        f"Over {epochs} epochs of {n} steps the places of an epoch rank alike (Kendall's W = {write(W)}, by chance "
        f"{write(by_chance)}); the hardest is place {hard}.",
        (Cause.NOT_SHUFFLED, Cause.BAD_BATCH),
        steps=(log.steps[whole][0], log.steps[whole][-1]),
        numbers={"W": W, "by_chance": by_chance, "epochs": epochs, "steps_per_epoch": n},
        cure="shuffle in every epoch: DataLoader(..., shuffle=True)",
        confidence="certain" if W > 0.5 else "likely",
    )


def _concordance(ranks: np.ndarray[Any, np.dtype[Any]]) -> tuple[float, float]:
    """Of (epochs, n) ranks: how often Kendall's W is so high by chance, and W."""
    from scipy.special import chdtrc  # that of scipy.stats takes a second to import, which a live run would notice

    epochs, n = ranks.shape
    W = float(12 * ((ranks.mean(axis=0) - (n + 1) / 2) ** 2).sum() / (n * (n**2 - 1)))
    return float(chdtrc(n - 1, epochs * (n - 1) * W)), W


def odd_batch(log: TrainingLog) -> Finding | None:
    """A single batch that costs far more than those around it, which is the batch's doing and not the weights'.

    With H the loss of guessing: a loss above those of the three steps before and after it by more than 1.5 H, which are
    below H themselves; and by more than 20 robust standard deviations (1.4826 MAD) above the median of the 20 before,
    which had come below H / 2.
    A step that was too large shows in the steps that follow it; a loss that is back at the next step was high because
    of its examples.

    Source: Iglewicz & Hoaglin 1993 for the robust z; Bekman, "Machine learning engineering open book", chapter
    Instabilities, for bad pockets of data. 1.5 and 20 are choices; the development runs bear them out: healthy batches
    of 4 stay below 1.2 and 7.
    """
    _, H = need_classes(log)
    need_rows(log, AROUND + 10)
    if log.averaged > 1:
        raise UnknownError(f"each line is the mean of {log.averaged:g} steps: log every step (logging_steps=1)")
    losses = log.losses
    places = np.arange(10, len(losses) - 3)
    near = np.stack([losses[places + d] for d in (-3, -2, -1, 1, 2, 3)])
    above = losses[places] - near.max(axis=0)
    found = []
    for k in places[(above > 1.5 * H) & (near.max(axis=0) < H)].tolist():
        before = losses[max(0, k - AROUND) : k]
        median = float(np.nanmedian(before))
        deviation = 1.4826 * float(np.nanmedian(np.abs(before - median)))
        if median < 0.5 * H and losses[k] - median > 20 * max(deviation, 0.01 * H):
            found.append(k)
    if not found:
        return None
    k = max(found, key=lambda place: losses[place])
    step = log.steps[k]
    return made(
        odd_batch,
        "a single batch costs far more than those around it" if len(found) == 1 else f"{len(found)} batches stand out",
        f"At {log.unit} {step:g} the loss is {write(float(losses[k]))}, before it {write(float(losses[k - 1]))}, after "
        f"it {write(float(losses[k + 1]))}; guessing costs {write(H)}." + log.changed_by_hand(step - 3, step),
        (Cause.BAD_BATCH,),
        steps=(log.steps[found[0]], log.steps[found[-1]]),
        numbers={"count": len(found), "loss": float(losses[k]), "guessing": H},
        cure="look at the examples of that batch; clipping keeps what it does to the weights small",
        confidence="possible",
    )


def overfitting(log: TrainingLog) -> Finding | None:
    """Validation against training: it rises, or stays far above, while the training loss falls.

    Prechelt's generalization loss GL = L_val(end) / min L_val − 1 above 5 %, in means of three validations, the rise
    above 3 of its standard deviations. It is a fault where the accuracy fell by more than 5 points meanwhile, and where
    the loss has more than doubled or ends above 1.5 times that of guessing while the accuracy has not risen by half a
    point. Else the model grows more certain, of its mistakes too: said, no fault. A validation loss that does not
    rise, but fell by less than 5 % over the second half, and is above ten times the training loss and a quarter of
    guessing above it, is said as well.

    Source: Prechelt 1998, "Early stopping — but when?", Section 2 (GL_α, α = 5); Guo et al. 2017, "On calibration of
    modern neural networks", Section 3, for a loss that overfits while accuracy does not. The quarter, the points and
    the 1.5 are choices; the development runs bear them out: in healthy ones the accuracy fell by up to 4 points and
    the loss rose to 1.45 times guessing, and one in 500 has such an alarm.
    """
    judged = np.isfinite(log.validation_losses)
    if not judged.any():
        raise UnknownError("no validation loss is in the log")
    if judged.sum() < 5:
        raise UnknownError(f"{int(judged.sum())} validations are too few; it takes 5")
    need_rows(log, 5)
    losses, steps = log.validation_losses[judged], log.validation_steps[judged]
    smooth = running_mean(losses, 3)
    lowest = int(np.argmin(smooth))
    low, end = float(smooth[lowest]), float(smooth[-1])
    scatter = noise(losses) * math.sqrt(2 / 3)
    training = log.end
    scale = log.guessing if log.guessing is not None else log.start
    gap = end - training
    rises = end / max(low, 1e-12) - 1 > GENERALIZATION_LOSS and end - low > 3 * scatter
    apart = gap > GAP * scale
    stays = float(smooth[len(smooth) // 2]) < (1 + GENERALIZATION_LOSS) * end
    if not rises and not (apart and stays and training < 0.1 * end):
        return None
    if rises and training > low:
        return None  # the training loss has risen as well: that is another fault
    accuracies = log.accuracies[judged] if len(log.accuracies) == len(judged) else np.empty(0)
    known = len(accuracies) and np.isfinite(accuracies).all()
    gained = math.nan
    if known:
        means = running_mean(accuracies, 3)
        gained = float(means[-1] - means[lowest])
    better, worse = gained > 0.005, gained < -0.05
    beyond = (end > 2 * low or end > 1.5 * scale) and not better
    alarm = rises and (worse or beyond)
    points = f" The accuracy changed by {100 * gained:+.1f} points meanwhile." if known else ""
    at = steps[lowest + 1]
    return made(
        overfitting,
        "the validation loss rises while the training loss falls"
        if rises
        else "the validation loss stays far above the training loss",
        f"Validation: {write(low)} at {log.unit} {at:g}, {write(end)} at the end (means of 3). Training: "
        f"{write(training)} at the end.{points}",
        (Cause.OVERFITTING, Cause.NOT_SHUFFLED) if alarm else (Cause.CONFIDENCE, Cause.OVERFITTING),
        steps=(at, steps[-1]),
        numbers={"lowest": low, "end": end, "training": training, "accuracy_gained": gained},
        cure="stop where the validation loss was lowest (early_stopping), or more data, augmentation, weight decay"
        if alarm
        else "",
        confidence="certain" if worse else "likely" if known else "possible",
        alarm=alarm,
    )
