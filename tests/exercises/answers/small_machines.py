"""Answers to the exercises of notebook 12: right ones written in other ways, and wrong ones that no slip names."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from stablelab import formulas


def bytes_in_a_loop(parameters, trained, moments, half, activations):
    total = activations
    for _ in range(2 + moments - 1):
        total += 4 * trained
    return total + (6 if half else 4) * parameters


def whole_gradient(X, y, W):
    error = (X @ W).softmax(1) - F.one_hot(y, W.shape[1])
    return X.T @ error / len(y)


def accumulated_sums(X, y, W, parts):
    w = W.clone().requires_grad_()
    for x, t in zip(X.tensor_split(parts), y.tensor_split(parts), strict=True):
        F.cross_entropy(x @ w, t, reduction="sum").backward()
    return w.grad / len(y)


def accumulated_by_hand(X, y, W, parts):
    total = np.zeros(tuple(W.shape))
    for x, t in zip(X.tensor_split(parts), y.tensor_split(parts), strict=True):
        total += (whole_gradient(x, t, W) * len(t)).numpy()
    return total / len(y)


def accumulated_one_by_one(X, y, W, parts):
    return sum(whole_gradient(X[i : i + 1], y[i : i + 1], W) for i in range(len(y))) / len(y)


def scaled_by_hand(theta, gradient, scale, good, learning_rate, max_norm):
    if not math.isfinite(gradient.abs().sum()):
        return theta, scale * 0.5, 0
    g = gradient.numpy() / scale
    norm = float(np.sqrt((g**2).sum()))
    if norm > max_norm:
        g = g * max_norm / norm
    doubled = good + 1 >= 2000
    return theta - learning_rate * torch.from_numpy(g), scale * (2 if doubled else 1), 0 if doubled else good + 1


def scaled_by_torch(theta, gradient, scale, good, learning_rate, max_norm):
    if gradient.isnan().any() or gradient.isinf().any():
        return theta.clone(), scale / 2, torch.tensor(0)
    p = theta.clone().requires_grad_()
    p.grad = gradient / scale
    torch.nn.utils.clip_grad_norm_([p], max_norm)
    torch.optim.SGD([p], lr=learning_rate).step()
    return (p.detach(), 2 * scale, 0) if good == 1999 else (p.detach(), scale, good + 1)


def scaled_in_place(theta, gradient, scale, good, learning_rate, max_norm):
    if (gradient - gradient).abs().sum() != 0:
        return [theta, torch.tensor(scale / 2), 0]
    gradient /= scale
    gradient *= formulas.clip_coefficient(gradient.norm(), max_norm)
    theta -= learning_rate * gradient
    return [theta, torch.tensor(scale * 2.0 ** (good == 1999)), (good + 1) % 2000]


def scaled_clip_by_minimum(theta, gradient, scale, good, learning_rate, max_norm):
    fine = bool(gradient.isfinite().all())
    norm = (gradient / scale).norm()
    step = (gradient / scale) * torch.clamp(max_norm / norm, max=1.0)
    scales = {True: 2 * scale if good + 1 == 2000 else scale, False: scale / 2}
    return (theta - learning_rate * step if fine else theta), scales[fine], ((good + 1) % 2000 if fine else 0)


def ring_in_a_loop(size, n, bandwidth, latency):
    seconds = 0.0
    for _ in range(2):
        for _ in range(n - 1):
            seconds += latency + size / (n * bandwidth)
    return seconds


def one_device(X, y, W, learning_rate, order, n):
    for rows in order:
        W = W - learning_rate * whole_gradient(X[rows], y[rows], W)
    return W


def _in_parts(gradients_to_one, share=lambda rows, n, rank: rows[rank::n]):
    def answer(X, y, W, learning_rate, order, n):
        for rows in order:
            parts = [share(rows, n, rank) for rank in range(n)]
            gradients = [whole_gradient(X[part], y[part], W) for part in parts]
            W = W - learning_rate * gradients_to_one(gradients, [len(part) for part in parts])
        return W

    return answer


def ddp_by_a_ring(X, y, W, learning_rate, order, n):
    for rows in order:
        parts = rows.tensor_split(n)
        arrays = [whole_gradient(X[p], y[p], W) * len(p) * n / len(rows) for p in parts]
        W = W - learning_rate * formulas.ring_all_reduce(arrays)[0][0]
    return W


def ddp_in_numpy(X, y, W, learning_rate, order, n):
    return one_device(X, y, W, learning_rate, order, 1).numpy()


weighed = _in_parts(lambda gs, sizes: sum(g * k for g, k in zip(gs, sizes, strict=True)) / sum(sizes))
rates_for_each = _in_parts(lambda gs, sizes: gs[-1])
half_rate = _in_parts(lambda gs, sizes: sum(g * k for g, k in zip(gs, sizes, strict=True)) / sum(sizes) / len(gs))


RIGHT = {
    "small.step_bytes": (
        bytes_in_a_loop,
        lambda P, t, m, h, A: formulas.step_bytes(P, A, ("sgd", "momentum", "adam")[m], ("fp32", "bf16")[h], t).total,
        lambda P, t, m, h, A: torch.tensor([4 * P, 2 * P * h, 4 * t * (1 + m), A]).sum(),
        lambda P, t, m, h, A: np.dot([4 + 2 * h, 4, 4 * m, 1], [P, t, t, A]),
    ),
    "small.accumulate": (
        accumulated_sums,
        accumulated_by_hand,
        accumulated_one_by_one,
        lambda X, y, W, parts: whole_gradient(X, y, W),
    ),
    "small.scaled_step": (scaled_by_hand, scaled_by_torch, scaled_in_place, scaled_clip_by_minimum),
    "small.ring_time": (
        ring_in_a_loop,
        lambda s, n, b, t: formulas.ring_all_reduce_bytes(s, n) / b + 2 * (n - 1) * t,
        lambda s, n, b, t: torch.tensor(2 * (n - 1), dtype=torch.float64) * (s / (n * b) + t),
        lambda s, n, b, t: np.float64(2 * s / b) * (1 - 1 / n) + 2 * t * n - 2 * t,
    ),
    "small.mend_ddp": (one_device, weighed, ddp_by_a_ring, ddp_in_numpy),
}

WRONG = {
    "small.step_bytes": {
        "without the activations": lambda P, t, m, h, A: bytes_in_a_loop(P, t, m, h, 0),
        "one moment, always": lambda P, t, m, h, A: bytes_in_a_loop(P, t, 1, h, A),
        "in numbers, not in bytes": lambda P, t, m, h, A: bytes_in_a_loop(P, t, m, h, A) / 4,
    },
    "small.accumulate": {
        "uphill": lambda X, y, W, parts: -whole_gradient(X, y, W),
        "transposed": lambda X, y, W, parts: whole_gradient(X, y, W).T,
        "the loss": lambda X, y, W, parts: F.cross_entropy(X @ W, y),
    },
    "small.scaled_step": {
        "uphill": lambda th, g, s, k, rate, c: scaled_by_hand(th, g, s, k, -rate, c),
    },
    "small.ring_time": {
        "in milliseconds": lambda s, n, b, t: 1000 * ring_in_a_loop(s, n, b, t),
        "all to one and back": lambda s, n, b, t: 2 * (n - 1) * s / b + 2 * t,
    },
    "small.mend_ddp": {
        "the last device's gradient": rates_for_each,
        "divided by n once more": half_rate,
        "uphill": lambda X, y, W, rate, order, n: one_device(X, y, W, -rate, order, n),
        "one step too few": lambda X, y, W, rate, order, n: one_device(X, y, W, rate, order[:-1], n),
    },
}
