"""Exercises of notebook 02 on momentum."""

from __future__ import annotations

import torch

from .exercise import Case, Exercise, Slip

WEIGHTS, GRADIENT, BUFFER = (
    torch.tensor([1.0, -2.0, 0.5]),
    torch.tensor([0.5, 1.0, -3.0]),
    torch.tensor([2.0, -1.0, 0.25]),
)


def momentum_step(theta, g, b, learning_rate, beta):
    b = beta * b + g
    return theta - learning_rate * b, b


def _stale(theta, g, b, learning_rate, beta):
    return theta - learning_rate * b, beta * b + g


def _damped(theta, g, b, learning_rate, beta):
    b = beta * b + (1 - beta) * g
    return theta - learning_rate * b, b


def _rate_inside(theta, g, b, learning_rate, beta):
    b = beta * b + learning_rate * g
    return theta - b, b


def _uphill(theta, g, b, learning_rate, beta):
    b = beta * b + g
    return theta + learning_rate * b, b


MOMENTUM = Exercise(
    name="adam.momentum",
    asks="two tensors: the new weights and the new buffer",
    solution=momentum_step,
    cases=(
        Case("the first step, from an empty buffer", (WEIGHTS, GRADIENT, torch.zeros(3), 0.1, 0.9)),
        Case("a later step", (WEIGHTS, GRADIENT, BUFFER, 0.1, 0.9)),
        Case("β = 0: plain descent", (WEIGHTS, GRADIENT, BUFFER, 0.5, 0.0)),
        Case("no gradient: the ball rolls on", (WEIGHTS, torch.zeros(3), BUFFER, 0.25, 0.5)),
    ),
    slips=(
        Slip("the step uses the buffer of the step before; first update b, then step with the new one", _stale),
        Slip("the factor 1 - β belongs to Adam's mean; the buffer adds the whole gradient", _damped),
        Slip("η stands in front of the buffer, not inside it: b = βb + g, then θ - ηb", _rate_inside),
        Slip("the step goes uphill: subtract ηb", _uphill),
    ),
    hints=(
        "Two lines: what the buffer forgets and gains, then one step of descent along the buffer.",
        "b = beta * b + g comes first; the step uses this new b.",
    ),
)


def threshold(beta, curvature):
    return (2 + 2 * beta) / curvature


THRESHOLD = Exercise(
    name="adam.threshold",
    asks="the learning rate above which the heavy ball diverges, as one number",
    solution=threshold,
    cases=(
        Case("no momentum: the 2/λ of plain descent", (0.0, 10.0)),
        Case("β = 0.9", (0.9, 10.0)),
        Case("β = 0.5 in a flat direction", (0.5, 0.01)),
    ),
    slips=(
        Slip("2/λ is the threshold without momentum", lambda beta, curvature: 2 / curvature),
        Slip(
            "1/(1 - β) is how much faster a constant gradient is followed; the threshold grows by 1 + β only",
            lambda beta, curvature: 2 / (curvature * (1 - beta)),
        ),
        Slip(
            "that is Nesterov's threshold; the heavy ball does not divide by 1 + 2β",
            lambda beta, curvature: (2 + 2 * beta) / ((1 + 2 * beta) * curvature),
        ),
        Slip(
            "p(-1) = 1 + (1 + β - ηλ) + β; both the 1 and the β come twice",
            lambda beta, curvature: (2 + beta) / curvature,
        ),
    ),
    hints=(
        "With z_t = rᵗ the heavy ball becomes p(r) = r² - (1 + β - ηλ) r + β = 0.",
        "It breaks at p(-1) = 0: the ball jumps to the other side at each step, farther every time. Solve for η.",
    ),
)
