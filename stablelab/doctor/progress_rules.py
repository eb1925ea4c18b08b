"""Does the loss get anywhere: not finite, diverged, a failed run, no progress, spikes."""

from __future__ import annotations

import math

import numpy as np

from ..training.runaway import TIMES
from .findings import Cause, Finding
from .judging import UnknownError, made, need_classes, need_rows, write
from .training_log import Column, TrainingLog, noise, running_mean

GIVEN_BACK = 0.5  # share of what a loss had gained
HARDLY = 0.1  # share of the loss of guessing
ENOUGH = 50  # steps at half the highest rate or more that a run is given to get anywhere
ROBUST_Z = 6.0
SPIKE = 5  # rows that a spike is smoothed over, so that one hard batch is none
SPIKE_HEIGHT = 0.25  # share of what the loss had gained


def not_finite(log: TrainingLog) -> Finding | None:
    """A loss or a gradient that is not a finite number.

    Where the loss had doubled before, or the gradient had grown tenfold within the ten rows before, the steps were too
    large; else a number overflowed at once.

    Source: IEEE 754; Micikevicius et al. 2018, "Mixed precision training", Section 3.2, for overflow in fp16.
    """
    if log.not_finite is None:
        return None
    before = log.steps < log.not_finite
    losses, norms = log.losses[before], log.norms[before] if len(log.norms) else log.norms
    last, lowest = (float(losses[-1]), float(np.nanmin(losses))) if len(losses) else (math.nan, math.nan)
    grew = len(losses) > 1 and last > 2 * lowest and last > log.start
    if len(norms) > 10 and np.nanmedian(norms[-3:]) > 10 * np.nanmedian(norms[:-10]):
        grew = True
    causes = (Cause.RATE_TOO_HIGH, Cause.OVERFLOW, Cause.BAD_BATCH)
    if not grew:
        causes = (Cause.OVERFLOW, Cause.BAD_BATCH, Cause.RATE_TOO_HIGH)
    came = f"; the loss before it was {write(last)}, its lowest {write(lowest)}" if len(losses) else ""
    return made(
        not_finite,
        "a number is not finite",
        f"The loss or the gradient of {log.unit} {log.not_finite} is NaN or infinite{came}."
        + log.changed_by_hand(log.not_finite - 20, log.not_finite),
        causes,
        steps=(log.not_finite, log.steps[-1]),
        numbers={"step": log.not_finite, "loss_before": last},
        cure="a tenth of the learning rate, or a warm-up in front of it"
        if grew
        else "look at the batch of that step, "
        "at logarithms and divisions in the loss; with fp16 use a loss scale (torch.amp.GradScaler), or bf16",
        confidence="certain",
    )


def runaway(log: TrainingLog) -> Finding | None:
    """A loss that was thrown far above its start before it had learnt anything, or that stays there.

    The mean of 5 losses above ten times the loss at the start, and above ten times that of guessing where that is
    known: no update that follows the gradient does that, and weights that were thrown so far stay large. One that had
    come down to half of its start before, and ends below its start, is a spike that recovers: ``spikes`` says it.

    Source: ``training.runaway``, whose ten times it takes; Cohen et al. 2021, "Gradient descent on neural networks
    typically occurs at the edge of stability", Section 2, on steps above 2 over the sharpness.
    """
    need_rows(log)
    means = running_mean(log.losses, SPIKE)
    first = log.losses[np.isfinite(log.losses)][:1]
    limit = TIMES * max(float(first[0]) if len(first) else math.nan, log.guessing or 0.0)
    above = np.flatnonzero(means > limit)
    if not len(above):
        return None
    learnt = above[0] > 0 and float(np.nanmin(means[: above[0]])) < 0.5 * float(first[0])
    if learnt and log.end < float(first[0]):
        return None
    at, last = log.steps[above[0] + SPIKE - 1], log.steps[above[-1] + SPIKE - 1]
    highest = float(np.nanmax(means))
    return made(
        runaway,
        "the loss was thrown far above its start",
        f"It began at {write(float(first[0]))}; its mean of {SPIKE} is above {write(limit)} from {log.unit} {at:g} to "
        f"{last:g}, at most {write(highest)}, and ends at {write(log.end)}." + log.changed_by_hand(at - 20, at),
        _too_large_steps(log),
        steps=(at, last),
        numbers={"start": float(first[0]), "limit": limit, "highest": highest, "end": log.end},
        cure=_cure(Cause.RATE_TOO_HIGH),
        confidence="certain",
    )


