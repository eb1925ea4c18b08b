"""What the gradient's norm and the learning rate say: clipped away, vanished, growing, a schedule off its plan."""

from __future__ import annotations

import math

import numpy as np

from ..formulas import missing_correction
from .findings import Cause, Finding
from .judging import UnknownError, made, need_rows, write
from .training_log import TrainingLog

SHRUNK = 0.1  # what clipping leaves of a step
EPS = 1e-8  # of Adam
VANISHED = 1e-2  # share of the norm that is left
GROWN = 10.0
SMOOTH = 0.1  # change from step to step, as a share of the norm
OVER = 1e-3  # share of the highest learning rate that counts as 0
OVER_FOR = 0.1  # share of the log


def clipped_away(log: TrainingLog) -> Finding | None:
    """The share of clipped steps, and what clipping leaves of them.

    s = median of min(1, c/‖g‖). With SGD a clipped step is one with the learning rate η·s, so a fault where s < 0.1, a
    tenth of the rate that was chosen, and the loss keeps more than half of what it began with. Adam divides by the
    gradient's own scale: a constant factor cancels, and clipping every step is no fault, unless the entries come near
    its ε = 1e-8: c/√P < 10 ε for P parameters.

    Source: Pascanu, Mikolov & Bengio 2013, "On the difficulty of training recurrent neural networks", Algorithm 1;
    Kingma & Ba 2015, "Adam", Section 2.1, on the invariance to scale.
    """
    if not len(log.norms):
        raise UnknownError("the norm of the gradient is not in the log")
    if not len(log.max_norms):
        raise UnknownError("there is no clip threshold in the log")
    need_rows(log)
    known = np.isfinite(log.norms) & np.isfinite(log.max_norms) & (log.norms > 0)
    if not known.any():
        return None
    left = np.minimum(1.0, log.max_norms[known] / log.norms[known])
    share, s = float(np.mean(left < 1)), float(np.median(left))
    if share < 0.5:
        return None
    threshold, norm = float(np.median(log.max_norms[known])), float(np.median(log.norms[known]))
    stands = log.end > 0.5 * log.start
    if log.adam_like:
        alarm = log.parameters is not None and threshold / math.sqrt(log.parameters) < 10 * EPS
    else:
        alarm = s < SHRUNK and stands
    if not alarm and share < 0.9:
        return None
    harmless = " Adam divides by the gradient's own scale: that is no fault." if log.adam_like and not alarm else ""
    return made(
        clipped_away,
        "clipping leaves next to nothing of the steps" if alarm else "almost every step is clipped",
        f"{100 * share:.0f} % of the steps are clipped at {write(threshold)}, where the gradient's norm is "
        f"{write(norm)} (median): what is left is {write(s)} of it.{harmless}",
        (Cause.CLIPPED_AWAY, Cause.RATE_TOO_LOW) if alarm else (),
        steps=(log.steps[0], log.steps[-1]),
        numbers={"share": share, "left": s, "max_norm": threshold, "norm": norm},
        cure=f"a threshold near the usual norm, {write(norm)}, or none" if alarm else "",
        confidence="likely" if log.adam_like is not None else "possible",
        alarm=alarm,
    )


