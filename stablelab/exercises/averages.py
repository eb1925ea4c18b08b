"""Exercises of notebook 02 on Adam's moving averages."""

from __future__ import annotations

import torch

from .exercise import Case, Exercise, Slip
from .momentum import GRADIENT, WEIGHTS


def corrected_mean(gradients, beta):
    m = torch.zeros_like(gradients[0])
    for g in gradients:
        m = beta * m + (1 - beta) * g
    return m / (1 - beta ** len(gradients))


def _moving_mean(gradients, beta):
    m = torch.zeros_like(gradients[0])
    for g in gradients:
        m = beta * m + (1 - beta) * g
    return m


def _started_at_first(gradients, beta):
    m = gradients[0]
    for g in gradients[1:]:
        m = beta * m + (1 - beta) * g
    return m


MEAN = Exercise(
    name="adam.corrected_mean",
    asks="the bias-corrected moving average of the gradients (T, D), oldest first, of shape (D,)",
    solution=corrected_mean,
    cases=(
        Case("one gradient: it is its own mean", (torch.tensor([[2.0, -4.0]]), 0.9)),
        Case("five equal gradients: the mean is that gradient", (torch.tensor([[1.0, -3.0]]).repeat(5, 1), 0.9)),
        Case("a gradient that changes", (torch.tensor([[1.0], [2.0], [4.0], [8.0]]), 0.5)),
        Case("β = 0: the newest one alone", (torch.tensor([[1.0, 1.0], [3.0, -5.0]]), 0.0)),
    ),
    slips=(
        Slip("the correction is missing: divide by 1 - βᵀ", _moving_mean),
        Slip(
            "that is the plain mean; the newest gradient must weigh most",
            lambda gradients, beta: gradients.mean(dim=0),
        ),
        Slip(
            "oldest and newest are swapped: gradient k of T weighs (1 - β) β^(T-k)",
            lambda gradients, beta: corrected_mean(gradients.flip(0), beta),
        ),
        Slip(
            "start the average at 0; started at the first gradient it gives that one too much weight", _started_at_first
        ),
        Slip(
            "that divides by 1 - β; after T steps it must be 1 - βᵀ",
            lambda gradients, beta: _moving_mean(gradients, beta) / (1 - beta),
        ),
    ),
    hints=(
        "Start at m = 0 and run m = βm + (1 - β)g over the gradients.",
        "The weights (1 - β) β^(T-k) add up to 1 - βᵀ. Divide by that.",
    ),
)


def update(theta, g, m, v, t, learning_rate, beta1, beta2, eps):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    return theta - learning_rate * m_hat / (torch.sqrt(v_hat) + eps), m, v


def _uncorrected(theta, g, m, v, t, learning_rate, beta1, beta2, eps):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return theta - learning_rate * m / (torch.sqrt(v) + eps), m, v


def _inside_the_root(theta, g, m, v, t, learning_rate, beta1, beta2, eps):
    _, m, v = update(theta, g, m, v, t, learning_rate, beta1, beta2, eps)
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    return theta - learning_rate * m_hat / torch.sqrt(v_hat + eps), m, v


def _keeps_the_corrected(theta, g, m, v, t, learning_rate, beta1, beta2, eps):
    theta, m, v = update(theta, g, m, v, t, learning_rate, beta1, beta2, eps)
    return theta, m / (1 - beta1**t), v / (1 - beta2**t)


def _same_correction(theta, g, m, v, t, learning_rate, beta1, beta2, eps):
    _, m, v = update(theta, g, m, v, t, learning_rate, beta1, beta2, eps)
    m_hat, v_hat = m / (1 - beta1), v / (1 - beta2)
    return theta - learning_rate * m_hat / (torch.sqrt(v_hat) + eps), m, v


def _no_root(theta, g, m, v, t, learning_rate, beta1, beta2, eps):
    _, m, v = update(theta, g, m, v, t, learning_rate, beta1, beta2, eps)
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    return theta - learning_rate * m_hat / (v_hat + eps), m, v


def _climbs(theta, g, m, v, t, learning_rate, beta1, beta2, eps):
    return update(theta, g, m, v, t, -learning_rate, beta1, beta2, eps)


_M, _V, _NONE = torch.tensor([0.2, -0.5, 0.1]), torch.tensor([0.3, 0.02, 1.5]), torch.zeros(3)
_ONES = torch.ones(2, 2)
STEPS = (
    Case("the first step", (WEIGHTS, GRADIENT, _NONE, _NONE, 1, 0.1, 0.9, 0.999, 1e-8)),
    Case("the seventh step", (WEIGHTS, GRADIENT, _M, _V, 7, 0.01, 0.9, 0.99, 1e-8)),
    Case("a large ε", (WEIGHTS, GRADIENT, _M, _V, 2, 0.1, 0.8, 0.9, 0.5)),
    Case(
        "a matrix of weights",
        (_ONES, torch.eye(2) + 1, _ONES, _ONES, 3, 1.0, 0.5, 0.9, 0.1),
    ),
)

UPDATE = Exercise(
    name="adam.update",
    asks="three tensors: the new weights, m and v",
    solution=update,
    cases=STEPS,
    slips=(
        Slip("there is no bias correction: divide m by 1 - β₁ᵗ and v by 1 - β₂ᵗ before the step", _uncorrected),
        Slip("ε stands inside the root; add it after the root is taken", _inside_the_root),
        Slip("the step is right, but what is remembered must be m and v themselves, not m̂ and v̂", _keeps_the_corrected),
        Slip("the correction uses 1 - β at every step; it must be 1 - βᵗ", _same_correction),
        Slip("the root of v̂ is missing", _no_root),
        Slip("the step goes uphill: subtract it", _climbs),
    ),
    hints=(
        "Four lines in the order of the box above: m, v, their corrected twins, the step.",
        "m_hat = m / (1 - beta1**t), and v_hat likewise with beta2. Return m and v, not m_hat and v_hat.",
        "The step is learning_rate * m_hat / (torch.sqrt(v_hat) + eps).",
    ),
)