def diverged(log: TrainingLog) -> Finding | None:
    """The end against its own minimum: most of what the loss had gained is lost again.

    With L₀ the loss at the start, L the smoothed one: (L_end − L_min) / (L₀ − L_min) > 0.5, more given back than kept;
    L_end − L_min > 5 σ √(2/w), which two means of w losses differ by once in 3.5 million; and L_end − L_min above a
    tenth of the loss of guessing (of L₀ where that is not known), so that a loss that lies at its floor may scatter.

    Source: the 5 σ of a difference of means; the half by definition of *most*. Chowdhery et al. 2022, "PaLM", Section
    5.1, for losses that do not come back.
    """
    need_rows(log)
    L = log.smoothed
    known = np.isfinite(L)
    if not known.any() or not math.isfinite(log.end):
        raise UnknownError("the loss at the end is not finite")
    lowest = int(np.nanargmin(L))
    rise, gained = log.end - float(L[lowest]), max(log.start - float(L[lowest]), 1e-12)
    scale = log.guessing if log.guessing is not None else log.start
    if rise / gained <= GIVEN_BACK or rise <= 5 * log.noise_of_means or rise <= HARDLY * scale:
        return None
    at = log.steps[lowest + log.window - 1]
    return made(
        diverged,
        "the loss has come up again and stayed there",
        f"It fell from {write(log.start)} to {write(float(L[lowest]))} at {log.unit} {at:g} (mean of {log.window}) and "
        f"ends at {write(log.end)}." + log.changed_by_hand(at - 20, log.steps[-1]),
        _too_large_steps(log),
        steps=(at, log.steps[-1]),
        numbers={"start": log.start, "lowest": float(L[lowest]), "end": log.end, "given_back": rise / gained},
        cure="a third to a tenth of the learning rate, a warm-up, or clipping at the usual norm of the gradient",
        confidence="certain" if rise / gained > 1 else "likely",
    )


def failed_run(log: TrainingLog) -> Finding | None:
    """The training loss does not come away from the entropy H of the label shares, what guessing them costs.

    R = 1 − L_end / H is McFadden's share of explained entropy, L_end the mean of the last quarter. The run has failed
    where H − L_end is below 3 standard errors or R below 0.02, after at least 50 steps at half the highest learning
    rate; a run that is not over is judged from its half on.

    Source: Mosbach, Andriushchenko & Klakow 2021, "On the stability of fine-tuning BERT", Section 3 (a failed run is
    no better than the majority class); McFadden 1974 for R. 50 steps and 0.02 are choices; the development runs bear
    them out.
    """
    _, H = need_classes(log)
    _need_time(log)
    last = _last_quarter(log)
    end = float(last.mean())
    error = float(last.std(ddof=1)) / math.sqrt(len(last)) if len(last) > 1 else math.inf
    if H - end > max(3 * min(error, H / 6), 0.02 * H):
        return None
    return made(
        failed_run,
        "the loss does not come away from that of guessing",
        f"Its mean over the last quarter is {write(end)} (± {write(error)}); guessing with the label shares costs "
        f"{write(H)}. It began at {write(log.start)}, its highest was {write(float(np.nanmax(log.losses)))}.",
        _standstill(log, end),
        steps=(log.steps[0], log.steps[-1]),
        numbers={"end": end, "guessing": H, "start": log.start, "highest": float(np.nanmax(log.losses))},
        cure=_cure(_standstill(log, end)[0]),
        confidence="certain",
    )


