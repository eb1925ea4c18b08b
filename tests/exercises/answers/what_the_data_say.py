"""Answers to the exercises of notebook 14: right ones written in other ways, and wrong ones that no slip names."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import stats

from stablelab import formulas


def measured_by_cases(a, rho, C):
    right = a * (1 - rho)
    both_wrong = (1 - a) * rho
    return right + both_wrong / (C - 1)


def measured_by_a_matrix(a, rho, C):
    answers = torch.full((C,), (1 - a) / (C - 1), dtype=torch.float64)
    labels = torch.full((C,), rho / (C - 1), dtype=torch.float64)
    answers[0], labels[0] = a, 1 - rho
    return answers @ labels


def measured_from_agreement(a, rho, C):
    return 1 - rho + (1 - a) * (rho * C / (C - 1) - 1)


def joint_in_numpy(labels, p):
    y, p = labels.numpy(), p.numpy()
    C = p.shape[1]
    t = np.array([p[y == j, j].mean() for j in range(C)])
    kept = np.where(p >= t - 1e-12, p, -np.inf)
    counted = np.isfinite(kept.max(1))
    joint = np.zeros((C, C), dtype=int)
    np.add.at(joint, (y[counted], kept.argmax(1)[counted]), 1)
    return joint


def joint_by_one_hot(labels, p):
    Y = torch.nn.functional.one_hot(labels.long(), p.shape[1]).to(p)
    t = (Y * p).sum(0) / Y.sum(0)
    q = p.masked_fill(p < t - 1e-12, 0)
    found = torch.nn.functional.one_hot(q.argmax(1), p.shape[1]).to(p) * (q.sum(1, keepdim=True) > 0)
    return Y.T @ found


def joint_as_lists(labels, p):
    y, rows, C = labels.tolist(), p.tolist(), p.shape[1]
    t = [sum(r[j] for r, i in zip(rows, y, strict=True) if i == j) / y.count(j) for j in range(C)]
    joint = [[0] * C for _ in range(C)]
    for r, i in zip(rows, y, strict=True):
        over = [(r[j], j) for j in range(C) if r[j] >= t[j] - 1e-12]
        if over:
            joint[i][max(over)[1]] += 1
    return joint


def group_by_group(group, order, size):
    chosen, count = [], 0
    for g in dict.fromkeys(group[order].tolist()):
        if count >= size:
            break
        chosen.append(g)
        count += int((group == g).sum())
    return torch.isin(group, torch.tensor(chosen))


def group_in_numpy(group, order, size):
    group, order = group.numpy(), order.numpy()
    _, where = np.unique(group[order], return_index=True)
    firsts = group[order[np.sort(where)]]
    counts = np.array([(group == g).sum() for g in firsts])
    taken = firsts[np.concatenate([[0], counts.cumsum()[:-1]]) < size]
    return np.isin(group, taken)


def group_by_sets(group, order, size):
    members = {g: [k for k, other in enumerate(group.tolist()) if other == g] for g in group.tolist()}
    test: set[int] = set()
    for i in order.tolist():
        if len(test) < size:
            test.update(members[int(group[i])])
    return [k in test for k in range(len(group))]


def gap_by_scipy(a, b, quantile):
    d = (a - b).numpy()
    half = quantile * stats.sem(d)
    return d.mean(), d.mean() - half, d.mean() + half


def gap_by_sums(a, b, quantile):
    n, d = len(a), [x - y for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    m = sum(d) / n
    s = math.sqrt(sum((x - m) ** 2 for x in d) / (n - 1))
    return m, m - quantile * s / n**0.5, m + quantile * s / n**0.5


def gap_as_a_tensor(a, b, quantile):
    d = a.sub(b)
    return d.mean() + torch.tensor([0.0, -1.0, 1.0], dtype=d.dtype) * quantile * (d.var() / d.numel()).sqrt()


def exchanged_by_a_table(tokens, first, second):
    table = torch.arange(int(max(tokens.max(), first.max(), second.max())) + 1)
    table[first], table[second] = second, first
    return table[tokens]


def exchanged_by_a_dict(tokens, first, second):
    pairs = list(zip(first.tolist(), second.tolist(), strict=True))
    other = dict(pairs) | {b: a for a, b in pairs}
    return torch.tensor([other.get(t, t) for t in tokens.flatten().tolist()]).view(tokens.shape)


def exchanged_with_where(tokens, first, second):
    new = tokens
    for a, b in zip(first, second, strict=True):
        new = torch.where(tokens == a, b, torch.where(tokens == b, a, new))
    return new


RIGHT = {
    "data.measured_accuracy": (
        measured_by_cases,
        measured_by_a_matrix,
        measured_from_agreement,
        formulas.measured_accuracy,
    ),
    "data.confident_joint": (joint_in_numpy, joint_by_one_hot, joint_as_lists, formulas.confident_joint),
    "data.without_leak": (
        lambda m, seen, s: m / (1 - s) - s / (1 - s) * seen,
        lambda m, seen, s: seen + (m - seen) / (1 - s),
        lambda m, seen, s: torch.linalg.solve(
            torch.tensor([[1.0 - s]]).double(), torch.tensor([m - s * seen]).double()
        )[0],
        lambda m, seen, s: m + (m - seen) * s / (1 - s),
    ),
    "data.split_by_group": (
        group_by_group,
        group_in_numpy,
        group_by_sets,
        lambda g, order, size: group_by_group(g.clone(), order.clone(), float(size)),
    ),
    "data.mean_gap": (gap_by_scipy, gap_by_sums, gap_as_a_tensor, lambda a, b, q: list(gap_by_sums(a, b, q))),
    "data.exchanged": (
        exchanged_by_a_table,
        exchanged_by_a_dict,
        exchanged_with_where,
        lambda t, a, b: exchanged_by_a_table(t, b, a),
    ),
}

WRONG = {
    "data.measured_accuracy": {
        "always the true accuracy": lambda a, r, c: a,
        "labels and answers taken for one another's complement": lambda a, r, c: 1 - a * (1 - r),
        "half of what is wrong is counted as right": lambda a, r, c: a * (1 - r) + (1 - a) * r / 2,
        "the worst case": lambda a, r, c: max(a - r, 0.0) + 1e-3,
    },
    "data.confident_joint": {
        "shares": lambda y, p: joint_in_numpy(y, p) / len(y),
        "the confusion matrix, by the most probable class, the other way round": lambda y, p: [
            [int(((p.argmax(1) == j) & (y == i)).sum()) for i in range(p.shape[1])] for j in range(p.shape[1])
        ],
        "the diagonal alone": lambda y, p: np.diag(np.diag(joint_in_numpy(y, p))),
    },
    "data.without_leak": {
        "the measured one": lambda m, a, s: m,
        "the mean of both": lambda m, a, s: (m + a) / 2,
        "divided by 1 + s": lambda m, a, s: (m - s * a) / (1 + s),
        "the share taken off": lambda m, a, s: m * (1 - s),
    },
    "data.split_by_group": {
        "from the end": lambda g, order, size: group_by_sets(g, order.flip(0), size),
        "one more than was asked for": lambda g, order, size: group_by_sets(g, order, size + 2),
        "positions": lambda g, order, size: [i for i, one in enumerate(group_by_sets(g, order, size)) if one],
    },
    "data.mean_gap": {
        "the quantile of a normal distribution": lambda a, b, q: gap_by_sums(a, b, 1.96),
        "the median": lambda a, b, q: ((a - b).median(), *gap_by_sums(a, b, q)[1:]),
        "the ends alone": lambda a, b, q: gap_by_sums(a, b, q)[1:],
    },
    "data.exchanged": {
        "nothing exchanged": lambda t, a, b: t,
        "all words of a pair the first": lambda t, a, b: torch.where(torch.isin(t, b), a[0], t),
        "the sentence turned round": lambda t, a, b: exchanged_by_a_table(t, a, b).flip(-1),
        "exchanged twice": lambda t, a, b: exchanged_by_a_table(exchanged_by_a_table(t, a, b), a, b) + 0,
    },
}
