"""Answers to the exercises of notebook 12b: right ones written in other ways, and wrong ones that no slip names."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

from stablelab import formulas


def lora_merged(x, weight, A, B, alpha):
    return F.linear(x, weight + alpha * B @ A / B.shape[1])


def lora_in_numpy(x, weight, A, B, alpha):
    x, weight, A, B = (each.numpy() for each in (x, weight, A, B))
    return np.einsum("...d,kd->...k", x, weight) + alpha / len(A) * np.einsum("...d,rd,kr->...k", x, A, B)


def lora_in_modules(x, weight, A, B, alpha):
    down, up = nn.Linear(*A.T.shape, bias=False), nn.Linear(*B.T.shape, bias=False)
    down.weight.data, up.weight.data = A, B
    with torch.no_grad():
        return F.linear(x, weight).add_(up(down(x)), alpha=alpha / len(A))


def soft_by_torch(z, v, T):
    return F.kl_div(F.log_softmax(z / T, 1), F.log_softmax(v / T, 1), reduction="batchmean", log_target=True) * T * T


def soft_by_cross_entropy(z, v, T):
    p = (v / T).softmax(1)
    return T**2 * (F.cross_entropy(z / T, p) + torch.special.xlogy(p, p).sum(1).mean())


def soft_row_by_row(z, v, T):
    total = 0.0
    for student, teacher in zip(z / T, v / T, strict=True):
        log_q, log_p = student - student.logsumexp(0), teacher - teacher.logsumexp(0)
        total += (log_p.exp() * (log_p - log_q)).sum().item()
    return T**2 * total / len(z)


def masks_by_torch(first, second, sparsity):
    net = nn.ParameterDict({"a": nn.Parameter(first), "b": nn.Parameter(second)})
    prune.global_unstructured([(net, "a"), (net, "b")], prune.L1Unstructured, amount=sparsity)
    return net.a_mask.bool(), net.b_mask.bool()


def masks_by_a_threshold(first, second, sparsity):
    sizes = torch.cat([first.flatten(), second.flatten()]).abs().sort().values
    gone = round(sparsity * len(sizes))
    threshold = sizes[gone - 1] if gone else -1.0
    return first.abs() > threshold, second.abs() > threshold


def masks_in_numpy(first, second, sparsity):
    both = np.abs(np.concatenate([first.numpy().ravel(), second.numpy().ravel()]))
    ranks = both.argsort().argsort() >= round(sparsity * both.size)
    return ranks[: first.numel()].reshape(first.shape), ranks[first.numel() :].reshape(second.shape)


def int8_row_by_row(weight):
    rows = []
    for row in weight:
        s = max(row.abs().max().item() / 127, 1e-300)
        rows.append(torch.round(row / s) * s)
    return torch.stack(rows)


def int8_in_numpy(weight):
    w = weight.numpy()
    s = np.abs(w).max(axis=1, keepdims=True) / 127
    s[s == 0] = 1
    return np.rint(w / s).astype(np.int8) * s


def int8_in_place(weight):
    scale = weight.abs().amax(1, keepdim=True).div(127).clamp(min=1e-300)
    return weight.div_(scale).round_().mul_(scale)


def _scaled(factor):
    return lambda *arguments: factor * soft_by_torch(*arguments)


RIGHT = {
    "small.lora_forward": (lora_merged, lora_in_numpy, lora_in_modules, formulas.lora),
    "small.soft_loss": (soft_by_torch, soft_by_cross_entropy, soft_row_by_row, formulas.soft_loss),
    "small.magnitude_masks": (
        masks_by_torch,
        masks_by_a_threshold,
        masks_in_numpy,
        lambda a, b, s: formulas.magnitude_masks([a, b], s),
    ),
    "small.int8_round_trip": (
        int8_row_by_row,
        int8_in_numpy,
        int8_in_place,
        lambda w: formulas.dequantize_int8(*formulas.quantize_int8(w, 0)),
    ),
}

WRONG = {
    "small.lora_forward": {
        "rank-stabilized: α/√r": lambda x, W, A, B, a: lora_merged(x, W, A, B, a * math.sqrt(len(A))),
        "the change taken away": lambda x, W, A, B, a: lora_merged(x, W, A, -B, a),
        "a ReLU between": lambda x, W, A, B, a: x @ W.T + a / len(A) * (x @ A.T).relu() @ B.T,
    },
    "small.soft_loss": {
        "negative": _scaled(-1),
        "the cross-entropy, which is not 0 where they agree": lambda z, v, T: (
            T**2 * F.cross_entropy(z / T, (v / T).softmax(1))
        ),
        "the logits times T": lambda z, v, T: T**2 * soft_by_torch(z, v, 1 / T) * T**2,
    },
    "small.magnitude_masks": {
        "the pruned weights themselves": lambda a, b, s: [
            m * w for m, w in zip(masks_by_a_threshold(a, b, s), (a, b), strict=True)
        ],
        "one in one piece": lambda a, b, s: torch.cat([m.flatten() for m in masks_by_a_threshold(a, b, s)]),
        "a threshold in size, not in rank": lambda a, b, s: (a.abs() > s, b.abs() > s),
    },
    "small.int8_round_trip": {
        "the whole numbers": lambda w: int8_row_by_row(w) / w.abs().amax(1, keepdim=True).clamp(min=1e-300) * 127,
        "seven bits": lambda w: int8_row_by_row(w / 2) * 2 + 0.01,
        "not changed at all": lambda w: w,
    },
}
