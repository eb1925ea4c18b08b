"""Other right answers to the exercises on measuring stability."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import numpy as np
import torch


def rate_by_a_quadratic(accuracies, majority, z):
    """Wilson's bounds solve (p - x)² = z² x (1 - x) / n for x."""
    n = len(accuracies)
    p = sum(not a > majority for a in accuracies.tolist()) / n
    low, high = sorted(np.roots([1 + z * z / n, -(2 * p + z * z / n), p * p]).real)
    return p, low, high


def rate_in_torch(accuracies, majority, z):
    p = (accuracies.nan_to_num(nan=0.0) <= majority).double().mean()
    n = torch.tensor(float(len(accuracies)), dtype=torch.float64)
    half = z / (n + z * z) * torch.sqrt(p * (1 - p) * n + z * z / 4)
    middle = (n * p + z * z / 2) / (n + z * z)
    return [p, middle - half, middle + half]


def rate_by_scipy(accuracies, majority, z):
    from scipy.stats import binomtest, norm

    failed = int((~(accuracies > majority)).sum())
    test = binomtest(failed, len(accuracies))
    return test.statistic, *test.proportion_ci(2 * norm.cdf(z) - 1, method="wilson")


def runs_one_by_one(rate, confidence):
    n, all_well = 0, 1.0
    while all_well > 1 - confidence:
        n, all_well = n + 1, all_well * (1 - rate)
    return n


def runs_in_torch(rate, confidence):
    return torch.ceil(torch.log1p(torch.tensor(-confidence)) / math.log1p(-rate))


def bootstrap_in_numpy(scores, draws, level):
    deviations = scores.numpy()[draws.numpy()].std(axis=1, ddof=1)
    return tuple(np.percentile(deviations, [50 * (1 - level), 50 * (1 + level)]))


def bootstrap_in_a_loop(scores, draws, level):
    deviations = torch.stack([scores[row].var().sqrt() for row in draws])
    return torch.quantile(deviations, torch.tensor([0.5 - level / 2, 0.5 + level / 2]).double()).tolist()


def variance_by_mean_squares(scores):
    y = scores.numpy()
    a, b = y.shape
    rows, columns = y.mean(axis=1, keepdims=True), y.mean(axis=0, keepdims=True)
    ms_init = b * ((rows - y.mean()) ** 2).sum() / (a - 1)
    ms_order = a * ((columns - y.mean()) ** 2).sum() / (b - 1)
    ms_rest = ((y - rows - columns + y.mean()) ** 2).sum() / (a - 1) / (b - 1)
    return max((ms_init - ms_rest) / b, 0), max((ms_order - ms_rest) / a, 0), ms_rest


def variance_by_centring(scores):
    a, b = scores.shape
    rows, columns = scores.mean(1), scores.mean(0)
    scores -= rows[:, None]
    scores -= scores.mean(0, keepdim=True)
    rest = scores.square().sum() / (a * b - a - b + 1)
    return [torch.relu(rows.var() - rest / b), torch.relu(columns.var() - rest / a), rest]


def sensitivity_in_a_loop(losses, start_loss):
    capped = [loss if loss < start_loss else start_loss for loss in losses.tolist()]
    return sum(capped) / len(capped) - min(capped)


def sensitivity_in_single_precision(losses, start_loss):
    losses = losses.float().nan_to_num(nan=math.inf).clamp(max=start_loss)
    return losses.mean() - losses.amin()


def churn_by_combinations(predictions):
    pairs = combinations(predictions.tolist(), 2)
    return np.mean([[a != b for a, b in zip(one, other, strict=True)] for one, other in pairs])


def churn_by_counts(predictions):
    R, N = predictions.shape
    total = 0
    for example in predictions.T:
        counts = example.unique(return_counts=True)[1]
        total += R * R - int((counts**2).sum())
    return total / (N * R * (R - 1))


def error_by_digits(confidence, right, bins):
    place = torch.ceil(confidence * bins).long() - 1
    sums = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, right.double() - confidence)
    return sums.abs().sum() / len(confidence)


def error_in_numpy(confidence, right, bins):
    edges, c, r = np.linspace(0, 1, bins + 1), confidence.numpy(), right.numpy()
    total = 0.0
    for low, high in pairwise(edges):
        inside = (c > low) & (c <= high)
        total += abs(r[inside].sum() - c[inside].sum())
    return total / len(c)


VARIANTS = {
    "measuring.failed_rate": (rate_by_a_quadratic, rate_in_torch, rate_by_scipy),
    "measuring.runs_needed": (runs_one_by_one, runs_in_torch),
    "measuring.bootstrap": (bootstrap_in_numpy, bootstrap_in_a_loop),
    "measuring.variance": (variance_by_mean_squares, variance_by_centring),
    "measuring.sensitivity": (sensitivity_in_a_loop, sensitivity_in_single_precision),
    "measuring.churn": (churn_by_combinations, churn_by_counts),
    "measuring.calibration_error": (error_by_digits, error_in_numpy),
}
