"""Answers to the exercises of notebook 09 on two recipes: right ones written in other ways, and wrong ones."""

from __future__ import annotations

import math

import numpy as np
import torch


def paired_in_numpy(a, b, t):
    d = b.numpy() - a.numpy()
    return d.mean() + np.array([0.0, -1.0, 1.0]) * t * d.std(ddof=1) / np.sqrt(len(d))


def paired_in_a_loop(a, b, t):
    d = [float(y) - float(x) for x, y in zip(a, b, strict=True)]
    n, middle = len(d), sum(d) / len(d)
    error = math.sqrt(sum((x - middle) ** 2 for x in d) / (n - 1) / n)
    return middle, middle - t * error, middle + t * error


def paired_by_variances(a, b, t):
    together = ((a - a.mean()) * (b - b.mean())).sum() / (len(a) - 1)
    half = t * torch.sqrt((a.var() + b.var() - 2 * together) / len(a))
    return [b.mean() - a.mean(), b.mean() - a.mean() - half, b.mean() - a.mean() + half]


def paired_in_place(a, b, t):
    b -= a
    half = t * b.var().sqrt() * len(b) ** -0.5
    return torch.stack([b.mean(), b.mean() - half, b.mean() + half])


def permutation_in_numpy(differences, flips):
    d, f = differences.numpy(), flips.numpy()
    return (1 + np.sum(np.abs(f @ d) >= abs(d.sum()) - 1e-9)) / (1 + len(f))


def permutation_in_a_loop(differences, flips):
    seen, count = abs(float(differences.sum())), 1
    for flip in flips:
        count += abs(float((flip * differences).sum())) > seen - 1e-9
    return count / (len(flips) + 1)


def permutation_with_the_seen_one(differences, flips):
    every = torch.cat([torch.ones(1, len(differences)), flips])
    means = (every * differences).mean(1)
    return (means.abs() >= means[0].abs() - 1e-9).double().mean()


def permutation_by_squares(differences, flips):
    means = flips.double() @ differences
    return (torch.count_nonzero(means**2 >= differences.sum() ** 2 - 1e-9) + 1) / (flips.shape[0] + 1)


def seeds_one_by_one(spread, difference, z_level, z_power):
    n = 1
    while (z_level + z_power) * spread / math.sqrt(n) > difference:
        n += 1
    return n


RIGHT = {
    "comparing.paired": (paired_in_numpy, paired_in_a_loop, paired_by_variances, paired_in_place),
    "comparing.permutation": (
        permutation_in_numpy,
        permutation_in_a_loop,
        permutation_with_the_seen_one,
        permutation_by_squares,
    ),
    "comparing.seeds_needed": (
        seeds_one_by_one,
        lambda s, d, z, w: np.ceil((s / d) ** 2 * (z + w) ** 2),
        lambda s, d, z, w: torch.ceil(torch.tensor((z + w) * s / d, dtype=torch.float64) ** 2),
        lambda s, d, z, w: int(((z + w) * s / d) ** 2) + 1,
    ),
}

WRONG = {
    "comparing.paired": {
        "a normal quantile": lambda a, b, t: paired_in_numpy(a, b, 1.96),
        "the median difference": lambda a, b, t: (
            (b - a).median(),
            *(paired_in_numpy(a, b, t)[1:] + float((b - a).median() - (b - a).mean())),
        ),
        "only the interval": lambda a, b, t: paired_in_numpy(a, b, t)[1:],
        "half of the width": lambda a, b, t: paired_in_numpy(a, b, t / 2),
    },
    "comparing.permutation": {
        "the mean that was seen": lambda d, f: d.mean(),
        "pairs are shuffled, not their signs": lambda d, f: 1.0,
        "two sides by doubling one": lambda d, f: 2 * permutation_in_numpy(d, f),
        "as a count": lambda d, f: permutation_in_numpy(d, f) * (1 + len(f)),
        "a t statistic alone": lambda d, f: d.mean() / d.std() * len(d) ** 0.5,
    },
    "comparing.seeds_needed": {
        "not rounded": lambda s, d, z, w: ((z + w) * s / d) ** 2,
        "one too many": lambda s, d, z, w: seeds_one_by_one(s, d, z, w) + 1,
        "for two separate groups": lambda s, d, z, w: math.ceil(2 * ((z + w) * s / d) ** 2),
        "the spread not squared": lambda s, d, z, w: math.ceil((z + w) ** 2 * s / d**2),
    },
}
