"""How the learning rate changes while training runs.

A schedule is the number that the base learning rate is multiplied with at step k, counted from 0. All but one are
closed forms of k: to go back to step k nothing else is needed. `plateau` is a function of the validation losses so far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .._validation import number

SCHEDULES = ("constant", "linear", "exponential", "cosine", "plateau")
_ENDING = ("linear", "cosine")  # these end with the run, so they need to know when that is


def constant(k: int) -> float:
    """Always 1.

    Args:
        k: step, from 0.
    """
    _check_step(k)
    return 1.0


def exponential(k: int, gamma: float, every: int = 1) -> float:
    """γ^⌊k / every⌋: shrink by the factor γ once every so many steps.

    Args:
        k: step, from 0.
        gamma: γ, above 0 and at most 1.
        every: steps between two shrinkings, at least 1; with more than 1 this is "step decay".

    Raises:
        ValueError: an argument outside its range.
    """
    _check_step(k)
    number("gamma", gamma, above=0, at_most=1)
    number("every", every, at_least=1)
    return gamma ** (k // every)


def linear(k: int, total_steps: int) -> float:
    """1 - k / total_steps: the same amount less at each step, from 1 down to 0.

    With warm-up in front this is the schedule of BERT.

    Args:
        k: step, from 0; past total_steps the multiplier stays at 0.
        total_steps: steps from top to bottom, at least 1.

    Raises:
        ValueError: an argument outside its range.

    Source:
        Devlin et al. 2019, "BERT: pre-training of deep bidirectional transformers for language understanding".
    """
    _check_step(k)
    number("total_steps", total_steps, at_least=1)
    return 1.0 - min(k / total_steps, 1.0)


def cosine(k: int, total_steps: int, floor: float = 0.0) -> float:
    """floor + (1 - floor) · ½ (1 + cos(π k / total_steps)): slow, then fast, then slow, from 1 down to `floor`.

    Args:
        k: step, from 0; past total_steps the multiplier stays at `floor`.
        total_steps: steps from top to bottom, at least 1.
        floor: the last multiplier, in [0, 1].

    Raises:
        ValueError: an argument outside its range.

    Source:
        Loshchilov & Hutter 2017, "SGDR: stochastic gradient descent with warm restarts", Equation 5, without restarts.
    """
    _check_step(k)
    number("total_steps", total_steps, at_least=1)
    number("floor", floor, at_least=0, at_most=1)
    progress = min(k / total_steps, 1.0)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def warmup(k: int, warmup_steps: int) -> float:
    """(k + 1) / warmup_steps, and 1 from there on: the very first step is small, but not zero.

    Args:
        k: step, from 0.
        warmup_steps: steps until the multiplier is 1; 0 means no warm-up.

    Raises:
        ValueError: an argument outside its range.

    Source:
        Goyal et al. 2017, "Accurate, large minibatch SGD: training ImageNet in 1 hour", Section 2.2 (gradual warmup).
    """
    _check_step(k)
    number("warmup_steps", warmup_steps, at_least=0)
    return 1.0 if k + 1 >= warmup_steps else (k + 1) / warmup_steps


def missing_correction(k: int, beta1: float = 0.9, beta2: float = 0.999) -> float:
    """(1 - β₁ᵗ) / √(1 - β₂ᵗ) with t = k + 1: how much longer a step of Adam is when its bias is not corrected.

    Adam without bias correction is Adam with it whose learning rate is multiplied by this (but for ε, which is then
    divided by the root). The default β make it 3.2 at first, 6.6 at its highest (t = 12), 1.03 after 3000 steps.

    Args:
        k: step, from 0.
        beta1: β₁, in [0, 1).
        beta2: β₂, in (0, 1).

    Raises:
        ValueError: an argument outside its range.

    Source:
        Kingma & Ba 2015, "Adam: a method for stochastic optimization", the remark on efficiency in Section 2.
    """
    _check_step(k)
    number("beta1", beta1, at_least=0, below=1)
    number("beta2", beta2, above=0, below=1)
    return (1 - beta1 ** (k + 1)) / math.sqrt(1 - beta2 ** (k + 1))


def plateau(losses: Sequence[float], factor: float = 0.1, patience: int = 10, threshold: float = 1e-4) -> float:
    """Shrink by `factor` whenever the validation loss has not improved for more than `patience` evaluations.

    A loss improves if it is below (1 - threshold) times the best so far. nan never improves.

    Args:
        losses: every validation loss so far, oldest first.
        factor: in (0, 1).
        patience: evaluations without improvement that are forgiven, 0 or more.
        threshold: the improvement that counts, relative, in [0, 1).

    Raises:
        ValueError: an argument outside its range.

    Source:
        torch.optim.lr_scheduler.ReduceLROnPlateau (mode "min", threshold mode "rel", no cooldown, no smallest rate).
    """
    number("factor", factor, above=0, below=1)
    number("patience", patience, at_least=0)
    number("threshold", threshold, at_least=0, below=1)
    best, waited, result = math.inf, 0, 1.0
    for loss in losses:
        if loss < best * (1 - threshold):
            best, waited = loss, 0
        else:
            waited += 1
        if waited > patience:
            waited, result = 0, result * factor
    return result


def check_end(schedule: str, total_steps: int | None) -> None:
    """Raise a ValueError in one line where the schedule ends with the run, and the run has no end."""
    if total_steps is None and schedule in _ENDING:
        raise ValueError(f"schedule is {schedule!r}, which ends with the run, but this run has no end")


def multiplier(
    schedule: str,
    k: int,
    total_steps: int | None,
    warmup_steps: int = 0,
    gamma: float = 0.99,
    losses: Sequence[float] = (),
    factor: float = 0.1,
    patience: int = 10,
) -> float:
    """The multiplier of the base learning rate at step k: warm-up first, then the schedule, from its own beginning.

    Args:
        schedule: "constant", "linear", "exponential", "cosine" or "plateau".
        k: step, from 0.
        total_steps: steps of the whole run, warm-up included, at least 1; None without an end, which linear and cosine
            need.
        warmup_steps: steps of warm-up, 0 or more; the schedule sees k - warmup_steps and total_steps - warmup_steps.
        gamma: γ of "exponential", above 0 and at most 1.
        losses: of "plateau": the validation losses so far, those in warm-up included.
        factor: of "plateau", see `plateau`.
        patience: of "plateau", see `plateau`.

    Raises:
        ValueError: an unknown schedule, one that cannot be, or an argument outside its range.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, not {schedule!r}")
    _check_step(k)
    if total_steps is not None:
        number("total_steps", total_steps, at_least=1)
    check_end(schedule, total_steps)
    number("warmup_steps", warmup_steps, at_least=0)
    number("gamma", gamma, above=0, at_most=1)
    if k < warmup_steps:
        return warmup(k, warmup_steps)
    k -= warmup_steps
    if schedule == "exponential":
        return exponential(k, gamma)
    if schedule in _ENDING and total_steps is not None:
        left = max(total_steps - warmup_steps, 1)  # a warm-up as long as the run leaves the schedule no step of its own
        return linear(k, left) if schedule == "linear" else cosine(k, left)
    return plateau(losses, factor, patience) if schedule == "plateau" else constant(k)


def _check_step(k: int) -> None:
    number("k, the step,", k, at_least=0)