def vanishing_gradient(log: TrainingLog) -> Finding | None:
    """A gradient that is 0, or falls to nothing while the loss stays.

    The gradient of cross-entropy with respect to an example's logits has the norm √((1 − p_y)² + Σ p_j²) ≥ 1 − e^(−ℓ)
    for its loss ℓ: as long as there is loss, gradient leaves it. So ρ = ‖g‖ / (1 − e^(−L)), in medians over a quarter
    of the log, is a measure of how much arrives. A fault where it has fallen a hundredfold and the loss is still above
    nine tenths of its start; gradients of the examples that cancel at the end of a training have brought the loss down.

    Source: derived here; Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural
    networks", for saturation. The hundredfold is a choice; the development runs bear it out.
    """
    if not len(log.norms):
        raise UnknownError("the norm of the gradient is not in the log")
    need_rows(log)
    norms = log.norms[np.isfinite(log.norms)]
    if not len(norms):
        raise UnknownError("the norm of the gradient is never a number")
    if float(norms.max()) == 0:
        return made(
            vanishing_gradient,
            "the gradient is 0 at every step",
            f"Its norm is 0 in all {len(norms)} rows.",
            (Cause.NO_GRADIENT, Cause.SATURATED),
            steps=(log.steps[0], log.steps[-1]),
            cure="look for requires_grad=False, detach() and no_grad() between the weights and the loss",
            confidence="certain",
        )
    quarter = max(5, len(log) // 4)
    arrives = log.norms / -np.expm1(-np.maximum(log.losses, 1e-6))
    ends = arrives[:quarter], arrives[-quarter:]
    if not all(np.isfinite(each).any() for each in ends):
        raise UnknownError("the loss or the norm of the gradient is not finite in a whole quarter of the log")
    first, last = (float(np.nanmedian(each)) for each in ends)
    if not (last < VANISHED * first and log.end > 0.9 * log.start):
        return None
    return made(
        vanishing_gradient,
        "the gradient falls to nothing, the loss does not",
        f"Its norm is {write(float(np.nanmedian(log.norms[:quarter])))} (median of the first quarter) and "
        f"{write(float(np.nanmedian(log.norms[-quarter:])))} (of the last); the loss is {write(log.start)} and "
        f"{write(log.end)}.",
        (Cause.SATURATED, Cause.RATE_TOO_HIGH, Cause.NO_GRADIENT),
        steps=(log.steps[0], log.steps[-1]),
        numbers={"first": first, "last": last, "start": log.start, "end": log.end},
        cure="a lower learning rate and normalized inputs, so that units do not die; begin from fresh weights",
    )


def growing_gradient(log: TrainingLog) -> Finding | None:
    """A gradient that grows while the loss does not fall to match.

    g = median norm of the last quarter over that of the first ten rows ≥ 10. Gradients that are never set to zero are
    sums: ‖G_k‖ is k times that of one batch as long as they agree, √k times where they do not, and from one step to the
    next it changes by one batch's share only. So where |‖G_k‖ − ‖G_(k−1)‖| / ‖G_k‖ is below 0.1 (median over the last
    half; below 1/k for a sum of k, while norms of single batches scatter by more than that), a missing zero_grad comes
    first.

    Source: torch.optim.Optimizer.zero_grad: gradients are added up unless they are set to zero; Pascanu et al. 2013 for
    gradients that explode. Ten and a tenth are choices; the development runs bear them out.
    """
    if not len(log.norms):
        raise UnknownError("the norm of the gradient is not in the log")
    need_rows(log, 2 * 10)
    norms = log.norms[np.isfinite(log.norms)]
    if len(norms) < 20:
        raise UnknownError("the norm of the gradient is hardly ever a number")
    quarter = max(5, len(norms) // 4)
    first, last = float(np.median(norms[:10])), float(np.median(norms[-quarter:]))
    half = norms[len(norms) // 2 :]
    change = float(np.median(np.abs(np.diff(half)) / np.maximum(half[1:], 1e-30)))
    grown = last / max(first, 1e-30)
    if grown < GROWN:
        return None
    summed = change < SMOOTH
    return made(
        growing_gradient,
        "the gradient grows and grows",
        f"Its norm is {write(first)} (median of the first ten rows) and {write(last)} (of the last quarter), and "
        f"changes by {100 * change:.0f} % from one row to the next.",
        (Cause.NO_ZERO_GRAD, Cause.RATE_TOO_HIGH) if summed else (Cause.RATE_TOO_HIGH, Cause.NO_ZERO_GRAD),
        steps=(log.steps[0], log.steps[-1]),
        numbers={"first": first, "last": last, "change": change},
        cure="optimizer.zero_grad() before each backward()" if summed else "a tenth of the learning rate",
        confidence="likely" if summed else "possible",
    )


def schedule(log: TrainingLog) -> Finding | None:
    """The learning rate against the length of the run: at zero before the end, or far from it at the end.

    Below a thousandth of its highest it counts as 0. A linear schedule is there for 0.1 % of its steps, a cosine for
    2/π · asin √0.001 = 2 %; a fault where it is for more than a tenth of the log, and ten rows at least. A rate that
    falls, and at the end of a run that is over is still above 0.3 of its highest, was planned for a longer run: that is
    said.

    Source: derived here from the closed forms in ``formulas.schedules``; Hägele et al. 2024, "Scaling laws and
    compute-optimal training beyond fixed training durations", for what the end of a schedule brings.
    """
    rates = log.learning_rates
    if not len(rates) or not np.isfinite(rates).any():
        raise UnknownError("the learning rate is not in the log")
    need_rows(log)
    highest = float(np.nanmax(rates))
    if highest <= 0:
        return made(
            schedule,
            "the learning rate is 0 at every step",
            f"It is 0 in all {len(rates)} rows.",
            (Cause.SCHEDULE_OVER, Cause.RATE_TOO_LOW),
            steps=(log.steps[0], log.steps[-1]),
            cure="set a learning rate above 0",
            confidence="certain",
        )
    awake = np.flatnonzero(~(rates <= OVER * highest))
    idle = len(rates) - 1 - int(awake[-1])
    if idle >= 10 and idle > OVER_FOR * len(rates):
        at = log.steps[int(awake[-1])]
        return made(
            schedule,
            "the learning rate is 0 before the end",
            f"After {log.unit} {at:g} it is below a thousandth of its highest ({write(highest)}): the last {idle} of "
            f"{len(rates)} rows, {100 * idle / len(rates):.0f} %, train nothing.",
            (Cause.SCHEDULE_OVER, Cause.NOT_LONG_ENOUGH),
            steps=(at, log.steps[-1]),
            numbers={"from": float(at), "idle": idle, "highest": highest},
            cure="give the schedule the number of steps that the run has (not of epochs, nor of another run)",
            confidence="certain",
        )
    fell = rates[np.isfinite(rates)]
    peak = int(np.argmax(fell))
    last = float(fell[-1]) / highest
    steadily = float(np.mean(np.diff(fell[peak:]) <= 0)) if peak < len(fell) - 1 else 0.0
    moves = float(np.mean(np.diff(fell[peak:]) < 0)) if peak < len(fell) - 1 else 0.0
    if log.over and steadily == 1 and moves > 0.5 and 0.3 < last < 0.95:
        return made(
            schedule,
            "the run ends long before its schedule",
            f"The learning rate falls all the time, and is still {100 * last:.0f} % of its highest at the end.",
            (Cause.SCHEDULE_TOO_LONG,),
            steps=(log.steps[peak], log.steps[-1]),
            numbers={"left": last},
            alarm=False,
        )
    return None


def warm_up(log: TrainingLog) -> Finding | None:
    """Adam without its bias correction and without warm-up.

    Without the correction the first update is (1 − β₁)/√(1 − β₂) = 3.2 times that of the corrected one, and stays above
    it for some 1/(1 − β₂) steps. A fault where the loss rose by half within the first fifty rows; else it is said.

    Source: Kingma & Ba 2015, "Adam", Section 3; Mosbach, Andriushchenko & Klakow 2021, Section 5, and Zhang et al.
    2021, "Revisiting few-sample BERT fine-tuning", Section 4, for what it does to BERT.
    """
    if log.adam_like is False:
        return None
    if log.bias_correction is None:
        raise UnknownError("whether Adam corrects its bias is not in the log")
    if log.bias_correction or (log.warmup_steps or 0) > 0 or not len(log):
        return None
    early = log.losses[:50]
    rose = bool(np.isfinite(early).any() and float(np.nanmax(early)) > 1.5 * float(early[0]))
    factor = missing_correction(0)
    return made(
        warm_up,
        "Adam begins without bias correction and without warm-up",
        f"Its first update is {write(factor)} times the corrected one; the highest of the first {len(early)} losses is "
        f"{write(float(np.nanmax(early)))}, the first {write(float(early[0]))}.",
        (Cause.NO_WARMUP, Cause.RATE_TOO_HIGH),
        steps=(log.steps[0], log.steps[len(early) - 1]),
        numbers={"factor": factor},
        cure="bias_correction=True, or a warm-up over the first tenth of the steps",
        confidence="likely" if rose else "possible",
        alarm=rose,
    )
