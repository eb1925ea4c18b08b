"""Exercises of notebook 04: learning-rate schedules."""

from __future__ import annotations

import math

from .exercise import Case, Exercise, Slip
from .plateau import PLATEAU
from .rates import BEST, RATES, SUGGESTION


def gamma_for(share, steps):
    return share ** (1 / steps)


GAMMA = Exercise(
    name="schedules.gamma",
    asks="the γ with which `steps` steps leave `share` of the learning rate",
    solution=gamma_for,
    cases=(
        Case("half of it after 10 steps", (0.5, 10)),
        Case("a hundredth after 300 steps", (0.01, 300)),
        Case("a tenth after one step", (0.1, 1)),
        Case("nothing is to change", (1.0, 50)),
    ),
    slips=(
        Slip("the same amount off at each step is not the same factor", lambda share, steps: 1 - (1 - share) / steps),
        Slip(
            "γ after all the steps is γ to the power of steps: invert the power, by a root",
            lambda share, steps: share**steps,
        ),
        Slip("a factor per step is a root, not a division", lambda share, steps: share / steps),
        Slip(
            "e^(-1/steps) leaves 1/e after that many steps, whatever the share",
            lambda share, steps: math.exp(-1 / steps),
        ),
    ),
    hints=(
        "Write down what is left after `steps` steps, and set it equal to `share`.",
        "γ^steps = share. Solve for γ.",
    ),
)


def with_warmup(schedule, k, warmup_steps):
    if k < warmup_steps:
        return (k + 1) / warmup_steps
    return schedule(k - warmup_steps)


def _ramp(k, warmup_steps):
    return (k + 1) / warmup_steps if k < warmup_steps else 1.0


WARMUP = Exercise(
    name="schedules.warmup",
    asks="the multiplier of step k under linear warm-up followed by any schedule",
    solution=with_warmup,
    cases=(
        Case("the first step of a warm-up of 4", (lambda k: 0.9**k, 0, 4)),
        Case("the last step of the warm-up", (lambda k: 0.9**k, 3, 4)),
        Case("the first step after it", (lambda k: 0.9**k, 4, 4)),
        Case("long after it", (lambda k: 0.9**k, 11, 4)),
        Case("no warm-up at all", (lambda k: 1 / (k + 1), 5, 0)),
    ),
    slips=(
        Slip(
            "the first step must not be wasted: at k = 0 the multiplier is 1/warmup_steps, not 0",
            lambda schedule, k, warmup_steps: k / warmup_steps if k < warmup_steps else schedule(k - warmup_steps),
        ),
        Slip(
            "after warm-up the schedule starts from its own beginning: hand it k - warmup_steps",
            lambda schedule, k, warmup_steps: (k + 1) / warmup_steps if k < warmup_steps else schedule(k),
        ),
        Slip(
            "warm-up ends one step earlier: at k = warmup_steps the schedule has begun",
            lambda schedule, k, warmup_steps: (
                (k + 1) / warmup_steps if k <= warmup_steps and warmup_steps else schedule(k - warmup_steps)
            ),
        ),
        Slip(
            "the schedule waits until warm-up is over; it does not run beside it",
            lambda schedule, k, warmup_steps: _ramp(k, warmup_steps) * schedule(k),
        ),
    ),
    hints=(
        "Two cases: k below warmup_steps, and the rest.",
        "In warm-up (k + 1)/warmup_steps. After it, ask the schedule: schedule(k - warmup_steps).",
    ),
)


def restarts(k, period, floor):
    progress = (k % period) / period
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def _cosine(progress, floor):
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


RESTARTS = Exercise(
    name="schedules.restarts",
    asks="the multiplier of step k under a cosine that starts again every `period` steps",
    solution=restarts,
    cases=(
        Case("in the first cycle", (7, 10, 0.0)),
        Case("in the second cycle, with a floor", (13, 10, 0.1)),
        Case("the first step of the third cycle", (20, 10, 0.2)),
        Case("the last step of a cycle", (4, 5, 0.1)),
    ),
    slips=(
        Slip(
            "it does not start again: what counts is k modulo the period",
            lambda k, period, floor: _cosine(min(k / period, 1), floor),
        ),
        Slip(
            "the floor is added to a cosine of full height: shrink that to 1 - floor",
            lambda k, period, floor: floor + 0.5 * (1 + math.cos(math.pi * (k % period) / period)),
        ),
        Slip(
            "the last step of a cycle is not at the floor yet: divide by the period, not by the period - 1",
            lambda k, period, floor: _cosine((k % period) / (period - 1), floor),
        ),
        Slip(
            "half a turn of the cosine goes from top to bottom: π, not 2π",
            lambda k, period, floor: _cosine(2 * (k % period) / period, floor),
        ),
    ),
    hints=(
        "Which step of its own cycle is step k? Python's % knows.",
        "With progress = (k % period) / period, it is the cosine schedule of section 2.",
    ),
)


EXERCISES = (BEST, GAMMA, WARMUP, RESTARTS, PLATEAU, RATES, SUGGESTION)
