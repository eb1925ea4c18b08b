"""Answers to the exercises of notebook 04: right ones written in other ways, and wrong ones that no slip names."""

from __future__ import annotations

import math
from fractions import Fraction

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


def best_filled_in(V, curvature, variance, steps):
    rates = torch.zeros(steps)
    for t in range(steps):
        rates[t] = curvature * V / (curvature**2 * V + variance)
        V = V * (1 - rates[t] * curvature)
    return rates


def suggestion_by_interval(learning_rates, losses):
    x = learning_rates.log()
    slopes = torch.zeros(len(x) - 1)
    for k in range(len(slopes)):
        slopes[k] = (losses[k + 1] - losses[k]) / (x[k + 1] - x[k])
    k = int(slopes.argmin())
    return torch.exp((x[k] + x[k + 1]) / 2)


def plateau_by_torch(losses, factor, patience):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=factor, patience=patience, threshold=0.0, eps=0.0
    )
    for loss in losses:
        schedule.step(loss)
    return optimizer.param_groups[0]["lr"]


def _drops(losses, factor, patience, forgets_best=False, tolerance=0.0, drops_once=False):
    """Waiting as the page says, with one thing done otherwise."""
    best, waited, multiplier = math.inf, 0, 1.0
    for loss in losses:
        if loss < best - tolerance:
            best, waited = loss, 0
        else:
            waited += 1
        if waited > patience and not (drops_once and multiplier < 1):
            multiplier, waited = multiplier * factor, 0
            best = math.inf if forgets_best else best
    return multiplier


def _suggestion(pick):
    def answer(rates, losses):
        k = (losses.diff() / rates.log().diff()).argmin()
        return pick(rates, k)

    return answer


RIGHT = {
    "schedules.best": (
        best_closed,
        best_numpy,
        best_filled_in,
        lambda V, c, s2, steps: [float(1 / (c * (t + s2 / (c * c * V)))) for t in range(1, steps + 1)],
    ),
    "schedules.gamma": (
        gamma_by_logarithm,
        gamma_torch,
        lambda share, steps: np.power(share, 1 / steps),
        lambda share, steps: 10 ** (math.log10(share) / steps),
    ),
    "schedules.warmup": (
        warmup_otherwise,
        warmup_table,
        lambda schedule, k, n: torch.tensor((k + 1) / n if k + 1 <= n else schedule(k - n)),
        lambda schedule, k, n: Fraction(k + 1, n) if k < n else schedule(k - n),
    ),
    "schedules.restarts": (
        restarts_by_subtraction,
        restarts_torch,
        lambda k, period, floor: np.interp(np.cos(np.pi * (k % period) / period), [-1, 1], [floor, 1]),
        lambda k, period, floor: floor + (1 - floor) * (1 + math.cos(math.pi * (k / period - k // period))) / 2,
    ),
    "schedules.plateau": (
        plateau_counting_drops,
        plateau_by_recursion,
        plateau_by_torch,
        lambda losses, factor, patience: np.float64(_drops(losses, factor, patience)),
    ),
    "schedules.rates": (
        rates_logspace,
        rates_list,
        lambda low, high, steps: np.geomspace(low, high, steps),
        lambda low, high, steps: torch.linspace(math.log(low), math.log(high), steps).exp(),
    ),
    "schedules.suggestion": (
        suggestion_loop,
        suggestion_numpy,
        suggestion_by_interval,
        _suggestion(lambda rates, k: float(rates[k] * (rates[k + 1] / rates[k]) ** 0.5)),
    ),
}

WRONG = {
    "schedules.best": {
        "the variance after the step, not before": lambda V, c, s2, steps: best_closed(V, c, s2, steps + 1)[1:],
        "the standard deviation for the variance": lambda V, c, s2, steps: best_closed(V, c, math.sqrt(s2), steps),
        "one over the root of t": lambda V, c, s2, steps: best_closed(V, c, s2, steps) ** 0.5,
        "λ missing below": lambda V, c, s2, steps: best_closed(V, c, s2, steps) * c,
        "only the last rate": lambda V, c, s2, steps: best_closed(V, c, s2, steps)[-1],
    },
    "schedules.gamma": {
        "one step less": lambda share, steps: share ** (1 / max(steps - 1, 1)),
        "one step more": lambda share, steps: share ** (1 / (steps + 1)),
        "the share that is lost": lambda share, steps: (1 - share) ** (1 / steps),
        "the logarithm of it": lambda share, steps: math.log(share) / steps,
        "upside down": lambda share, steps: share ** (-1 / steps),
    },
    "schedules.warmup": {
        "no warm-up": lambda schedule, k, n: schedule(k),
        "warm-up that starts at half": lambda schedule, k, n: (k + 0.5) / n if k < n else schedule(k - n),
        "one step skipped": lambda schedule, k, n: (k + 1) / n if k < n else schedule(k - n + 1),
        "one for ever after": lambda schedule, k, n: min(1.0, (k + 1) / n) if n else 1.0,
        "the schedule itself, not its value": lambda schedule, k, n: (k + 1) / n if k < n else schedule,
    },
    "schedules.restarts": {
        "the cosine goes on without modulo": lambda k, n, low: low + (1 - low) * (1 + math.cos(math.pi * k / n)) / 2,
        "a straight line down": lambda k, n, low: 1 - (1 - low) * (k % n) / n,
        "the floor cuts it off": lambda k, n, low: max(low, (1 + math.cos(math.pi * (k % n) / n)) / 2),
        "in degrees": lambda k, n, low: low + (1 - low) * (1 + math.cos(180 * (k % n) / n)) / 2,
        "up instead of down": lambda k, n, low: low + (1 - low) * (1 - math.cos(math.pi * (k % n) / n)) / 2,
    },
    "schedules.plateau": {
        "the best is forgotten after a drop": lambda *a: _drops(*a, forgets_best=True),
        "the rate falls only once": lambda *a: _drops(*a, drops_once=True),
        "only a gain of 0.15 counts": lambda *a: _drops(*a, tolerance=0.15),
        "how many drops": lambda losses, factor, patience: round(
            math.log(_drops(losses, factor, patience)) / math.log(factor)
        ),
        "the factor, whatever came": lambda losses, factor, patience: factor,
    },
    "schedules.rates": {
        "high is left out": lambda low, high, steps: np.geomspace(low, high, steps, endpoint=False),
        "from high to low": lambda low, high, steps: np.geomspace(high, low, steps),
        "only the exponents": lambda low, high, steps: torch.linspace(math.log10(low), math.log10(high), steps),
        "one rate too many": lambda low, high, steps: np.geomspace(low, high, steps + 1),
        "tenfold from step to step": lambda low, high, steps: low * 10.0 ** torch.arange(steps),
    },
    "schedules.suggestion": {
        "the arithmetic middle": _suggestion(lambda rates, k: (rates[k] + rates[k + 1]) / 2),
        "the rate after the steepest fall": _suggestion(lambda rates, k: rates[k + 1]),
        "a tenth of the rate of the lowest loss": lambda rates, losses: rates[losses.argmin()] / 10,
        "its place, not the rate": _suggestion(lambda rates, k: k),
        "the product without its root": _suggestion(lambda rates, k: rates[k] * rates[k + 1]),
    },
}
