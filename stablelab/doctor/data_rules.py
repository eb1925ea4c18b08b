"""What the order of the data and the validation say: not shuffled, overfitting."""

from __future__ import annotations

import math

import numpy as np

from .findings import Cause, Finding
from .judging import UnknownError, made, need_rows, write
from .training_log import TrainingLog, noise, running_mean

EPOCHS = 3
BY_CHANCE = 1e-4
GENERALIZATION_LOSS = 0.05
GAP = 0.25


def not_shuffled(log: TrainingLog) -> Finding | None:
    """A loss that comes again with every epoch.

    The logarithms of the losses as a table, epochs × places in the epoch, each row less its cubic trend, so that what
    falls or rises slowly within an epoch does not count. Were the data shuffled, no place would be hard time and again:
    Friedman's test on the ranks within the rows, Q = n_epochs (n_places − 1) W ~ χ² with n_places − 1 degrees of
    freedom, W Kendall's concordance. A fault where that comes about by chance less than once in 10⁴ runs and W > 0.1.
    A learning rate that itself repeats each epoch hides it: then nothing is said.

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
        if np.nanmedian(ranges) > 0.5:
            raise UnknownError("the learning rate moves within each epoch, too")
    table = np.log(np.maximum(log.losses[whole], 1e-12)).reshape(epochs, n)
    if not np.isfinite(table).all():
        raise UnknownError("losses are missing, or not finite")
    x = np.linspace(-1, 1, n)
    powers = np.stack([x**k for k in range(min(3, n // 4) + 1)], axis=1)  # (n, powers)
    table = table - table @ powers @ np.linalg.inv(powers.T @ powers) @ powers.T
    ranks = table.argsort(axis=1).argsort(axis=1) + 1.0
    W = float(12 * ((ranks.mean(axis=0) - (n + 1) / 2) ** 2).sum() / (n * (n**2 - 1)))
    from scipy.special import chdtrc  # that of scipy.stats takes a second to import, which a live run would notice

    by_chance = float(chdtrc(n - 1, epochs * (n - 1) * W))
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


def overfitting(log: TrainingLog) -> Finding | None:
    """Validation against training: it rises, or stays far above, while the training loss falls.

    Prechelt's generalization loss GL = L_val(end) / min L_val − 1 above 5 %, in means of three validations, the rise
    above 3 of its standard deviations. Where the accuracy fell by more than a point meanwhile, or the loss has more
    than doubled, that is a fault; where the accuracy rose by more than half a point, the model grows more certain, of
    its mistakes too: said, no fault; where it stayed, a fault if the loss is above that of guessing, and above the
    training loss by a quarter of it. A validation loss that does not rise, but fell by less than 5 % over the second
    half, and is above ten times the training loss with such a gap, is a fault as well.

    Source: Prechelt 1998, "Early stopping — but when?", Section 2 (GL_α, α = 5); Guo et al. 2017, "On calibration of
    modern neural networks", Section 3, for a loss that overfits while accuracy does not. The quarter and the points
    are choices; the development runs bear them out.
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
    better, worse = gained > 0.005, gained < -0.01
    doubled = end > 2 * low
    alarm = not rises or worse or doubled or not known or (apart and end > scale and not better)
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
