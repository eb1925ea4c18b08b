"""Answers to the exercises of notebook 10 on temperature, averages along a run and standard errors."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar


def _error_by_numpy(D):
    D = np.asarray(D)
    return np.sqrt(D.mean(1).var(ddof=1) / D.shape[0] + D.mean(0).var(ddof=1) / D.shape[1])


def _error_by_loops(D):
    S, N = D.shape
    rows = [sum(row) / N for row in D.tolist()]
    columns = [sum(column) / S for column in D.T.tolist()]
    total = 0.0
    for means in (rows, columns):
        middle = sum(means) / len(means)
        total += sum((m - middle) ** 2 for m in means) / (len(means) - 1) / len(means)
    return math.sqrt(total)


def _error_by_std(D):
    return torch.hypot(D.mean(1).std() / D.shape[0] ** 0.5, D.mean(0).std() / D.shape[1] ** 0.5)


def _temperature_by_lbfgs(logits, targets):
    log_T = torch.zeros((), dtype=logits.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_T], max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(logits / log_T.exp(), targets)
        loss.backward()
        return loss

    optimizer.step(closure)
    return log_T.exp().item()


def _temperature_by_grid(logits, targets):
    grid = torch.logspace(-1.5, 1.5, 6001, dtype=torch.float64)
    losses = torch.stack([F.cross_entropy(logits / T, targets) for T in grid])
    return grid[losses.argmin()]


def _temperature_by_scipy(logits, targets):
    z, y = logits.numpy(), targets.numpy()

    def loss(b):
        scaled = b * z
        return (np.logaddexp.reduce(scaled, axis=1) - scaled[np.arange(len(y)), y]).mean()

    return 1 / minimize_scalar(loss, bounds=(1e-3, 50), method="bounded", options={"xatol": 1e-8}).x


def _temperature_by_newton(logits, targets):
    b = torch.ones((), dtype=logits.dtype)
    chosen = logits.gather(1, targets[:, None]).mean()
    for _ in range(200):
        p = (b * logits).softmax(1)
        mean = (p * logits).sum(1)
        curvature = ((p * logits**2).sum(1) - mean**2).mean()
        b = (b - (mean.mean() - chosen) / curvature).clamp(0.5 * b, 2 * b)
    return 1 / b


def _swa_by_list(theta, gradient, learning_rate, steps, start):
    kept = []
    for k in range(steps):
        theta = theta - learning_rate * gradient(theta, k)
        kept.append(theta)
    return theta, torch.stack(kept[start:]).mean(0)


def _swa_in_place(theta, gradient, learning_rate, steps, start):
    total, n = torch.zeros_like(theta), 0
    for k in range(steps):
        theta.sub_(learning_rate * gradient(theta, k))
        if k >= start:
            total += theta
            n += 1
    return theta, total / n


def _swa_by_lerp(theta, gradient, learning_rate, steps, start):
    average = theta.clone()
    for k in range(steps):
        theta.sub_(learning_rate * gradient(theta, k))
        if k >= start:
            average.lerp_(theta, 1 / (k - start + 1))
    return theta, average


def _swa_numpy(theta, gradient, learning_rate, steps, start):
    kept = np.zeros(theta.shape)
    for k in range(steps):
        theta = theta - learning_rate * gradient(theta, k)
        if k >= start:
            kept += theta.numpy() / (steps - start)
    return theta.numpy(), kept


def _swa_ema(theta, gradient, learning_rate, steps, start):
    average = theta.clone()
    for k in range(steps):
        theta = theta - learning_rate * gradient(theta, k)
        average = 0.9 * average + 0.1 * theta
    return theta, average


RIGHT = {
    "robustness.standard_error": (
        _error_by_numpy,
        _error_by_loops,
        _error_by_std,
        lambda D: torch.sqrt(sum(D.mean(d).var() / D.shape[1 - d] for d in (0, 1))),
    ),
    "ensembles.temperature": (
        _temperature_by_lbfgs,
        _temperature_by_grid,
        _temperature_by_scipy,
        _temperature_by_newton,
    ),
    "ensembles.swa": (_swa_by_list, _swa_in_place, _swa_by_lerp, _swa_numpy),
}

WRONG = {
    "robustness.standard_error": {
        "the spread of the seeds, not divided": lambda D: D.mean(1).std(),
        "population variances": lambda D: (
            D.mean(1).var(unbiased=False) / D.shape[0] + D.mean(0).var(unbiased=False) / D.shape[1]
        ).sqrt(),
        "the larger part alone": lambda D: max(
            D.mean(1).std() / D.shape[0] ** 0.5, D.mean(0).std() / D.shape[1] ** 0.5
        ),
        "as of a share": lambda D: (D.mean() * (1 - D.mean()) / D.numel()).abs().sqrt(),
        "the interval's half width": lambda D: 1.96 * _error_by_std(D),
    },
    "ensembles.temperature": {
        "from the accuracy alone": lambda z, y: 1 / (z.argmax(1) == y).double().mean(),
        "the standard deviation of the logits": lambda z, y: z.std(),
        "b squared": lambda z, y: _temperature_by_newton(z, y) ** 2,
        "one step of Newton": lambda z, y: (
            1
            / (
                1
                - ((z.softmax(1) * z).sum(1).mean() - z.gather(1, y[:, None]).mean())
                / ((z.softmax(1) * z**2).sum(1) - (z.softmax(1) * z).sum(1) ** 2).mean()
            )
        ),
        "the lowest loss itself": lambda z, y: F.cross_entropy(z / _temperature_by_newton(z, y), y),
    },
    "ensembles.swa": {
        "an exponential average": _swa_ema,
        "the sum": lambda *a: (_swa_by_list(*a)[0], _swa_by_list(*a)[1] * (a[3] - a[4])),
        "only the average": lambda *a: _swa_by_list(*a)[1],
        "turned round": lambda *a: _swa_by_list(*a)[::-1],
        "uphill": lambda theta, gradient, rate, steps, start: _swa_by_list(theta, gradient, -rate, steps, start),
    },
}
