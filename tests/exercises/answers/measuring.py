"""Answers to the exercises of notebook 09: right ones written in other ways, and wrong ones that no slip names."""

from __future__ import annotations

import math
from itertools import combinations

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


def rate_in_an_array(accuracies, majority, z):
    failed, n = np.sum(~(accuracies.numpy() > majority)), len(accuracies)
    p, shrink = failed / n, 1 / (1 + z**2 / n)
    half = shrink * z * np.sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)
    middle = shrink * (p + z**2 / (2 * n))
    return np.array([p, middle - half, middle + half])


def bootstrap_filled_in(scores, draws, level):
    deviations = torch.zeros(len(draws))
    for b, row in enumerate(draws):
        deviations[b] = scores[row].std()
    tail = (1 - level) / 2
    return torch.quantile(deviations, torch.tensor([tail, 1 - tail]))


def bootstrap_by_sorting(scores, draws, level):
    ordered = scores[draws].std(1).sort().values.tolist()

    def at(share):
        place = share * (len(ordered) - 1)
        low = math.floor(place)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] * (1 - (place - low)) + ordered[high] * (place - low)

    return at((1 - level) / 2), at((1 + level) / 2)


def variance_stacked(scores):
    inits, orders = scores.shape
    rest = scores - scores.mean(1, keepdim=True) - scores.mean(0, keepdim=True) + scores.mean()
    var_rest = rest.square().sum() / (inits - 1) / (orders - 1)
    parts = [scores.mean(1).var() - var_rest / orders, scores.mean(0).var() - var_rest / inits, var_rest]
    return torch.stack(parts).clamp(min=0)


def variance_entry_by_entry(scores):
    inits, orders = scores.shape
    rows, columns, whole = scores.mean(1), scores.mean(0), float(scores.mean())
    var_rest = 0.0
    for i in range(inits):
        for j in range(orders):
            var_rest += float(scores[i, j] - rows[i] - columns[j] + whole) ** 2 / ((inits - 1) * (orders - 1))
    var_init = sum((float(r) - whole) ** 2 for r in rows) / (inits - 1) - var_rest / orders
    var_order = sum((float(c) - whole) ** 2 for c in columns) / (orders - 1) - var_rest / inits
    return max(var_init, 0), max(var_order, 0), var_rest


def sensitivity_filled_in(losses, start_loss):
    capped = torch.zeros(len(losses))
    for i, loss in enumerate(losses):
        capped[i] = loss if loss < start_loss else start_loss
    return capped.mean() - capped.min()


def sensitivity_in_numpy(losses, start_loss):
    capped = np.fmin(losses.numpy(), start_loss)  # fmin takes the number where the other one is nan
    return np.mean(capped) - np.min(capped)


def churn_filled_in(predictions):
    R = len(predictions)
    table = torch.zeros(R, R)
    for i in range(R):
        for j in range(R):
            table[i, j] = (predictions[i] != predictions[j]).float().mean()
    return table.sum() / (R * (R - 1))


def coverage_in_one_line(interval, samples, truth):
    return sum(1 for row in samples if interval(row)[0] <= truth <= interval(row)[1]) / len(samples)


def coverage_in_numpy(interval, samples, truth):
    ends = np.array([[float(end) for end in interval(row)] for row in samples])
    return np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1]))


def coverage_by_distance(interval, samples, truth):
    held = torch.zeros(len(samples))
    for i, row in enumerate(samples):
        low, high = interval(row)
        held[i] = abs(truth - (low + high) / 2) <= (high - low) / 2
    return held.mean()


def joint_by_mean_squares(right):
    R, N = right.shape
    ms_runs, ms_examples = N * right.mean(1).var(), R * right.mean(0).var()
    rest = right - right.mean(1, keepdim=True) - right.mean(0, keepdim=True) + right.mean()
    ms_rest = rest.square().sum() / (R - 1) / (N - 1)
    return ((max(ms_runs - ms_rest, 0) + max(ms_examples - ms_rest, 0) + ms_rest) / (R * N)) ** 0.5