def no_progress(log: TrainingLog) -> Finding | None:
    """The loss falls, but by less than a tenth of what guessing costs.

    R = 1 − L_end / H < 0.1 without being a failed run. Where the number of classes is not known, a loss that falls by
    less than 3 standard errors is said for information: it may lie at its floor.

    Source: Google Research, "Deep learning tuning playbook", 2023, on curves that have not begun to fall; the tenth
    is a choice; the development runs bear it out.
    """
    _need_time(log)
    last = _last_quarter(log)
    end, first = float(last.mean()), log.losses[np.isfinite(log.losses)][: max(5, len(log) // 4)]
    if log.guessing is None:
        scatter = math.sqrt(first.var(ddof=1) / len(first) + last.var(ddof=1) / len(last))
        if float(first.mean()) - end >= 3 * scatter or float(first.mean()) < end - 3 * scatter:
            return None
        return made(
            no_progress,
            "the loss does not fall",
            f"Its mean is {write(float(first.mean()))} over the first quarter and {write(end)} over the last. Whether "
            "that is its floor cannot be told: " + log.why_no_classes + ".",
            (Cause.RATE_TOO_LOW, Cause.FROZEN, Cause.KNOWS_ALREADY),
            steps=(log.steps[0], log.steps[-1]),
            numbers={"first_quarter": float(first.mean()), "last_quarter": end},
            confidence="possible",
            alarm=False,
        )
    share = 1 - end / log.guessing
    if share >= HARDLY or failed_run(log) is not None:
        return None
    causes = _standstill(log, end)
    return made(
        no_progress,
        "the loss hardly falls",
        f"Its mean over the last quarter is {write(end)}, {100 * share:.0f} % below that of guessing "
        f"({write(log.guessing)}); it began at {write(log.start)}.",
        causes,
        steps=(log.steps[0], log.steps[-1]),
        numbers={"end": end, "guessing": log.guessing, "start": log.start},
        cure=_cure(causes[0]),
    )


def spikes(log: TrainingLog) -> Finding | None:
    """Jumps of the loss, and whether it recovers.

    z = (mean of 5 losses − median of the w before) / (1.4826 MAD of the w before / √5) > 6, which normal losses do once
    in 10⁹ rows; and the jump gives back a quarter of what the loss had gained, so that one hard batch among losses of
    almost 0 is none. It has recovered where the mean of 5 is down again by 90 % of the jump. One that has recovered is
    no fault; one that has not by w rows later is, and so are spikes over a tenth of the log.

    Source: Iglewicz & Hoaglin 1993 for the robust z; Chowdhery et al. 2022, "PaLM", Section 5.1, for spikes that
    recover. The quarter and the tenth are choices; the development runs bear them out.
    """
    need_rows(log, 2 * ENOUGH)
    w = int(min(100, max(20, len(log) // 5)))
    losses = log.losses[np.isfinite(log.losses)]
    steps = log.steps[np.isfinite(log.losses)]
    z, s, reference = _robust_z(losses, w)
    gained = log.start - reference
    hot = (z > ROBUST_Z) & (s - reference > SPIKE_HEIGHT * np.maximum(gained, 0.1 * log.start))
    if not hot.any():
        return None
    found = _stretches(hot)
    at = lambda i: steps[i + w + SPIKE - 1]  # noqa: E731
    top, (begin, end) = max((float(np.max((s - reference)[a:b])), (a, b)) for a, b in found)
    base, peak = float(reference[begin]), float(s[begin:end].max())
    back = lambda a, b: reference[a] + 0.1 * (float(s[a:b].max()) - reference[a])  # noqa: E731
    lost = [a for a, b in found if not np.any(s[b:] < back(a, b))]
    open_ones = [a for a in lost if len(s) - a > w and not _rate_rose(log, at(a))]
    share = sum(b - a for a, b in found) / len(s)
    how = "it has not recovered" if lost else "it recovers"
    return made(
        spikes,
        f"the loss jumps, and {how}" if len(found) == 1 else f"the loss jumps {len(found)} times",
        f"The highest is at {log.unit} {at(begin):g}: from {write(base)} to {write(peak)} (mean of {SPIKE}; z = "
        f"{write(float(z[begin:end].max()))}). {len(found) - len(lost)} of {len(found)} recover."
        + log.changed_by_hand(at(begin) - 20, at(begin)),
        (Cause.RATE_TOO_HIGH, Cause.BAD_BATCH),
        steps=(at(begin), at(min(end, len(s) - 1))),
        numbers={"count": len(found), "recovered": len(found) - len(lost), "from": base, "to": peak, "height": top},
        cure="a lower learning rate, or clipping at the usual norm of the gradient" if open_ones or share > 0.1 else "",
        confidence="likely" if open_ones else "possible",
        alarm=bool(open_ones) or (share > 0.1 and len(found) > 2),
    )


# -- what several of them ask ------------------------------------------------------------------------------------------


def _need_time(log: TrainingLog) -> None:
    need_rows(log)
    steps = log.at_full_rate * (log.averaged if math.isfinite(log.averaged) else ENOUGH)
    if steps < ENOUGH:
        raise UnknownError(
            f"{steps:.0f} steps at half the highest learning rate or more are too few; it takes {ENOUGH}"
        )
    if log.over is False and log.total_steps and log.steps[-1] < log.total_steps / 2:
        raise UnknownError(f"the run is at step {log.steps[-1]:g} of {log.total_steps}; it is judged from its half on")


def _last_quarter(log: TrainingLog) -> Column:
    return log.losses[np.isfinite(log.losses)][-max(5, len(log) // 4) :]


def _too_large_steps(log: TrainingLog) -> tuple[Cause, ...]:
    return (Cause.RATE_TOO_HIGH, Cause.NO_ZERO_GRAD, Cause.BAD_BATCH)


def _standstill(log: TrainingLog, end: float) -> tuple[Cause, ...]:
    """Why a loss stands at guessing, in the order that its path suggests.

    It was thrown up at some time, or scatters far more than at its start: the steps were too large. It came down to
    guessing, and no further: it learnt the label shares, and there is nothing else to learn. It stands where it began:
    the steps are too small.
    """
    losses = log.losses[np.isfinite(log.losses)]
    H = log.guessing or log.start
    fifth = max(5, len(losses) // 5)
    restless = noise(losses[-fifth:]) > 3 * max(noise(losses[:fifth]), 0.01 * H) and end > H
    if float(np.max(losses)) > 1.5 * max(float(losses[0]), H) or restless or end > 1.2 * max(H, float(losses[0])):
        return (Cause.RATE_TOO_HIGH, Cause.NO_ZERO_GRAD, Cause.WRONG_LABELS)
    error = noise(losses) / math.sqrt(fifth)
    if float(losses[:5].mean()) - end > max(3 * error, 0.02 * H) and abs(end - H) < 0.02 * H:
        return (Cause.WRONG_LABELS, Cause.DATA_WITHOUT_INFORMATION, Cause.FROZEN)
    return (Cause.RATE_TOO_LOW, Cause.FROZEN, Cause.NOT_LONG_ENOUGH)


def _cure(cause: Cause) -> str:
    return {
        Cause.RATE_TOO_HIGH: "a tenth of the learning rate; lab.range_test finds where the loss still falls",
        Cause.RATE_TOO_LOW: "ten times the learning rate; lab.range_test finds where the loss falls fastest",
    }.get(cause, "look at ten examples with their labels, as the model gets them, and overfit one batch of them")


def _robust_z(losses: Column, w: int) -> tuple[Column, Column, Column]:
    """Of each mean of 5 losses its z against the w losses before it; the means; and the medians before."""
    s = running_mean(losses, SPIKE)
    before = np.lib.stride_tricks.sliding_window_view(losses, w)[: len(s) - w]
    reference = np.median(before, axis=1)
    spread = 1.4826 * np.median(np.abs(before - reference[:, None]), axis=1) / math.sqrt(SPIKE)
    s = s[w:]
    return (s - reference) / np.maximum(spread, 1e-9 + 1e-3 * np.abs(reference)), s, reference


def _stretches(hot: np.ndarray) -> list[tuple[int, int]]:
    """Where it is true without a gap of more than ``SPIKE``: (first, after the last)."""
    places = np.flatnonzero(hot)
    breaks = np.flatnonzero(np.diff(places) > SPIKE)
    return [(int(part[0]), int(part[-1]) + 1) for part in np.split(places, breaks + 1)]


def _rate_rose(log: TrainingLog, step: float) -> bool:
    """Whether the learning rate doubled in the w rows before a step, as it does at a restart."""
    if not len(log.learning_rates):
        return False
    here = (log.steps > step - 2 * log.window) & (log.steps <= step)
    rates = log.learning_rates[here]
    return bool(len(rates) and np.nanmax(rates[len(rates) // 2 :]) > 2 * np.nanmin(rates))
