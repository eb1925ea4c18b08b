"""Differently written right answers for the exercises on schedules."""

from __future__ import annotations

import math

import numpy as np
import torch


def best_closed(V, curvature, variance, steps):
    t = torch.arange(1, steps + 1)
    return 1 / (curvature * (t + variance / (curvature**2 * V)))


def best_numpy(V, curvature, variance, steps):
    rates = np.empty(steps)
    for i in range(steps):
        precision = curvature**2 / variance + 1 / V  # 1/V grows by λ²/σ² a step
        V = 1 / precision
        rates[i] = curvature * V / variance
    return rates


def gamma_by_logarithm(share, steps):
    return math.exp(math.log(share) / steps)


def gamma_torch(share, steps):
    return torch.tensor(share) ** (1 / steps)


def warmup_otherwise(schedule, k, warmup_steps):
    return min(1.0, (k + 1) / warmup_steps) if warmup_steps > k else schedule(k=k - warmup_steps)


def warmup_table(schedule, k, warmup_steps):
    ramp = np.linspace(0, 1, warmup_steps + 1)[1:]
    return np.concatenate([ramp, [schedule(max(k - warmup_steps, 0))]])[min(k, warmup_steps)]


def restarts_by_subtraction(step, period, floor):
    while step >= period:
        step -= period
    top, bottom = 1.0, floor
    return (top + bottom) / 2 + (top - bottom) / 2 * math.cos(step * math.pi / period)


def restarts_torch(k, period, floor):
    half = torch.cos(torch.tensor(math.pi * (k % period) / period / 2)) ** 2  # ½(1 + cos x) = cos²(x/2)
    return torch.lerp(torch.tensor(floor), torch.tensor(1.0), half.float())


def plateau_counting_drops(losses, factor, patience):
    drops, best, bad = 0, None, 0
    for loss in losses:
        bad = 0 if best is None or loss < best else bad + 1
        best = loss if best is None else min(best, loss)
        if bad == patience + 1:
            drops, bad = drops + 1, 0
    return factor**drops


def plateau_by_recursion(losses, factor, patience):
    """The first stretch of more than `patience` bad evaluations drops the rate; then the rest, with the best kept."""
    start, best = 0, math.inf
    for i, loss in enumerate(losses):
        if loss < best:
            best, start = loss, i
        if i - start > patience:
            rest = [best, *losses[i + 1 :]]
            return torch.tensor(factor) * plateau_by_recursion(rest, factor, patience)
    return torch.tensor(1.0)


def rates_logspace(low, high, steps):
    return torch.logspace(math.log10(low), math.log10(high), steps)


def rates_list(low, high, steps):
    factor = (high / low) ** (1 / (steps - 1))
    rates = [low]
    while len(rates) < steps:
        rates.append(rates[-1] * factor)
    return rates


def suggestion_loop(rates, losses):
    best, where = math.inf, 0.0
    for i in range(len(rates) - 1):
        one, other = float(rates[i]), float(rates[i + 1])
        slope = float(losses[i + 1] - losses[i]) / math.log(other / one)
        if slope < best:
            best, where = slope, math.sqrt(one * other)
    return where


def suggestion_numpy(learning_rates, losses):
    x, y = np.log10(learning_rates.numpy()), losses.numpy()
    k = np.argmin(np.diff(y) / np.diff(x))
    return 10 ** ((x[k] + x[k + 1]) / 2)


VARIANTS = {
    "schedules.best": (best_closed, best_numpy),
    "schedules.gamma": (gamma_by_logarithm, gamma_torch),
    "schedules.warmup": (warmup_otherwise, warmup_table),
    "schedules.restarts": (restarts_by_subtraction, restarts_torch),
    "schedules.plateau": (plateau_counting_drops, plateau_by_recursion),
    "schedules.rates": (rates_logspace, rates_list),
    "schedules.suggestion": (suggestion_loop, suggestion_numpy),
}
