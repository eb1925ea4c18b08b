"""Right answers to the exercises of notebook 01, written differently from the solutions."""

from __future__ import annotations

import math

import numpy as np
import torch


def _step_in_place(weights, gradient, eta):
    weights -= eta * gradient
    return weights


def _step_by_torch(theta, g, learning_rate):
    return torch.add(theta, g, alpha=-learning_rate).requires_grad_()


def _step_by_numpy(theta, g, learning_rate):
    return theta.numpy() - learning_rate * g.numpy()


def _forecast_by_difference(g, H, learning_rate):
    def model(delta):
        return g @ delta + delta @ H @ delta / 2

    return model(-learning_rate * g) - model(torch.zeros_like(g))


def _forecast_by_loops(g, H, learning_rate):
    g, H = g.tolist(), H.tolist()
    linear = sum(-learning_rate * each * each for each in g)
    quadratic = sum(g[i] * H[i][j] * g[j] for i in range(len(g)) for j in range(len(g)))
    return linear + learning_rate**2 * quadratic / 2


def _forecast_single(g, H, learning_rate):
    g, H = g.float(), H.float()
    return -learning_rate * g.square().sum() + learning_rate**2 / 2 * (g * (H @ g)).sum()


def _threshold_by_numpy(H):
    return float(2 / np.linalg.eigvalsh(H.numpy()).max())


def _threshold_by_norm(H):
    return 2 / torch.linalg.matrix_norm(H, ord=2)


def _threshold_by_powers(H):
    v = torch.ones(len(H), dtype=H.dtype)
    for _ in range(2000):
        v = torch.nn.functional.normalize(H @ v, dim=0)
    return (2 / (v @ H @ v)).item()


def _best_by_condition(H):
    values = torch.linalg.eigh(H).eigenvalues
    kappa = values.max() / values.min()
    return [2 / (values.max() + values.min()), (kappa - 1) / (kappa + 1)]


def _best_by_factor(H):
    low, *_, high = sorted(np.linalg.eigvalsh(H.numpy()))
    eta = 2 / (low + high)
    return eta, abs(1 - eta * low)


def _floor_by_recursion(learning_rate, curvature, variance, batch_size):
    V = 0.0
    for _ in range(20_000):
        V = (1 - learning_rate * curvature) ** 2 * V + learning_rate**2 * variance / batch_size
    return V


def _floor_by_series(eta, curve, variance, B):
    return eta**2 * variance / B / (1 - (1 - eta * curve) ** 2)


def _power_by_quotient(product, v, steps):
    for _ in range(steps):
        v = torch.nn.functional.normalize(product(v), dim=0)
    return (v @ product(v) / (v @ v)).item()


def _power_by_mean_of_ratios(hvp, start, n):
    for _ in range(n):
        start = hvp(start)
        start /= math.sqrt(float(start.square().sum()))
    after = hvp(start)
    return after.numpy() @ start.numpy()


def _power_by_eigenvalues(product, v, steps):
    H = torch.stack([product(e) for e in torch.eye(len(v), dtype=v.dtype)], dim=1)
    values = torch.linalg.eigvalsh(H)
    return values[values.abs().argmax()]


VARIANTS = {
    "descent.step": (_step_in_place, _step_by_torch, _step_by_numpy),
    "descent.forecast": (_forecast_by_difference, _forecast_by_loops, _forecast_single),
    "descent.threshold": (_threshold_by_numpy, _threshold_by_norm, _threshold_by_powers),
    "descent.best": (_best_by_condition, _best_by_factor),
    "descent.floor": (_floor_by_recursion, _floor_by_series),
    "descent.power_iteration": (_power_by_quotient, _power_by_mean_of_ratios, _power_by_eigenvalues),
}
