"""Answers to the exercises of notebook 03: right ones written in other ways, and wrong ones that no slip names."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F


def _nll_by_distributions(f, y, variance):
    return -torch.distributions.Normal(f, variance**0.5).log_prob(y).mean()


def _nll_by_torch(f, y, variance):
    return F.gaussian_nll_loss(f, y, torch.full_like(y, variance), full=True, eps=1e-12)


def _nll_by_loops(f, y, variance):
    costs = []
    for a, b in zip(f.tolist(), y.tolist(), strict=True):
        costs.append((a - b) ** 2 / (2 * variance) + math.log(math.sqrt(2 * math.pi * variance)))
    return sum(costs) / len(costs)


def _cross_entropy_by_loops(logits, targets):
    total = 0.0
    for row, right in zip(logits.tolist(), targets.tolist(), strict=True):
        top = max(row)
        total += top + math.log(sum(math.exp(z - top) for z in row)) - row[right]
    return total / len(targets)


def _cross_entropy_by_onehot(logits, targets):
    onehot = F.one_hot(targets, logits.shape[1])
    return -(onehot * logits.log_softmax(dim=1)).sum(dim=1).mean()


def _gradient_by_autograd(logits, targets):
    logits.requires_grad_()
    F.cross_entropy(logits, targets).backward()
    return logits.grad


def _gradient_in_place(z, y):
    p = F.softmax(z, dim=-1)
    p[range(len(y)), y] -= 1
    p /= len(y)
    return p


def _threshold_by_cases(theta, threshold):
    result = torch.zeros_like(theta)
    result[theta > threshold] = theta[theta > threshold] - threshold
    result[theta < -threshold] = theta[theta < -threshold] + threshold
    return result


def _threshold_by_numpy(theta, threshold):
    theta = theta.numpy()
    return np.sign(theta) * np.maximum(np.abs(theta) - threshold, 0)


def _dropout_in_place(x, keep, p):
    x[~keep] = 0
    return x.div_(1 - p)


def _dropout_in_single_precision(x, mask, p):
    return x.float() * mask.float() / (1 - p)


def _stop_by_counting(losses, patience):
    lowest, best, waited = math.inf, -1, 0
    for i, loss in enumerate(losses):
        if loss < lowest:
            lowest, best, waited = loss, i, 0
            continue
        waited += 1
        if waited >= patience:
            break
    return best, i


def _stop_by_looking_back(losses, patience):
    for end in range(1, len(losses) + 1):
        best = min(range(end), key=lambda i: losses[i])
        if end - 1 - best >= patience:
            return torch.tensor(best), torch.tensor(end - 1)
    return best, end - 1


def _nll_as_log_of_density(f, y, variance):
    density = torch.exp(-((y - f) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
    return -density.log().mean().item()


def _cross_entropy_in_single_precision(logits, targets):
    return F.nll_loss(F.log_softmax(logits.float(), dim=1), targets)


def _gradient_filled_in(logits, targets):
    N, C = logits.shape
    G = torch.zeros(N, C)
    for i in range(N):
        G[i] = torch.softmax(logits[i], dim=0)
        G[i, targets[i]] -= 1
    return G / N


def _gradient_by_numpy(logits, targets):
    z = logits.numpy() - logits.numpy().max(1, keepdims=True)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    return (p - np.eye(z.shape[1])[targets.numpy()]) / len(z)


def _stop_in_an_array(losses, patience):
    best = stop = 0
    for stop in range(len(losses)):
        best = int(np.argmin(losses[: stop + 1]))
        if stop - best >= patience:
            break
    return np.array([best, stop])


RIGHT = {
    "losses.gaussian_nll": (_nll_by_distributions, _nll_by_torch, _nll_by_loops, _nll_as_log_of_density),
    "losses.cross_entropy": (
        _cross_entropy_by_loops,
        _cross_entropy_by_onehot,
        F.cross_entropy,
        _cross_entropy_in_single_precision,
    ),
    "losses.cross_entropy_gradient": (
        _gradient_by_autograd,
        _gradient_in_place,
        _gradient_filled_in,
        _gradient_by_numpy,
    ),
    "losses.soft_threshold": (
        _threshold_by_cases,
        _threshold_by_numpy,
        F.softshrink,
        lambda theta, t: torch.relu(theta - t) - torch.relu(-theta - t),
    ),
    "losses.dropout": (
        _dropout_in_place,
        _dropout_in_single_precision,
        lambda x, keep, p: x * keep / (1 - p),
        lambda x, keep, p: np.where(keep.numpy(), x.numpy() / (1 - p), 0),
    ),
    "losses.early_stopping": (
        _stop_by_counting,
        _stop_by_looking_back,
        _stop_in_an_array,
        lambda losses, patience: torch.tensor(_stop_by_counting(losses, patience)),
    ),
}

WRONG = {
    "losses.gaussian_nll": {
        "the square without any ½": lambda f, y, s2: ((f - y) ** 2 / s2).mean() + 0.5 * math.log(2 * math.pi * s2),
        "the absolute error": lambda f, y, s2: ((f - y).abs() / (2 * s2)).mean() + 0.5 * math.log(2 * math.pi * s2),
        "in bits": lambda f, y, s2: _nll_by_loops(f, y, s2) / math.log(2),
        "one number per example": lambda f, y, s2: (f - y) ** 2 / (2 * s2) + 0.5 * math.log(2 * math.pi * s2),
        "the likelihood itself": lambda f, y, s2: (
            torch.exp(-((f - y) ** 2) / (2 * s2)).mean() / math.sqrt(2 * math.pi * s2)
        ),
    },
    "losses.cross_entropy": {
        "classes counted from 1": lambda z, y: F.cross_entropy(z, (y - 1).clamp(min=0)),
        "softmax taken twice": lambda z, y: F.cross_entropy(z.softmax(1), y),
        "one number per example": lambda z, y: F.cross_entropy(z, y, reduction="none"),
        "the likeliest class instead of the right one": lambda z, y: F.cross_entropy(z, z.argmax(1)),
    },
    "losses.cross_entropy_gradient": {
        "the wrong class, one to the right": lambda z, y: (
            (z.softmax(1) - F.one_hot((y + 1) % z.shape[1], z.shape[1])) / len(y)
        ),
        "the loss instead of its gradient": lambda z, y: F.cross_entropy(z, y),
        "logits for probabilities": lambda z, y: (z - F.one_hot(y, z.shape[1])) / len(y),
        "summed over the examples": lambda z, y: ((z.softmax(1) - F.one_hot(y, z.shape[1])) / len(y)).sum(0),
    },
    "losses.soft_threshold": {
        "the threshold is added": lambda theta, t: theta.sign() * (theta.abs() + t),
        "cut at the threshold, as clipping does": lambda theta, t: theta.clamp(-t, t),
        "not cut at 0": lambda theta, t: theta.sign() * (theta.abs() - t),
        "half the threshold": lambda theta, t: F.softshrink(theta, t / 2),
        "where |θ| is small the weight stays": lambda theta, t: torch.where(
            theta.abs() > t, theta - t * theta.sign(), theta
        ),
    },
    "losses.dropout": {
        "the root of 1 - p": lambda x, keep, p: x * keep / math.sqrt(1 - p),
        "nothing is dropped": lambda x, keep, p: x / (1 - p),
        "what is dropped is left out of the tensor": lambda x, keep, p: x[keep] / (1 - p),
        "the mask itself": lambda x, keep, p: keep / (1 - p),
        "a mask of its own": lambda x, keep, p: x * (torch.arange(x.numel()).view(x.shape) % 2) / (1 - p),
    },
    "losses.early_stopping": {
        "patience is never used": lambda losses, patience: (losses.index(min(losses)), len(losses) - 1),
        "the evaluation before the stop": lambda losses, patience: (
            _stop_by_counting(losses, patience)[0],
            max(_stop_by_counting(losses, patience)[1] - 1, 0),
        ),
        "the best loss, not its position": lambda losses, patience: (
            losses[_stop_by_counting(losses, patience)[0]],
            _stop_by_counting(losses, patience)[1],
        ),
        "swapped": lambda losses, patience: _stop_by_counting(losses, patience)[::-1],
        "only where to stop": lambda losses, patience: _stop_by_counting(losses, patience)[1],
    },
}
