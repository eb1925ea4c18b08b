"""Answers to the exercises of notebook 02: right ones written in other ways, and wrong ones that no slip names."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch

from stablelab import formulas


def _momentum_in_place(theta, g, b, learning_rate, beta):
    b.mul_(beta).add_(g)
    theta.sub_(b, alpha=learning_rate)
    return theta, b


def _momentum_by_formula(theta, g, b, learning_rate, beta):
    return formulas.momentum(theta, g, b, 2, learning_rate, beta)


def _momentum_as_velocity(w, g, b, eta, beta):
    velocity = -eta * b
    velocity = beta * velocity - eta * g
    return w + velocity, -velocity / eta


def _threshold_by_edge(beta, curvature):
    """The root of p(-1), found by halving."""
    low, high = 0.0, 1e4
    for _ in range(200):
        middle = (low + high) / 2
        a = 1 + beta - middle * curvature
        low, high = (middle, high) if 1 + a + beta > 0 else (low, middle)
    return low


def _threshold_single(beta, curvature):
    return torch.tensor(2.0 * (1.0 + beta) / curvature)


def _update_in_place(theta, g, m, v, t, learning_rate, beta1, beta2, eps):
    m.lerp_(g, 1 - beta1)
    v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
    theta.addcdiv_(m / (1 - beta1**t), (v / (1 - beta2**t)).sqrt_().add_(eps), value=-learning_rate)
    return theta, m, v


def _update_by_formula(theta, g, m, v, t, lr, beta1, beta2, eps):
    return formulas.adam(theta, g, m, v, t, lr, beta1, beta2, eps)


def _update_by_numbers(theta, g, m, v, t, learning_rate, beta1, beta2, eps):
    """The correction as two numbers, as optimizers in use do it."""
    theta, g, m, v = (each.float() for each in (theta, g, m, v))
    m, v = m + (1 - beta1) * (g - m), v + (1 - beta2) * (g * g - v)
    root = (1 - beta2**t) ** 0.5
    return theta - learning_rate * root / (1 - beta1**t) * m / (v**0.5 + root * eps), m, v


def _adamw_by_formula(theta, g, m, v, t, learning_rate, beta1, beta2, eps, weight_decay):
    return formulas.adamw(theta, g, m, v, t, learning_rate, beta1, beta2, eps, weight_decay)


def _adamw_shrinks_first(theta, g, m, v, t, learning_rate, beta1, beta2, eps, weight_decay):
    theta *= 1 - learning_rate * weight_decay
    return _update_in_place(theta, g, m, v, t, learning_rate, beta1, beta2, eps)


def _ratio_by_numpy(theta, direction, weight_decay):
    theta, u = theta.numpy(), direction.numpy() + weight_decay * theta.numpy()
    above, below = np.sqrt((theta**2).sum()), np.sqrt((u**2).sum())
    return above / below if above > 0 and below > 0 else 1


def _ratio_by_where(weights, r, decay):
    above, below = torch.linalg.vector_norm(weights), torch.linalg.vector_norm(r + decay * weights)
    return torch.where((above > 0) & (below > 0), above / below, torch.ones_like(above))


def _momentum_entry_by_entry(theta, g, b, learning_rate, beta):
    new = torch.zeros(len(theta))
    for i in range(len(theta)):
        b[i] = beta * b[i] + g[i]
        new[i] = theta[i] - learning_rate * b[i]
    return new, b


def _update_by_numpy(theta, g, m, v, t, learning_rate, beta1, beta2, eps):
    theta, g, m, v = (each.numpy() for each in (theta, g, m, v))
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * np.square(g)
    step = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return np.stack([theta - learning_rate * step, m, v])


def _adamw_stacked(theta, g, m, v, t, learning_rate, beta1, beta2, eps, weight_decay):
    m, v = torch.lerp(g, m, beta1), torch.lerp(g * g, v, beta2)
    step = m / (1 - beta1**t) / ((v / (1 - beta2**t)) ** 0.5 + eps)
    return torch.stack([theta - learning_rate * step - learning_rate * weight_decay * theta, m, v])


def _adamw_entry_by_entry(theta, g, m, v, t, learning_rate, beta1, beta2, eps, weight_decay):
    new = torch.zeros(theta.shape)
    for i in np.ndindex(*theta.shape):
        m[i] = beta1 * m[i] + (1 - beta1) * g[i]
        v[i] = beta2 * v[i] + (1 - beta2) * g[i] ** 2
        step = (m[i] / (1 - beta1**t)) / (math.sqrt(v[i] / (1 - beta2**t)) + eps)
        new[i] = theta[i] - learning_rate * step - learning_rate * weight_decay * theta[i]
    return new, m, v


def _ratio_in_single_precision(theta, direction, weight_decay):
    theta, u = theta.float(), direction.float() + weight_decay * theta.float()
    if not theta.any() or not u.any():
        return 1
    return (theta.norm() / u.norm()).item()


def _adam(theta, g, m, v, t, lr, b1, b2, eps, decay=0.0, grows=1.0):
    """Adam as it should be, with a decay that the slips put in wrong places."""
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
    return theta - lr * grows * (m / (1 - b1**t) / ((v / (1 - b2**t)).sqrt() + eps) + decay * theta), m, v


def _ratio(combine):
    """A quotient of ‖θ‖ and ‖u‖, made otherwise, and 1 where either is 0."""

    def answer(theta, direction, weight_decay):
        u = direction + weight_decay * theta
        if theta.norm() == 0 or u.norm() == 0:
            return 1.0
        return combine(theta, u)

    return answer


RIGHT = {
    "adam.momentum": (
        _momentum_in_place,
        _momentum_by_formula,
        _momentum_as_velocity,
        _momentum_entry_by_entry,
        lambda theta, g, b, lr, beta: torch.stack([theta - lr * (beta * b + g), beta * b + g]),
    ),
    "adam.threshold": (
        _threshold_by_edge,
        _threshold_single,
        lambda beta, curvature: Fraction(2) * (1 + Fraction(beta)) / Fraction(curvature),
        lambda beta, curvature: np.array(2 / curvature + 2 * beta / curvature),
    ),
    "adam.update": (_update_in_place, _update_by_formula, _update_by_numbers, _update_by_numpy),
    "adam.adamw": (_adamw_by_formula, _adamw_shrinks_first, _adamw_stacked, _adamw_entry_by_entry),
    "adam.trust_ratio": (
        _ratio_by_numpy,
        _ratio_by_where,
        _ratio_in_single_precision,
        _ratio(lambda theta, u: torch.sqrt((theta**2).sum() / (u**2).sum())),
    ),
}

WRONG = {
    "adam.momentum": {
        "the buffer is not returned": lambda theta, g, b, lr, beta: theta - lr * (beta * b + g),
        "the old buffer is returned": lambda theta, g, b, lr, beta: (theta - lr * (beta * b + g), b),
        "the two are swapped": lambda theta, g, b, lr, beta: (beta * b + g, theta - lr * (beta * b + g)),
        "β weighs the gradient": lambda theta, g, b, lr, beta: (theta - lr * (b + beta * g), b + beta * g),
        "no momentum": lambda theta, g, b, lr, beta: (theta - lr * g, g),
    },
    "adam.threshold": {
        "one sign of β wrong": lambda beta, curvature: (2 - 2 * beta) / curvature,
        "half of it": lambda beta, curvature: (1 + beta) / curvature,
        "(1 + √β)², as in the best pair": lambda beta, curvature: (1 + math.sqrt(beta)) ** 2 / curvature,
        "multiplied with the curvature": lambda beta, curvature: (2 + 2 * beta) * curvature,
    },
    "adam.update": {
        "v averages g, not its square": lambda theta, g, m, v, t, lr, b1, b2, eps: (
            *_adam(theta, g, m, v, t, lr, b1, b2, eps)[:2],
            b2 * v + (1 - b2) * g,
        ),
        "steps are counted from 0": lambda theta, g, m, v, t, *rest: _adam(theta, g, m, v, t + 1, *rest),
        "β₁ and β₂ swapped": lambda theta, g, m, v, t, lr, b1, b2, eps: _adam(theta, g, m, v, t, lr, b2, b1, eps),
        "the new weights alone": lambda *state: _adam(*state)[0],
        "the old m and v are returned": lambda theta, g, m, v, *rest: (_adam(theta, g, m, v, *rest)[0], m, v),
    },
    "adam.adamw": {
        "only m sees no decay": lambda theta, g, m, v, t, lr, b1, b2, eps, decay: (
            *_adam(theta, g, m, v, t, lr, b1, b2, eps, decay)[:2],
            b2 * v + (1 - b2) * (g + decay * theta) ** 2,
        ),
        "decay of the sign, as L1": lambda theta, g, m, v, t, lr, b1, b2, eps, decay: (
            _adam(theta, g, m, v, t, lr, b1, b2, eps)[0] - lr * decay * theta.sign(),
            *_adam(theta, g, m, v, t, lr, b1, b2, eps)[1:],
        ),
        "decay twice": lambda *a: _adam(*a[:-1], 2 * a[-1]),
        "weights shrunk to a share of λ": lambda *a: (a[-1] * _adam(*a[:-1])[0], *_adam(*a[:-1])[1:]),
        "the new weights alone": lambda *a: _adam(*a)[0],
    },
    "adam.trust_ratio": {
        "cut at 10, as some code does": _ratio(lambda theta, u: min(10.0, float(theta.norm() / u.norm()))),
        "the mean square of each entry's ratio": _ratio(lambda theta, u: (theta / u).square().mean().sqrt()),
        "largest entries": _ratio(lambda theta, u: theta.abs().max() / u.abs().max()),
        "‖r‖ + λ‖θ‖ below": lambda theta, r, decay: (
            theta.norm() / (r.norm() + decay * theta.norm()) if theta.any() and (r.any() or decay) else 1.0
        ),
        "a small number below instead of the two cases": lambda theta, r, decay: (
            theta.norm() / ((r + decay * theta).norm() + 1e-6)
        ),
    },
}