def joint_in_a_loop(right):
    R, N = right.shape
    rows, columns, whole = right.mean(1).tolist(), right.mean(0).tolist(), float(right.mean())
    rest = sum((float(right[i, j]) - rows[i] - columns[j] + whole) ** 2 for i in range(R) for j in range(N))
    rest /= (R - 1) * (N - 1)
    runs = sum((r - whole) ** 2 for r in rows) / (R - 1) - rest / N
    examples = sum((c - whole) ** 2 for c in columns) / (N - 1) - rest / R
    return math.sqrt(max(runs, 0) / R + max(examples, 0) / N + rest / R / N)


def joint_in_numpy(right, lowest=0.0):
    x = right.numpy()
    R, N = x.shape
    rest = x - x.mean(1, keepdims=True) - x.mean(0) + x.mean()
    e = (rest**2).sum() / ((R - 1) * (N - 1))
    a, b = max(x.mean(1).var(ddof=1) - e / N, lowest), max(x.mean(0).var(ddof=1) - e / R, lowest)
    return np.sqrt(a / R + b / N + e / R / N)


def joint_by_centring(right):
    R, N = right.shape
    x = right - right.mean()
    rest = (x - x.mean(1, keepdim=True) - x.mean(0, keepdim=True)).square().sum() / ((R - 1) * (N - 1))
    parts = torch.stack([x.mean(1).var() - rest / N, x.mean(0).var() - rest / R, rest]).clamp(min=0)
    return (parts / torch.tensor([R, N, R * N])).sum().sqrt()


def _bootstrap(reduce, low=lambda level: (1 - level) / 2, high=lambda level: (1 + level) / 2):
    """A percentile interval with another statistic, or other percentiles."""

    def answer(scores, draws, level):
        values = reduce(scores, draws)
        return torch.quantile(values, low(level)), torch.quantile(values, high(level))

    return answer


RIGHT = {
    "measuring.failed_rate": (rate_by_a_quadratic, rate_in_torch, rate_by_scipy, rate_in_an_array),
    "measuring.runs_needed": (
        runs_one_by_one,
        runs_in_torch,
        lambda rate, confidence: np.ceil(np.log(1 - confidence) / np.log(1 - rate)),
        lambda rate, confidence: 1 + math.floor(math.log2(1 - confidence) / math.log2(1 - rate)),
    ),
    "measuring.bootstrap": (bootstrap_in_numpy, bootstrap_in_a_loop, bootstrap_filled_in, bootstrap_by_sorting),
    "measuring.variance": (
        variance_by_mean_squares,
        variance_by_centring,
        variance_stacked,
        variance_entry_by_entry,
    ),
    "measuring.sensitivity": (
        sensitivity_in_a_loop,
        sensitivity_in_single_precision,
        sensitivity_filled_in,
        sensitivity_in_numpy,
    ),
    "measuring.churn": (
        churn_by_combinations,
        churn_by_counts,
        churn_filled_in,
        lambda p: (p[:, None] != p[None]).double().mean() * len(p) / (len(p) - 1),
    ),
    "measuring.coverage": (
        coverage_in_one_line,
        coverage_in_numpy,
        lambda interval, x, truth: 1 - np.mean([not interval(row)[0] <= truth <= interval(row)[1] for row in x]),
        coverage_by_distance,
    ),
    "measuring.joint_error": (joint_by_mean_squares, joint_in_a_loop, joint_in_numpy, joint_by_centring),
}

