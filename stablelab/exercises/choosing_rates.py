"""The exercises of notebook 04 on the base rate: range tests, what a sweep says, and averaged weights."""

from __future__ import annotations

import math

import torch

from .exercise import Case, Exercise, Slip, float64, normal


def range_rates(low, high, steps):
    k = torch.arange(steps, dtype=torch.float64)
    return low * (high / low) ** (k / (steps - 1))  # (steps,)


RATES = Exercise(
    name="schedules.rates",
    returns="the learning rates of a range test, shape (steps,): from low to high, both included, by one factor",
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
    half = (losses[0] + losses[-1]) / 2
    k = int((losses <= half).nonzero()[0])  # the first rate that is at least half way down
    share = (losses[k - 1] - half) / (losses[k - 1] - losses[k])
    return learning_rates[k - 1] * (learning_rates[k] / learning_rates[k - 1]) ** share


def _half(learning_rates, losses, level=None, between=None):
    """The solution, with another level or another way between two rates."""
    half = (losses[0] + losses[-1]) / 2 if level is None else level(losses)
    k = max(int((losses <= half).nonzero()[0]), 1)
    low, high = learning_rates[k - 1], learning_rates[k]
    share = (losses[k - 1] - half) / (losses[k - 1] - losses[k])
    return low * (high / low) ** share if between is None else between(low, high, share)


SUGGESTION = Exercise(
    name="schedules.suggestion",
    returns="the learning rate at which half of the fall is done, on a straight line against ln η between two rates",
    solution=suggestion,
    cases=(
        Case(
            "rates that grow tenfold",
            (torch.tensor([1e-4, 1e-3, 1e-2, 1e-1, 1.0]), torch.tensor([2.3, 2.2, 1.5, 0.9, 0.8])),
        ),
        Case(
            "rates that do not grow by one factor",
            (torch.tensor([0.001, 0.002, 0.01, 0.1, 0.2]), torch.tensor([2.0, 1.6, 1.0, 0.6, 0.5])),
        ),
        Case(
            "level at first, the fall at the very end",
            (torch.tensor([0.01, 0.02, 0.04, 0.08]), torch.tensor([1.0, 1.0, 1.0, 0.4])),
        ),
    ),
    slips=(
        Slip(
            "half of the fall is the middle between first and last loss, not half of the first loss",
            lambda learning_rates, losses: _half(learning_rates, losses, lambda losses: losses[0] / 2),
        ),
        Slip(
            "that is the first rate past the middle; go back on the line to the middle itself",
            lambda learning_rates, losses: _half(learning_rates, losses, between=lambda low, high, share: high),
        ),
        Slip(
            "the line between two rates is straight against ln η: low · (high / low)^share",
            lambda learning_rates, losses: _half(
                learning_rates, losses, between=lambda low, high, share: low + (high - low) * share
            ),
        ),
        Slip(
            "that is the rate of the lowest loss, close to where it blows up",
            lambda learning_rates, losses: learning_rates[losses.argmin()],
        ),
        Slip(
            "the share is what is done of the step from one loss to the next, not what is left of it",
            lambda learning_rates, losses: _half(
                learning_rates, losses, between=lambda low, high, share: low * (high / low) ** (1 - share)
            ),
        ),
    ),
    hints=(
        "Which loss is half way between the first and the last? Which is the first rate that is at or below it?",
        "Between losses k - 1 and k, the share (losses[k-1] - half) / (losses[k-1] - losses[k]) of the way is done.",
        "A share of the way from low to high, against ln η, is low · (high / low)^share.",
    ),
)


def restoring_range_test(theta, b, loss, gradient, rates, beta):
    theta_before, b_before = theta.clone(), b.clone()
    losses = []
    for rate in rates:
        met = loss(theta)
        if not math.isfinite(met):
            break
        losses.append(float(met))
        b.mul_(beta).add_(gradient(theta))
        theta.sub_(rate * b)
    theta.copy_(theta_before)
    b.copy_(b_before)
    return losses, theta, b


def _range_test(given, weights=True, momentum=True, after=False, fresh=False):
    """The solution with a slip switched on."""
    theta, b, loss, gradient, rates, beta = given
    theta_before, b_before = theta.clone(), b.clone()
    if fresh:
        b.zero_()
    losses = []
    for rate in rates:
        met = loss(theta)
        if not math.isfinite(met):
            break
        b.mul_(beta).add_(gradient(theta))
        theta.sub_(rate * b)
        losses.append(float(loss(theta) if after else met))
    return losses, theta_before if weights else theta, b_before if momentum else b


def _bowl(theta):
    return float(0.5 * (theta**2).sum())


def _cliff(theta):
    return float(0.5 * (theta**2).sum()) if float(theta.abs().max()) < 4 else math.inf


def _uphill(theta):
    return theta


_RATES = [0.01, 0.03, 0.1, 0.3, 1.0]
RANGE_TEST = Exercise(
    name="schedules.range_test",
    returns="the losses met, and weights and momentum as they were before",
    solution=restoring_range_test,
    cases=(
        Case("two weights, momentum at rest", (float64(3.0, -2.0), float64(0.0, 0.0), _bowl, _uphill, _RATES, 0.9)),
        Case("in the middle of training", (float64(3.0, -2.0), float64(1.0, 0.5), _bowl, _uphill, _RATES, 0.5)),
        Case("no momentum", (float64(1.0), float64(0.2), _bowl, _uphill, [0.1, 0.5], 0.0)),
        Case(
            "a loss that becomes infinite",
            (float64(3.0, -2.0), float64(1.0, 0.5), _cliff, _uphill, [0.1, 1.0, 10.0, 100.0], 0.9),
        ),
    ),
    slips=(
        Slip(
            "training would go on from where the test ended: weights and momentum are not what they were before it",
            lambda *given: _range_test(given, weights=False, momentum=False),
        ),
        Slip(
            "the weights are as before, the momentum is not: training would go on with the test's last steps in it",
            lambda *given: _range_test(given, momentum=False),
        ),
        Slip(
            "the momentum is as before, the weights are not",
            lambda *given: _range_test(given, weights=False),
        ),
        Slip(
            "the loss of a rate is the one met before its step",
            lambda *given: _range_test(given, after=True),
        ),
        Slip(
            "the test begins with the momentum that there is, not with none",
            lambda *given: _range_test(given, fresh=True),
        ),
    ),
    hints=(
        "The stub is right but for one thing: it leaves a trace in two tensors. What is a copy of a tensor in torch?",
        "`theta.clone()` before the loop, `theta.copy_(...)` after it; and the same for b.",
    ),
    restores=True,
)


def safe_rate(rates, losses, chance):
    failed = ((losses >= chance) | losses.isnan()).any(dim=1)  # (R,)
    best, lowest = 0.0, math.inf
    for i in range(len(rates) - 1):
        median = losses[i].median()
        if not failed[i] and not failed[i + 1] and median < lowest:
            best, lowest = rates[i], median
    return best


def _choice(rates, losses, chance, score=None, nan_fails=True, neighbour=True, last=False, chance_fails=True):
    """The solution with a slip switched on."""
    score = score or (lambda row: row.median())
    failed = torch.zeros(len(rates), dtype=torch.bool)
    if chance_fails:
        failed |= (losses >= chance).any(dim=1)
    if nan_fails:
        failed |= losses.isnan().any(dim=1)
    best, lowest = 0.0, math.inf
    for i in range(len(rates) - (not last)):
        beyond = neighbour and i + 1 < len(rates) and bool(failed[i + 1])
        if not failed[i] and not beyond and float(score(losses[i])) < lowest:
            best, lowest = rates[i], float(score(losses[i]))
    return best


_NAN = math.nan
CHOOSE = Exercise(
    name="schedules.choose",
    returns="the safe learning rate of the table with the lowest median loss, or 0",
    solution=safe_rate,
    cases=(
        Case(
            "the best rate stands beside one with a failed run",
            (
                float64(1e-4, 3e-4, 1e-3, 3e-3),
                float64([0.6, 0.5, 0.55], [0.4, 0.45, 0.42], [0.3, 0.35, 0.31], [0.2, 0.8, 0.25]),
                0.69,
            ),
        ),
        Case(
            "a run that ended in nan",
            (
                float64(0.01, 0.1, 1.0, 10.0),
                float64([0.9, 0.8, 0.9], [0.3, 0.2, 0.3], [0.1, 0.15, 0.1], [0.05, _NAN, 0.06]),
                2.3,
            ),
        ),
        Case(
            "one bad run, and no failed one: the median is not moved by it",
            (
                float64(0.01, 0.02, 0.04, 0.08),
                float64([0.5, 0.5, 0.5], [0.3, 0.31, 2.0], [0.4, 0.41, 0.42], [0.6, 0.2, 0.6]),
                2.3,
            ),
        ),
        Case(
            "one lucky run",
            (
                float64(0.01, 0.02, 0.04, 0.08),
                float64([0.5, 0.5, 0.5], [0.3, 0.31, 0.32], [0.6, 0.1, 0.6], [0.7, 0.7, 0.7]),
                2.3,
            ),
        ),
        Case(
            "the lowest median stands at the end of the table",
            (float64(0.1, 0.2, 0.4), float64([0.9, 0.9, 0.9], [0.5, 0.5, 0.5], [0.2, 0.2, 0.2]), 2.3),
        ),
        Case(
            "no rate is safe",
            (float64(0.1, 1.0, 10.0), float64([2.4, 0.3, 0.3], [0.2, 2.3, 0.2], [_NAN, _NAN, _NAN]), 2.3),
        ),
    ),
    slips=(
        Slip(
            "the next larger rate has a failed run: you stand at the edge, and another seed may fall off",
            lambda rates, losses, chance: _choice(rates, losses, chance, neighbour=False),
        ),
        Slip(
            "nobody has looked beyond the largest rate of the table, so it is not safe",
            lambda rates, losses, chance: _choice(rates, losses, chance, last=True),
        ),
        Slip(
            "nan is a failed run as well: it is not at or above any number, so ask for it by isnan()",
            lambda rates, losses, chance: _choice(rates, losses, chance, nan_fails=False),
        ),
        Slip(
            "the median, not the mean: one run among three decides the mean",
            lambda rates, losses, chance: _choice(rates, losses, chance, lambda row: row.mean()),
        ),
        Slip(
            "the median, not the lowest run: the next seed will not be that one",
            lambda rates, losses, chance: _choice(rates, losses, chance, lambda row: row.min()),
        ),
        Slip(
            "a run that ends at or above chance has failed, finite or not",
            lambda rates, losses, chance: _choice(rates, losses, chance, chance_fails=False),
        ),
    ),
    hints=(
        "First mark the rates that have a failed run: a loss of nan, or one at or above chance.",
        "Safe is a rate that is not marked, has a larger neighbour in the table, and that is not marked either.",
        "Of the safe ones take the lowest median; begin with 0 as the answer, and it stays where none is safe.",
    ),
)


def average(mean, theta, t, beta):
    mean = beta * mean + (1 - beta) * theta
    return mean, mean / (1 - beta**t)


AVERAGE = Exercise(
    name="schedules.average",
    returns="the running average of the weights, and the same with its bias corrected",
    solution=average,
    cases=(
        Case("the first step: the corrected average is the weights", (float64(0.0, 0.0), float64(2.0, -4.0), 1, 0.9)),
        Case("the third step", (float64(0.5, 1.0), float64(2.0, -4.0), 3, 0.9)),
        Case("a matrix, long after the start", (normal(2, 3, seed=0), normal(2, 3, seed=1), 400, 0.98)),
        Case("no memory", (float64(7.0), float64(3.0), 2, 0.0)),
    ),
    slips=(
        Slip(
            "β is the weight of what is remembered, 1 - β of what comes in",
            lambda mean, theta, t, beta: (
                (1 - beta) * mean + beta * theta,
                ((1 - beta) * mean + beta * theta) / (1 - beta**t),
            ),
        ),
        Slip(
            "the corrected average is for use only: what is carried on to the next step is the one that is not",
            lambda mean, theta, t, beta: (
                (beta * mean + (1 - beta) * theta) / (1 - beta**t),
                (beta * mean + (1 - beta) * theta) / (1 - beta**t),
            ),
        ),
        Slip(
            "the correction is missing: at the first step the average is only 1 - β of the weights",
            lambda mean, theta, t, beta: (
                beta * mean + (1 - beta) * theta,
                beta * mean + (1 - beta) * theta,
            ),
        ),
        Slip(
            "the weights of the average add up to 1 - β^t after t steps; you divided by 1 - β",
            lambda mean, theta, t, beta: (
                beta * mean + (1 - beta) * theta,
                (beta * mean + (1 - beta) * theta) / (1 - beta),
            ),
        ),
        Slip(
            "t counts from 1: after this step the weights add up to 1 - β^t",
            lambda mean, theta, t, beta: (
                beta * mean + (1 - beta) * theta,
                (beta * mean + (1 - beta) * theta) / (1 - beta ** (t + 1)),
            ),
        ),
    ),
    hints=(
        "It is Adam's m with the weights in place of the gradient, and Adam's correction.",
        "mean ← β·mean + (1 - β)·theta; the weights that it gives to all steps so far add up to 1 - β^t.",
    ),
)


EXERCISES = (AVERAGE, RATES, RANGE_TEST, SUGGESTION, CHOOSE)
