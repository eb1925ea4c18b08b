"""Right answers to the exercises of notebook 02, written differently from the solutions."""

from __future__ import annotations

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


def _mean_by_weights(gradients, beta):
    T = len(gradients)
    weights = torch.tensor([(1 - beta) * beta ** (T - k) for k in range(1, T + 1)], dtype=gradients.dtype)
    return (weights[:, None] * gradients).sum(dim=0) / weights.sum()


def _mean_by_loops(gradients, beta):
    total, weight = np.zeros(gradients.shape[1]), 0.0
    for g in gradients.numpy():
        total, weight = beta * total + g, beta * weight + 1
    return total / weight


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


VARIANTS = {
    "adam.momentum": (_momentum_in_place, _momentum_by_formula, _momentum_as_velocity),
    "adam.threshold": (_threshold_by_edge, _threshold_single),
    "adam.corrected_mean": (_mean_by_weights, _mean_by_loops),
    "adam.update": (_update_in_place, _update_by_formula, _update_by_numbers),
    "adam.adamw": (_adamw_by_formula, _adamw_shrinks_first),
    "adam.trust_ratio": (_ratio_by_numpy, _ratio_by_where),
}