WRONG = {
    "measuring.failed_rate": {
        "the share that did well": lambda a, majority, z: rate_in_an_array(-a, -majority, z),
        "diverged runs are left out": lambda a, majority, z: rate_in_an_array(a[~a.isnan()], majority, z),
        "the rate last": lambda a, majority, z: np.roll(rate_in_an_array(a, majority, z), -1),
        "only the interval": lambda a, majority, z: rate_in_an_array(a, majority, z)[1:],
    },
    "measuring.runs_needed": {
        "not rounded": lambda rate, confidence: math.log(1 - confidence) / math.log(1 - rate),
        "one too many": lambda rate, confidence: 1 + math.ceil(math.log(1 - confidence) / math.log(1 - rate)),
        "rounded to the nearest": lambda rate, confidence: round(math.log(1 - confidence) / math.log(1 - rate)),
        "for small rates only": lambda rate, confidence: math.ceil(-math.log(1 - confidence) / rate),
        "the probability, not the number": lambda rate, confidence: 1 - (1 - rate) ** 10,
    },
    "measuring.bootstrap": {
        "the variance": _bootstrap(lambda s, d: s[d].var(dim=1)),
        "high and low swapped": lambda s, d, level: bootstrap_filled_in(s, d, level).flip(0),
        "the level as one bound": _bootstrap(
            lambda s, d: s[d].std(dim=1), low=lambda level: 0.0, high=lambda level: level
        ),
        "all draws in one": lambda s, d, level: (s[d].std(), s[d].std()),
    },
    "measuring.variance": {
        "standard deviations": lambda s: variance_stacked(s).sqrt(),
        "without the mean of all": lambda s: (
            variance_stacked(s)[0],
            variance_stacked(s)[1],
            ((s - s.mean(1, keepdim=True) - s.mean(0, keepdim=True)) ** 2).sum() / (s.shape[0] - 1) / (s.shape[1] - 1),
        ),
        "the variance of all runs for the rest": lambda s: (*variance_stacked(s)[:2], s.var()),
        "I and J swapped in the noise": lambda s: (
            variance_stacked(s.T)[[1, 0, 2]]
            if s.shape[0] == s.shape[1]
            else (
                (s.mean(1).var() - variance_stacked(s)[2] / s.shape[0]).clamp(min=0),
                (s.mean(0).var() - variance_stacked(s)[2] / s.shape[1]).clamp(min=0),
                variance_stacked(s)[2],
            )
        ),
        "shares of the whole": lambda s: variance_stacked(s) / variance_stacked(s).sum(),
    },
    "measuring.sensitivity": {
        "inf and nan count as 0": lambda x, s: sensitivity_in_numpy(x.nan_to_num(nan=0.0, posinf=0.0), s),
        "the best rate against the start": lambda x, s: s - min(sensitivity_in_numpy(x, s), s),
        "the median over the rates": lambda x, s: np.median(np.fmin(x.numpy(), s) - np.fmin(x.numpy(), s).min()),
        "the standard deviation": lambda x, s: np.std(np.fmin(x.numpy(), s), ddof=1),
    },
    "measuring.churn": {
        "the sum over all pairs": lambda p: churn_filled_in(p) * math.comb(len(p), 2),
        "counted, not as a share": lambda p: churn_filled_in(p) * p.shape[1],
        "each pair counted twice": lambda p: 2 * churn_filled_in(p),
        "pairs that differ anywhere": lambda p: np.mean([bool((a != b).any()) for a, b in combinations(p, 2)]),
    },
    "measuring.coverage": {
        "strictly the one side": lambda i, x, t: np.mean([float(i(row)[0]) > t for row in x]),
        "the mean width": lambda i, x, t: np.mean([float(i(row)[1] - i(row)[0]) for row in x]),
        "all samples as one": lambda i, x, t: float(i(x.flatten())[0] <= t <= i(x.flatten())[1]),
        "the first half only": lambda i, x, t: coverage_in_one_line(i, x[: len(x) // 2], t),
    },
    "measuring.joint_error": {
        "not clamped": lambda x: joint_in_numpy(x, lowest=-np.inf),
        "twice as large": lambda x: 2 * joint_in_numpy(x),
        "the standard errors added": lambda x: x.mean(1).std() / len(x) ** 0.5 + x.mean(0).std() / x.shape[1] ** 0.5,
        "an error of accuracy p by itself": lambda x: (x.mean() * (1 - x.mean()) / x.shape[1]) ** 0.5,
    },
}
