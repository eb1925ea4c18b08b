"""The exercises of notebook 01; those on a quadratic are in `quadratic`."""

from __future__ import annotations

import math

import torch

from .exercise import Case, Exercise, Slip
from .quadratic import BEST, POWER, THREE, THRESHOLD, TURNED


def step(theta, g, learning_rate):
    return theta - learning_rate * g


STEP = Exercise(
    name="descent.step",
    asks="the weights after one step of gradient descent",
    solution=step,
    cases=(
        Case("two weights, η = 0.1", (torch.tensor([1.0, -2.0]), torch.tensor([0.5, 0.25]), 0.1)),
        Case("a matrix of weights, η = 0.5", (torch.ones(2, 3), torch.arange(6.0).reshape(2, 3), 0.5)),
        Case("a gradient of zero: nothing moves", (torch.tensor([3.0]), torch.tensor([0.0]), 0.1)),
        Case("η = 1", (torch.tensor([0.0, 4.0]), torch.tensor([3.0, -4.0]), 1.0)),
    ),
    slips=(
        Slip(
            "the step goes uphill: the gradient points where the loss grows, so subtract it",
            lambda theta, g, learning_rate: theta + learning_rate * g,
        ),
        Slip("the learning rate is missing", lambda theta, g, learning_rate: theta - g),
        Slip(
            "the gradient is made as long as 1 first; the step is η times the gradient as it is, long or short",
            lambda theta, g, learning_rate: theta - learning_rate * g / g.norm().clamp(min=1e-30),
        ),
        Slip("only the step is returned; add it to theta", lambda theta, g, learning_rate: -learning_rate * g),
    ),
    hints=(
        "The loss grows fastest along g. You want the opposite direction.",
        "The step is δ = -η g. What comes back is θ + δ, with the same shape as θ.",
    ),
)


def forecast(g, H, learning_rate):
    delta = -learning_rate * g
    return torch.dot(g, delta) + 0.5 * torch.dot(delta, H @ delta)


FORECAST = Exercise(
    name="descent.forecast",
    asks="the change of the loss in one step, to second order, as one number",
    solution=forecast,
    cases=(
        Case("H is diagonal, η below 2/λ_max", (torch.tensor([1.0, 2.0]), torch.diag(torch.tensor([2.0, 4.0])), 0.1)),
        Case("axes turned", (torch.tensor([1.0, -1.0]), TURNED, 0.25)),
        Case("η above 2/λ_max: the loss grows", (torch.tensor([0.0, 2.0]), torch.diag(torch.tensor([1.0, 10.0])), 0.5)),
        Case("three weights", (torch.tensor([1.0, 2.0, 3.0]), THREE, 0.2)),
    ),
    slips=(
        Slip(
            "that is the first order only; ½ δᵀHδ is missing",
            lambda g, H, learning_rate: -learning_rate * torch.dot(g, g),
        ),
        Slip(
            "the quadratic term lacks its ½",
            lambda g, H, learning_rate: -learning_rate * torch.dot(g, g) + learning_rate**2 * torch.dot(g, H @ g),
        ),
        Slip(
            "η must stand squared in the quadratic term: it is ½ δᵀHδ with δ = -η g, and δ appears twice",
            lambda g, H, learning_rate: -learning_rate * torch.dot(g, g) + 0.5 * learning_rate * torch.dot(g, H @ g),
        ),
        Slip(
            "that is how far the loss falls; its change has the opposite sign",
            lambda g, H, learning_rate: learning_rate * torch.dot(g, g) - 0.5 * learning_rate**2 * torch.dot(g, H @ g),
        ),
        Slip(
            "the linear term has the wrong sign: g·δ with δ = -η g is negative",
            lambda g, H, learning_rate: learning_rate * torch.dot(g, g) + 0.5 * learning_rate**2 * torch.dot(g, H @ g),
        ),
    ),
    hints=(
        "Taylor: f(θ + δ) - f(θ) = g·δ + ½ δᵀHδ + …, and the step is δ = -η g.",
        "In PyTorch the quadratic term is 0.5 * torch.dot(delta, H @ delta).",
    ),
)


def floor(learning_rate, curvature, variance, batch_size):
    of_the_mean = variance / batch_size
    return learning_rate * of_the_mean / (curvature * (2 - learning_rate * curvature))


FLOOR = Exercise(
    name="descent.floor",
    asks="the noise floor V of the mean of θ², as one number",
    solution=floor,
    cases=(
        Case("batches of one", (0.1, 1.0, 1.0, 1)),
        Case("batches of sixteen", (0.1, 2.0, 9.0, 16)),
        Case("a learning rate close to 2/λ", (0.9, 2.0, 4.0, 2)),
        Case("a flat direction", (0.5, 0.01, 0.25, 8)),
    ),
    slips=(
        Slip(
            "the batch is missing: the mean of B independent gradients has 1/B of the variance of one",
            lambda learning_rate, curvature, variance, batch_size: floor(learning_rate, curvature, variance, 1),
        ),
        Slip(
            "the variance of a mean falls with B; it is the standard deviation that falls with √B",
            lambda learning_rate, curvature, variance, batch_size: floor(
                learning_rate, curvature, variance, math.sqrt(batch_size)
            ),
        ),
        Slip(
            "that is the approximation for small η; near 2/λ the factor 2 - ηλ matters",
            lambda learning_rate, curvature, variance, batch_size: (
                learning_rate * variance / batch_size / (2 * curvature)
            ),
        ),
        Slip(
            "variance is σ² already; do not square it",
            lambda learning_rate, curvature, variance, batch_size: floor(
                learning_rate, curvature, variance**2, batch_size
            ),
        ),
        Slip(
            "λ is missing in front of the bracket: V = ησ²/(λ(2 - ηλ))",
            lambda learning_rate, curvature, variance, batch_size: (
                floor(learning_rate, curvature, variance, batch_size) * curvature
            ),
        ),
    ),
    hints=(
        "First the noise of one batch: averaging B independent gradients divides the variance by B.",
        "Then V = ησ²/(λ(2 - ηλ)), with the σ² of the batch.",
    ),
)


EXERCISES = (STEP, FORECAST, THRESHOLD, BEST, FLOOR, POWER)
