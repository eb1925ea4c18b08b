"""Exercises on choosing learning rates: the best one per step, and those of a range test."""

from __future__ import annotations

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
    asks="the learning rates of the next steps, each the best one for its step",
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


def range_rates(low, high, steps):
    k = torch.arange(steps, dtype=torch.float64)
    return low * (high / low) ** (k / (steps - 1))  # (steps,)


RATES = Exercise(
    name="schedules.rates",
    asks="the learning rates of a range test, shape (steps,): from low to high, both included, by one factor",
    solution=range_rates,
    cases=(
        Case("from 0.01 to 10 in 4 steps", (0.01, 10.0, 4)),
        Case("from 0.5 to 2 in 7 steps", (0.5, 2.0, 7)),
        Case("two steps", (0.1, 0.3, 2)),
    ),
    slips=(
        Slip(
            "the same distance from step to step leaves the small rates out; take the same factor",
            lambda low, high, steps: torch.linspace(low, high, steps, dtype=torch.float64),
        ),
        Slip(
            "the last rate must be high itself: steps rates have steps - 1 factors between them",
            lambda low, high, steps: low * (high / low) ** (torch.arange(steps, dtype=torch.float64) / steps),
        ),
        Slip(
            "the first rate must be low itself: count k from 0, up to steps - 1",
            lambda low, high, steps: low * (high / low) ** (torch.arange(1, steps + 1, dtype=torch.float64) / steps),
        ),
        Slip(
            "the powers run from 0 to 1, of high / low; high - low is no factor",
            lambda low, high, steps: (
                low * (high - low) ** (torch.arange(steps, dtype=torch.float64) / max(steps - 1, 1))
            ),
        ),
    ),
    hints=(
        "Each rate is the one before times a factor c. How often is low multiplied by c until it is high?",
        "c^(steps - 1) = high / low, so rate k is low · (high / low)^(k / (steps - 1)).",
    ),
)


def suggestion(learning_rates, losses):
    slope = losses.diff() / learning_rates.log().diff()  # (N - 1,)
    k = slope.argmin()
    return torch.sqrt(learning_rates[k] * learning_rates[k + 1])


def _middle(learning_rates, k):
    return torch.sqrt(learning_rates[k] * learning_rates[k + 1])


SUGGESTION = Exercise(
    name="schedules.suggestion",
    asks="the learning rate in the (geometric) middle of where the loss falls most steeply against ln η",
    solution=suggestion,
    cases=(
        Case(
            "rates that grow tenfold",
            (torch.tensor([1e-4, 1e-3, 1e-2, 1e-1, 1.0]), torch.tensor([2.3, 2.2, 1.5, 0.9, 3.0])),
        ),
        Case(
            "rates that do not grow by one factor",
            (torch.tensor([0.001, 0.002, 0.01, 0.1, 0.2]), torch.tensor([2.0, 1.6, 1.0, 0.8, 0.7])),
        ),
        Case(
            "the fall at the very end",
            (torch.tensor([0.01, 0.02, 0.04, 0.08]), torch.tensor([1.0, 1.01, 1.0, 0.4])),
        ),
    ),
    slips=(
        Slip(
            "the slope is against ln η, not against η itself, which would favour the smallest rates",
            lambda learning_rates, losses: _middle(learning_rates, (losses.diff() / learning_rates.diff()).argmin()),
        ),
        Slip(
            "divide by the distance in ln η: these rates do not grow by one factor",
            lambda learning_rates, losses: _middle(learning_rates, losses.diff().argmin()),
        ),
        Slip(
            "that is where the loss is lowest, close to where it blows up; the steepest fall comes earlier",
            lambda learning_rates, losses: learning_rates[losses.argmin()],
        ),
        Slip(
            "that is where the loss rises most steeply; a fall has a negative slope, so look for the smallest",
            lambda learning_rates, losses: _middle(
                learning_rates, (losses.diff() / learning_rates.log().diff()).argmax()
            ),
        ),
        Slip(
            "that is the rate before the steepest fall; the middle of it is √(η_k η_{k+1})",
            lambda learning_rates, losses: learning_rates[(losses.diff() / learning_rates.log().diff()).argmin()],
        ),
    ),
    hints=(
        "Take the differences of neighbouring losses, and of neighbouring ln η. Their quotient is the slope.",
        "The steepest fall is the smallest (most negative) slope: argmin, at place k, between rates k and k + 1.",
        "The geometric middle of two rates is the root of their product.",
    ),
)
