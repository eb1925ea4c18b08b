"""The exercises of notebook 04 on schedules: the best learning rates, warm-up, WSD, restarts and plateaus."""

from __future__ import annotations

import math

import torch

from .exercise import Case, Exercise, Slip


def best_rates(V, curvature, variance, steps):
    rates = []
    for _ in range(steps):
        rate = curvature * V / (curvature**2 * V + variance)
        V = (1 - rate * curvature) ** 2 * V + rate**2 * variance
        rates.append(rate)
    return torch.tensor(rates)


def _one_over_t(start, V, curvature, variance, steps):
    t = torch.arange(start, start + steps, dtype=torch.float64)
    return 1 / (curvature * (t + variance / (curvature**2 * V)))


BEST = Exercise(
    name="schedules.best",
    returns="the learning rates of the next steps, each the best one for its step",
    solution=best_rates,
    cases=(
        Case("V = 9, λ = 1, σ² = 1", (9.0, 1.0, 1.0, 5)),
        Case("λ = 2, σ² = 0.5", (4.0, 2.0, 0.5, 3)),
        Case("a flat direction and much noise", (1.0, 0.1, 3.0, 4)),
        Case("a single step", (2.0, 3.0, 1.0, 1)),
    ),
    slips=(
        Slip(
            "the first rate is that of t = 1, 1/(λ(1 + t₀)); you began with t = 0",
            lambda V, curvature, variance, steps: _one_over_t(0, V, curvature, variance, steps),
        ),
        Slip(
            "t₀ is missing: what is known at the start, V, decides how large the first rate is",
            lambda V, curvature, variance, steps: 1 / (curvature * torch.arange(1, steps + 1, dtype=torch.float64)),
        ),
        Slip(
            "V must be brought up to date after each step; you used the V of the start for all of them",
            lambda V, curvature, variance, steps: torch.full(
                (steps,), curvature * V / (curvature**2 * V + variance), dtype=torch.float64
            ),
        ),
        Slip(
            "that is Newton's step 1/λ, the best where there is no noise; σ² is missing",
            lambda V, curvature, variance, steps: torch.full((steps,), 1 / curvature, dtype=torch.float64),
        ),
    ),
    hints=(
        "Two ways lead there: step by step, η = λV/(λ²V + σ²) with a V that you bring up to date, or the closed form.",
        "The closed form is η = 1/(λ(t + t₀)) at t = 1, 2, …, with t₀ = σ²/(λ²V).",
        "Step by step: after each rate, V becomes (1 - ηλ)²V + η²σ².",
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
    returns="the multiplier of step k under linear warm-up followed by any schedule",
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


def wsd(k, total_steps, warmup_steps, decay_steps):
    if k < warmup_steps:
        return (k + 1) / warmup_steps
    return min(1.0, (total_steps - k) / decay_steps)


WSD = Exercise(
    name="schedules.wsd",
    returns="the multiplier of step k under warm-up, a stable phase and a linear decay",
    solution=wsd,
    cases=(
        Case("the first step", (0, 20, 4, 5)),
        Case("the last step of warm-up", (3, 20, 4, 5)),
        Case("in the stable phase", (10, 20, 4, 5)),
        Case("the first step below the top", (16, 20, 4, 5)),
        Case("the last step", (19, 20, 4, 5)),
        Case("no warm-up", (0, 20, 0, 5)),
        Case("a decay over half of the run", (27, 40, 6, 20)),
    ),
    slips=(
        Slip(
            "the first step must not be wasted: at k = 0 the multiplier is 1/warmup_steps, not 0",
            lambda k, total_steps, warmup_steps, decay_steps: (
                k / warmup_steps if k < warmup_steps else min(1.0, (total_steps - k) / decay_steps)
            ),
        ),
        Slip(
            "between warm-up and decay the multiplier is 1: the decay takes decay_steps, not all that is left",
            lambda k, total_steps, warmup_steps, decay_steps: (
                (k + 1) / warmup_steps if k < warmup_steps else (total_steps - k) / (total_steps - warmup_steps)
            ),
        ),
        Slip(
            "the decay is counted from the end: total_steps - k steps are left at step k",
            lambda k, total_steps, warmup_steps, decay_steps: (
                (k + 1) / warmup_steps
                if k < warmup_steps
                else max(0.0, 1 - max(0, k - warmup_steps - decay_steps) / decay_steps)
            ),
        ),
        Slip(
            "it does not fall at the end",
            lambda k, total_steps, warmup_steps, decay_steps: (k + 1) / warmup_steps if k < warmup_steps else 1.0,
        ),
    ),
    hints=(
        "Three phases: below warmup_steps, the last decay_steps, and what lies between.",
        "At step k there are total_steps - k steps left. Divided by decay_steps that is 1 where the decay begins.",
    ),
)


def restarts(k, period, floor):
    progress = (k % period) / period
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def _cosine(progress, floor):
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


RESTARTS = Exercise(
    name="schedules.restarts",
    returns="the multiplier of step k under a cosine that starts again every `period` steps",
    solution=restarts,
    cases=(
        Case("in the first cycle", (7, 10, 0.0)),
        Case("in the second cycle, with a floor", (13, 10, 0.1)),
        Case("the first step of the third cycle", (20, 10, 0.2)),
        Case("the last step of a cycle", (4, 5, 0.1)),
    ),
    slips=(
        Slip(
            "in the second cycle it is still at the floor; it should be high again",
            lambda k, period, floor: _cosine(min(k / period, 1), floor),
        ),
        Slip(
            "after a period it climbs back as slowly as it fell; it should be at 1 at once",
            lambda k, period, floor: _cosine(k / period, floor),
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


def plateau(losses, factor, patience, threshold):
    best, waited, multiplier = math.inf, 0, 1.0
    for loss in losses:
        if loss < best * (1 - threshold):
            best, waited = loss, 0
        else:
            waited += 1
        if waited > patience:
            multiplier, waited = multiplier * factor, 0
    return multiplier


def _plateau(
    losses, factor, patience, threshold, early=False, forgets=True, previous=False, resets=True, keeps=True, any=False
):
    """The solution with a slip switched on."""
    best, waited, multiplier = math.inf, 0, 1.0
    for loss in losses:
        better = loss < (best if any else best * (1 - threshold))
        if better:
            waited = 0 if forgets else waited
        else:
            waited += 1
        best = loss if better or previous else best
        if waited > patience - early:
            multiplier, waited = multiplier * factor, 0 if resets else waited
            best = best if keeps else math.inf
    return multiplier


PLATEAU = Exercise(
    name="schedules.plateau",
    returns="the multiplier after these validation losses",
    solution=plateau,
    cases=(
        Case("better every time", ([1.0, 0.8, 0.6, 0.5], 0.1, 1, 1e-4)),
        Case("as many evaluations without improvement as patience forgives", ([1.0, 1.1, 1.2, 0.9, 0.8], 0.1, 2, 0.0)),
        Case("eight evaluations that are no better", ([0.5] * 9, 0.5, 2, 1e-4)),
        Case("a zigzag that never gets below its best", ([0.5, 0.7, 0.6, 0.7, 0.6, 0.7, 0.6, 0.7], 0.1, 3, 1e-4)),
        Case("better every third time", ([1.0, 1.1, 1.2, 0.9, 1.0, 1.1, 0.8, 0.9], 0.2, 3, 1e-4)),
        Case("no patience", ([1.0, 1.0, 0.9, 0.9], 0.5, 0, 1e-4)),
        Case("better than the one before, not than the best", ([1.0, 1.2, 1.1, 1.05, 1.0], 0.5, 0, 0.0)),
        Case("better every time, by less than the threshold", ([2 - 1e-6 * k for k in range(20)], 0.5, 3, 1e-4)),
        Case("small gains that come to a large one", ([1.0, 0.96, 0.92, 0.88, 0.84], 0.5, 1, 0.1)),
        Case("a threshold is a share of the best loss", ([8.0, 7.5, 7.2, 7.1], 0.5, 0, 0.1)),
    ),
    slips=(
        Slip(
            "patience is what is forgiven: the drop comes when there are more bad evaluations than that",
            lambda losses, factor, patience, threshold: _plateau(losses, factor, patience, threshold, early=True),
        ),
        Slip(
            "an improvement starts the count of bad evaluations from 0 again",
            lambda losses, factor, patience, threshold: _plateau(losses, factor, patience, threshold, forgets=False),
        ),
        Slip(
            "compare with the best loss so far, not with the one before",
            lambda losses, factor, patience, threshold: _plateau(losses, factor, patience, threshold, previous=True),
        ),
        Slip(
            "after a drop the count starts from 0 again, else every further evaluation drops the rate",
            lambda losses, factor, patience, threshold: _plateau(losses, factor, patience, threshold, resets=False),
        ),
        Slip(
            "a drop must not forget the best loss so far; only the count starts from 0 again",
            lambda losses, factor, patience, threshold: _plateau(losses, factor, patience, threshold, keeps=False),
        ),
        Slip(
            "a loss that is lower by less than the threshold does not count as an improvement",
            lambda losses, factor, patience, threshold: _plateau(losses, factor, patience, threshold, any=True),
        ),
    ),
    hints=(
        "Carry three things along: the best loss so far, the number of evaluations since, and the multiplier.",
        "A loss below best · (1 - threshold) is the new best, and sets the count to 0. Any other adds 1 to it.",
        "When the count is above patience: multiply by factor, and set the count to 0.",
    ),
)


EXERCISES = (BEST, WARMUP, WSD, PLATEAU, RESTARTS)
