"""Answers to the exercises on big batches: right ones written in other ways, and wrong ones that no slip names."""

from __future__ import annotations

import math

import numpy as np
import torch

from stablelab import formulas


def by_variance(g):
    trace = g.var(dim=0).sum()
    return trace / (g.mean(0).square().sum() - trace / len(g))


def by_covariance(g):
    trace = torch.trace(torch.atleast_2d(torch.cov(g.T)))
    return (trace / (g.mean(0) @ g.mean(0) - trace / len(g))).item()


def by_pairs(g):
    n, products = len(g), g @ g.T
    square = (products.sum() - products.trace()) / (n * (n - 1))
    return (products.trace() / n - square) / square


def in_numpy(g):
    g = g.numpy()
    trace = g.var(axis=0, ddof=1).sum()
    return trace / (np.sum(g.mean(axis=0) ** 2) - trace / len(g))


def in_a_loop(g):
    n = len(g)
    square = sum(float(g[i] @ g[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return sum(float(row @ row) for row in g) / n / square - 1


def rate_in_logarithms(rate, batch, new_batch, adaptive):
    return math.exp(math.log(rate) + (math.log(new_batch) - math.log(batch)) / (2 if adaptive else 1))


def rate_by_if(rate, batch, new_batch, adaptive):
    if adaptive:
        return rate * math.sqrt(new_batch) / math.sqrt(batch)
    return rate / batch * new_batch


RIGHT = {
    "small.noise_scale": (
        by_variance,
        by_covariance,
        by_pairs,
        in_numpy,
        in_a_loop,
        lambda g: formulas.noise_scale(g.square().sum(1).mean(), g.mean(0).square().sum(), 1, len(g)),
    ),
    "small.scaled_rate": (
        rate_in_logarithms,
        rate_by_if,
        lambda r, b, n, a: formulas.scaled_rate(r, b, n, "square root" if a else "linear"),
        lambda r, b, n, a: r * np.power(n / b, 0.5 if a else 1.0),
        lambda r, b, n, a: torch.tensor(r * (n / b) ** (1 - a / 2)),
    ),
}

WRONG = {
    "small.noise_scale": {
        "the trace alone": lambda g: g.var(dim=0).sum(),
        "standard deviations for variances": lambda g: g.std(dim=0).sum() / g.mean(0).norm(),
        "its square root": lambda g: by_variance(g).abs().sqrt(),
    },
    "small.scaled_rate": {
        "left as it is": lambda r, b, n, a: r,
        "the difference of the batches": lambda r, b, n, a: r * (n - b),
        "twice for each doubling and once more": lambda r, b, n, a: rate_by_if(r, b, n, a) * 2,
        "the rate for one example": lambda r, b, n, a: r / b,
    },
}
