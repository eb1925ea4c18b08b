"""Answers to the exercises of notebook 14b: right ones written in other ways, and wrong ones that no slip names."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats

from stablelab import formulas


def integrated_stacked(gradient, x, baseline, steps):
    alphas = (torch.arange(steps) + 0.5) / steps
    return (x - baseline) * torch.stack([gradient(torch.lerp(baseline, x, a.item())) for a in alphas]).mean(0)


def integrated_in_numpy(gradient, x, baseline, steps):
    points = [baseline + (2 * k + 1) / (2 * steps) * (x - baseline) for k in range(steps)]
    return (x - baseline).numpy() * np.mean([gradient(p).numpy() for p in points], axis=0)


def integrated_in_place(gradient, x, baseline, steps):
    step = (x - baseline) / steps
    at, total = baseline + step / 2, torch.zeros_like(x)
    for _ in range(steps):
        total += gradient(at) * step
        at = at + step
    return total


def integrated_backwards(gradient, x, baseline, steps):
    # The way from x to the baseline, and the sign turned
    return -integrated_stacked(gradient, baseline, x, steps)


def product_by_autograd(x, baseline):
    def slope(v):
        v = v.detach().requires_grad_()
        return torch.autograd.grad(v.prod(), v)[0]

    covered = [x.prod() - torch.where(torch.arange(2) == i, baseline, x).prod() for i in range(2)]
    mean = (slope(x) + slope(baseline)) / 2  # the gradient is linear on the way
    return torch.stack([(x - baseline) * slope(x), torch.stack(covered), (x - baseline) * mean])


def product_in_numbers(x, baseline):
    a, b, p, q = x[0].item(), x[1].item(), baseline[0].item(), baseline[1].item()
    first = [(a - p) * b, (b - q) * a]
    return [first, first, [(a - p) * (b + q) / 2, (b - q) * (a + p) / 2]]


def product_with_flip(x, baseline):
    outer = (x - baseline) * x.flip(0)
    return torch.stack([outer, outer, (x - baseline) * (x + baseline).flip(0) / 2])


def product_in_numpy(x, baseline):
    x, b = x.numpy(), baseline.numpy()
    outer = (x - b) * x[::-1]
    shapley = (outer + (x - b) * b[::-1]) / 2  # the mean over the two orders in which they may come
    return np.stack([outer, outer, shapley])


def spearman_by_scipy(a, b):
    return float(stats.spearmanr(a.numpy(), b.numpy()).statistic)


def spearman_by_rankdata(a, b):
    return np.corrcoef(stats.rankdata(a.numpy()), stats.rankdata(b.numpy()))[0, 1]


def spearman_by_unique(a, b):
    rows = []
    for v in (a, b):
        _, where, counts = v.unique(return_inverse=True, return_counts=True)
        rows.append((counts.cumsum(0) - (counts - 1) / 2)[where])
    return torch.corrcoef(torch.stack(rows))[0, 1]


def deleted_by_masks(f, x, baseline, scores):
    places = (-scores).argsort().argsort()
    return torch.stack([f(torch.where(places < k, baseline, x)) for k in range(len(x) + 1)])


def deleted_in_a_list(f, x, baseline, scores):
    left, values = list(range(len(x))), [float(f(x))]
    while left:
        left.remove(max(left, key=lambda i: scores[i].item()))
        values.append(float(f(torch.stack([x[i] if i in left else baseline[i] for i in range(len(x))]))))
    return values


def deleted_in_place(f, x, baseline, scores):
    values = torch.empty(len(x) + 1, dtype=torch.float64)
    values[0] = f(x)
    for k, i in enumerate(torch.argsort(-scores).tolist(), 1):
        x[i] = baseline[i]
        values[k] = f(x)
    return values


def deleted_backwards(f, x, baseline, scores):
    values, now = [], baseline.clone()
    for i in scores.argsort():
        values.append(f(now))
        now[i] = x[i]
    return torch.stack([*values, f(now)]).flip(0)


def rollout_by_multi_dot(weights):
    layers = list((weights + torch.eye(weights.shape[-1])) / 2)
    return torch.linalg.multi_dot(layers[::-1]) if len(layers) > 1 else layers[0]


def rollout_in_numpy(weights):
    out = np.eye(weights.shape[-1])
    for w in weights.numpy():
        out = 0.5 * w @ out + 0.5 * out
    return out


def rollout_from_above(weights):
    rows = torch.eye(weights.shape[-1], dtype=torch.float64)
    for w in reversed(weights):
        rows = (rows + rows @ w) / 2
    return rows


def found_row_by_row(scores, at):
    total = 0.0
    for row, i in zip(scores.tolist(), at.tolist(), strict=True):
        if row[i] == max(row):
            total += 1 / row.count(row[i])
    return total / len(scores)


def found_by_masks(scores, at):
    top = (scores == scores.amax(1, keepdim=True)).double()
    return (top / top.sum(1, keepdim=True)).gather(1, at[:, None]).mean()


def found_in_numpy(scores, at):
    scores = scores.numpy()
    top = scores == scores.max(1, keepdims=True)
    return np.mean(top[np.arange(len(scores)), at.numpy()] / top.sum(1))


def found_by_one_hot(scores, at):
    top = (scores == scores.max(1).values[:, None]).double()
    return (torch.nn.functional.one_hot(at, scores.shape[1]) * top).sum(1).div(top.sum(1)).sum() / len(at)


RIGHT = {
    "explain.integrated_gradients": (
        integrated_stacked,
        integrated_in_numpy,
        integrated_in_place,
        integrated_backwards,
    ),
    "explain.of_a_product": (product_by_autograd, product_in_numbers, product_with_flip, product_in_numpy),
    "explain.rank_correlation": (
        spearman_by_scipy,
        spearman_by_rankdata,
        spearman_by_unique,
        formulas.rank_correlation,
    ),
    "explain.rollout": (rollout_by_multi_dot, rollout_in_numpy, rollout_from_above, formulas.attention_rollout),
    "explain.deletion_curve": (deleted_by_masks, deleted_in_a_list, deleted_in_place, deleted_backwards),
    "explain.share_found": (found_row_by_row, found_by_masks, found_in_numpy, found_by_one_hot),
}

WRONG = {
    "explain.integrated_gradients": {
        "the sizes of the gradients": lambda g, x, b, m: integrated_stacked(lambda v: g(v).abs(), x, b, m),
        "shared out evenly": lambda g, x, b, m: integrated_stacked(g, x, b, m).sum() / x.numel() + 0 * x,
        "one step fewer": lambda g, x, b, m: integrated_stacked(g, x, b, m - 1),
        "the way back": lambda g, x, b, m: integrated_stacked(g, b, x, m),
    },
    "explain.of_a_product": {
        "turned": lambda x, b: product_with_flip(x, b).T,
        "half for each": lambda x, b: (x.prod() - b.prod()) / 2 + torch.zeros(3, 2),
        "all from 0": lambda x, b: product_with_flip(x, 0 * b),
        "the sizes": lambda x, b: product_with_flip(x, b).abs(),
    },
    "explain.rank_correlation": {
        "squared": lambda a, b: spearman_by_rankdata(a, b) ** 2,
        "turned": lambda a, b: -spearman_by_rankdata(a, b),
        "the largest of equal ranks": lambda a, b: np.corrcoef(
            stats.rankdata(a.numpy(), "max"), stats.rankdata(b.numpy(), "min")
        )[0, 1],
        "the formula without ties": lambda a, b: (
            1
            - 6
            * float(np.sum((stats.rankdata(a.numpy()) - stats.rankdata(b.numpy())) ** 2))
            / (len(a) * (len(a) ** 2 - 1))
        ),
    },
    "explain.rollout": {
        "nine tenths of attention": lambda w: formulas.attention_rollout(
            2 * (0.9 * w + 0.1 * torch.eye(w.shape[-1])) - torch.eye(w.shape[-1])
        ),
        "the last layer": lambda w: (w[-1] + torch.eye(w.shape[-1])) / 2,
        "columns for rows": lambda w: formulas.attention_rollout(w).T,
    },
    "explain.deletion_curve": {
        "without the last": lambda f, x, b, s: deleted_by_masks(f, x, b, s)[:-1],
        "the fall": lambda f, x, b, s: f(x) - deleted_by_masks(f, x, b, s),
        "its mean": lambda f, x, b, s: deleted_by_masks(f, x, b, s).mean(),
    },
    "explain.share_found": {
        "the number": lambda s, at: found_by_masks(s, at) * len(s),
        "the lowest": lambda s, at: found_by_masks(-s, at),
        "for each map": lambda s, at: (s.argmax(1) == at).double(),
        "among the two highest": lambda s, at: ((s > s[torch.arange(len(at)), at][:, None]).sum(1) < 2).double().mean(),
    },
}
