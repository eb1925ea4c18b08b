"""Answers to the exercises of notebook 06 that mend or design: right ones, and wrong ones that no slip names."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F


def _allowed(q, real):
    T = q.shape[1]
    return (torch.arange(T)[None, :] <= torch.arange(T)[:, None]) & real[:, None, :]


def padded_by_torch(q, k, v, real):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=_allowed(q, real))


def padded_renormalized(q, k, v, real):
    weights = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1) * _allowed(q, real)
    return weights / weights.sum(dim=-1, keepdim=True) @ v


def padded_in_a_loop(q, k, v, real):
    out = torch.zeros(*q.shape[:2], v.shape[-1])
    for b in range(len(q)):
        for t in range(q.shape[1]):
            n = min(t + 1, int(real[b].sum()))
            a = torch.softmax(k[b, :n] @ q[b, t] / math.sqrt(q.shape[-1]), dim=0)
            out[b, t] = a @ v[b, :n]
    return out


def padded_with_a_large_penalty(q, k, v, real):
    penalty = torch.where(_allowed(q, real), 0.0, -1e30)
    return (q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]) + penalty).softmax(-1).matmul(v)


def start_step_by_step(d, learning_rate):
    c = math.sqrt(1 / math.sqrt(d))
    return c, c**2 * learning_rate


def paired_in_numpy(mine, control, t):
    D = mine.numpy().astype(float) - control.numpy()
    S, N = D.shape
    return D.mean(), t * np.sqrt(D.mean(1).var(ddof=1) / S + D.mean(0).var(ddof=1) / N)


def paired_by_adding_up(mine, control, t):
    S, N = mine.shape
    D = [[float(mine[s, n]) - float(control[s, n]) for n in range(N)] for s in range(S)]
    m = sum(map(sum, D)) / (S * N)
    rows = sum((sum(D[s]) / N - m) ** 2 for s in range(S)) / (S - 1) / S
    columns = sum((sum(D[s][n] for s in range(S)) / S - m) ** 2 for n in range(N)) / (N - 1) / N
    return m, t * math.sqrt(rows + columns)


def paired_by_means(mine, control, t):
    difference = mine.double().mean() - control.double().mean()
    rows = mine.double().mean(1) - control.double().mean(1)
    columns = mine.double().mean(0) - control.double().mean(0)
    return difference, t * torch.hypot(rows.std() / len(rows) ** 0.5, columns.std() / len(columns) ** 0.5)


RIGHT = {
    "attention.padded": (padded_by_torch, padded_renormalized, padded_in_a_loop, padded_with_a_large_penalty),
    "attention.same_training": (
        start_step_by_step,
        lambda d, learning_rate: torch.tensor([d**-0.25, learning_rate * d**-0.5]),
        lambda d, learning_rate: (1 / math.sqrt(math.sqrt(d)), learning_rate / d**0.5),
        lambda d, learning_rate: np.array([np.power(float(d), -0.25), learning_rate / np.sqrt(d)]),
    ),
    "attention.paired_difference": (
        paired_in_numpy,
        paired_by_adding_up,
        paired_by_means,
        lambda m, c, t: torch.stack([*map(torch.as_tensor, paired_in_numpy(m, c, t))]),
    ),
}

WRONG = {
    "attention.padded": {
        "no mask at all": lambda q, k, v, real: F.scaled_dot_product_attention(q, k, v),
        "divided by d": lambda q, k, v, real: F.scaled_dot_product_attention(
            q, k, v, attn_mask=_allowed(q, real), scale=1 / q.shape[-1]
        ),
        "the mask turned round": lambda q, k, v, real: F.scaled_dot_product_attention(
            q, k, v, attn_mask=~_allowed(q, real)
        ),
        "only itself": lambda q, k, v, real: v,
        "sees the future, not the past": lambda q, k, v, real: F.scaled_dot_product_attention(
            q, k, v, attn_mask=_allowed(q, real).mT
        ),
    },
    "attention.same_training": {
        "the rate alone": lambda d, learning_rate: (1.0, learning_rate / math.sqrt(d)),
        "the other way round": lambda d, learning_rate: (learning_rate / math.sqrt(d), d**-0.25),
        "only the factor": lambda d, learning_rate: d**-0.25,
        "a longer step": lambda d, learning_rate: (d**-0.25, learning_rate * math.sqrt(d)),
        "as with the root": lambda d, learning_rate: (1.0, learning_rate),
    },
    "attention.paired_difference": {
        "the variances, without a root": lambda m, c, t: (
            paired_in_numpy(m, c, t)[0],
            t * (paired_in_numpy(m, c, 1.0)[1]) ** 2,
        ),
        "control minus mine": lambda m, c, t: paired_in_numpy(c, m, t),
        "the whole width": lambda m, c, t: paired_in_numpy(m, c, 2 * t),
        "the standard errors added": lambda m, c, t: (
            paired_by_means(m, c, t)[0],
            t
            * (
                (m.double() - c.double()).mean(1).std() / len(m) ** 0.5
                + (m.double() - c.double()).mean(0).std() / m.shape[1] ** 0.5
            ),
        ),
        "only the difference": lambda m, c, t: paired_in_numpy(m, c, t)[0],
    },
}
