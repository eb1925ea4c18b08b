"""Answers to the loops and designs of notebook 02: right ones written in other ways, wrong ones that no slip names."""

from __future__ import annotations

import math

import numpy as np
import torch

from stablelab import formulas


def _loop_by_torch(X, y, w, learning_rate, beta, epochs):
    w = torch.nn.Parameter(w)
    optimizer = torch.optim.SGD([w], lr=learning_rate, momentum=beta)
    for _ in range(epochs):
        for inputs, targets in zip(X, y, strict=True):
            optimizer.zero_grad()
            (0.5 * ((inputs @ w - targets) ** 2).mean()).backward()
            optimizer.step()
    return w


def _loop_in_one(X, y, w, learning_rate, beta, epochs):
    b = 0.0
    for k in range(epochs * len(X)):
        inputs, targets = X[k % len(X)], y[k % len(X)]
        b = beta * b + ((inputs @ w - targets)[:, None] * inputs).mean(0)
        w = w - learning_rate * b
    return w


def _loop_by_positions(X, y, w, learning_rate, beta, epochs):
    before = w.clone()
    for _ in range(epochs):
        for inputs, targets in zip(X, y, strict=True):
            g = inputs.T @ (inputs @ w - targets) / len(targets)
            w, before = w - learning_rate * g + beta * (w - before), w
    return w


def _loop_by_numpy(X, y, w, learning_rate, beta, epochs):
    X, y, w = X.numpy(), y.numpy(), w.numpy().copy()
    b = np.zeros_like(w)
    for _ in range(epochs):
        for k in range(len(X)):
            b *= beta
            b += X[k].T @ (X[k] @ w - y[k]) / len(y[k])
            w -= learning_rate * b
    return w


def _loop_with(change):
    """The loop, with something changed: (g, b, step number, η, β, epoch) to the step and the buffer."""

    def answer(X, y, w, learning_rate, beta, epochs):
        b, t = torch.zeros_like(w), 0
        for epoch in range(epochs):
            for inputs, targets in zip(X, y, strict=True):
                t += 1
                g = inputs.T @ (inputs @ w - targets) / len(targets)
                step, b = change(g, b, t, learning_rate, beta, epoch)
                w = w - step
        return w

    return answer


def _floor_simplified(learning_rate, beta, curvature, noise):
    return learning_rate * noise**2 * (1 + beta) / (2 * (1 - beta) * (2 + 2 * beta - learning_rate * curvature))


def _floor_by_equations(eta, beta, lam, sigma):
    """V and C as the unknowns of two linear equations."""
    a = 1 + beta - eta * lam
    left = np.array([[1 - a * a - beta * beta, 2 * a * beta], [a, -(1 + beta)]])
    return lam * np.linalg.solve(left, np.array([(eta * sigma) ** 2, 0.0]))[0] / 2


def _floor_by_sum(eta, beta, lam, sigma):
    """The variance as the sum of the squared answers to a single kick."""
    z, before, total = -eta * sigma, 0.0, 0.0
    for _ in range(5000):
        total += z * z
        z, before = (1 + beta - eta * lam) * z - beta * before, z
    return 0.5 * lam * total


def _floor_by_covariance(eta, beta, lam, sigma):
    M = torch.tensor([[1 + beta - eta * lam, -beta], [1.0, 0.0]], dtype=torch.float64)
    Q = torch.tensor([[(eta * sigma) ** 2, 0.0], [0.0, 0.0]], dtype=torch.float64)
    S = torch.linalg.solve(torch.eye(4, dtype=torch.float64) - torch.kron(M, M), Q.flatten())
    return torch.tensor(0.5 * lam) * S[0]


def _rate(eta, beta, lam):
    return max(abs(np.roots([1.0, -(1 + beta - eta * lam), beta])))


def _design_by_numpy(largest, smallest, noise, limit, learning_rates, betas):
    best = (math.inf, None, None)
    for eta in learning_rates.numpy():
        for beta in betas.numpy():
            rate = max(_rate(eta, beta, largest), _rate(eta, beta, smallest))
            if rate >= 1:
                continue
            floor = sum(_floor_simplified(eta, beta, lam, noise) for lam in (largest, smallest))
            if floor <= limit:
                best = min(best, (rate, eta, beta))
    return best[1:]


def _design_by_grid(largest, smallest, noise, limit, learning_rates, betas):
    eta, beta = torch.meshgrid(learning_rates, betas, indexing="ij")
    rate, floor = torch.zeros_like(eta), torch.zeros_like(eta)
    for lam in (largest, smallest):
        a = 1 + beta - eta * lam
        root = (a * a - 4 * beta).clamp(min=0).sqrt()
        rate = torch.maximum(rate, torch.where(a * a < 4 * beta, beta.sqrt(), (a.abs() + root) / 2))
        floor += eta * noise**2 * (1 + beta) / (2 * (1 - beta) * (2 + 2 * beta - eta * lam))
    rate[(floor > limit) | (eta * largest >= 2 + 2 * beta)] = torch.inf
    best = rate.argmin()
    return eta.flatten()[best], beta.flatten()[best]


def _design_by_sorting(largest, smallest, noise, limit, learning_rates, betas):
    pairs = [(float(eta), float(beta)) for beta in betas for eta in learning_rates]
    speed = sorted(pairs, key=lambda pair: max(_rate(*pair, largest), _rate(*pair, smallest)))
    for eta, beta in speed:
        if eta * largest < 2 * (1 + beta):
            floors = [_floor_by_equations(eta, beta, lam, noise) for lam in (smallest, largest)]
            if sum(floors) <= limit:
                return [eta, beta]
    return None


def _design_from_the_largest_rate(largest, smallest, noise, limit, learning_rates, betas):
    """Of pairs that are equally fast it would take another one than the solution: no case may have such."""
    rates = learning_rates.flip(0)
    eta, beta = _design_by_grid(largest, smallest, noise, limit, rates, betas)
    return float(eta), float(beta)


def _design_by_matrices(largest, smallest, noise, limit, learning_rates, betas):
    best = None
    for eta in map(float, learning_rates):
        for beta in map(float, betas):
            both = [torch.tensor([[1 + beta - eta * lam, -beta], [1.0, 0.0]]) for lam in (largest, smallest)]
            rate = max(torch.linalg.eigvals(M).abs().max().item() for M in both)
            within = sum(_floor_simplified(eta, beta, lam, noise) for lam in (largest, smallest)) <= limit
            if rate < 1 and within and (best is None or rate < best[0]):
                best = (rate, eta, beta)
    return torch.tensor(best[1:])


def _run_by_formula(theta, gradients, learning_rate, beta1, beta2, eps):
    m, v = torch.zeros_like(theta), torch.zeros_like(theta)
    for t, g in enumerate(gradients, 1):
        theta, m, v = formulas.adam(theta, g, m, v, t, learning_rate, beta1, beta2, eps)
    return theta


def _run_by_torch(theta, gradients, learning_rate, beta1, beta2, eps):
    weights = torch.nn.Parameter(theta.clone())
    optimizer = torch.optim.Adam([weights], lr=learning_rate, betas=(beta1, beta2), eps=eps)
    for g in gradients:
        weights.grad = g
        optimizer.step()
    return weights


def _run_by_shares(theta, gradients, learning_rate, beta1, beta2, eps):
    """Averages that are corrected at each step, because each step's share is."""
    m, v = torch.zeros_like(theta), torch.zeros_like(theta)
    for t in range(1, len(gradients) + 1):
        g = gradients[t - 1]
        m = m + (1 - beta1) / (1 - beta1**t) * (g - m)
        v = v + (1 - beta2) / (1 - beta2**t) * (g * g - v)
        theta = theta - learning_rate * m / (v.sqrt() + eps)
    return theta


def _run_by_numpy(theta, gradients, learning_rate, beta1, beta2, eps):
    theta, gradients = theta.numpy().copy(), gradients.numpy()
    m = v = np.zeros_like(theta)
    for t in range(len(gradients)):
        m, v = beta1 * m + (1 - beta1) * gradients[t], beta2 * v + (1 - beta2) * gradients[t] ** 2
        theta -= learning_rate * (m / (1 - beta1 ** (t + 1))) / (np.sqrt(v / (1 - beta2 ** (t + 1))) + eps)
    return theta


def _accumulate_at_once(w, batches, learning_rate):
    X, y = torch.cat([part[0] for part in batches]), torch.cat([part[1] for part in batches])
    return w - learning_rate * 2 * X.T @ (X @ w - y) / len(y)


def _accumulate_sums(w, batches, learning_rate):
    w = torch.nn.Parameter(w)
    optimizer = torch.optim.SGD([w], lr=learning_rate)
    optimizer.zero_grad()
    N = sum(len(y) for _, y in batches)
    for X, y in batches:
        (((X @ w - y) ** 2).sum() / N).backward()
    optimizer.step()
    return w


def _accumulate_divides_at_the_end(w, batches, learning_rate):
    w, N = w.requires_grad_(), 0
    for X, y in batches:
        ((X @ w - y) ** 2).sum().backward()
        N += len(y)
    with torch.no_grad():
        w -= learning_rate * w.grad / N
    return w.detach()


def _accumulate_by_numpy(w, batches, learning_rate):
    w, g, N = w.numpy(), 0.0, 0
    for X, y in batches:
        X, y = X.numpy(), y.numpy()
        g, N = g + 2 * X.T @ (X @ w - y), N + len(y)
    return w - learning_rate * g / N


RIGHT = {
    "adam.momentum_loop": (_loop_by_torch, _loop_in_one, _loop_by_positions, _loop_by_numpy),
    "adam.floor": (_floor_simplified, _floor_by_equations, _floor_by_sum, _floor_by_covariance),
    "adam.design": (
        _design_by_numpy,
        _design_by_grid,
        _design_by_sorting,
        _design_by_matrices,
        _design_from_the_largest_rate,
    ),
    "adam.mend": (_run_by_formula, _run_by_torch, _run_by_shares, _run_by_numpy),
    "adam.edge": (
        lambda alpha, beta: 2 / alpha * (1 + beta) / (1 - beta),
        lambda alpha, beta: torch.tensor((2 + 2 * beta) / (alpha - alpha * beta)),
        lambda alpha, beta: np.float64(2 * (1 + beta)) / (alpha * (1 - beta)),
        lambda alpha, beta: (2 / (1 - beta) + 2 * beta / (1 - beta)) / alpha,
    ),
    "adam.accumulate": (
        _accumulate_at_once,
        _accumulate_sums,
        _accumulate_divides_at_the_end,
        _accumulate_by_numpy,
    ),
}

WRONG = {
    "adam.momentum_loop": {
        "Nesterov": _loop_with(lambda g, b, t, eta, beta, epoch: (eta * (g + beta * (beta * b + g)), beta * b + g)),
        "the buffer never forgets": _loop_with(lambda g, b, t, eta, beta, epoch: (eta * (b + g), b + g)),
        "the momentum of Adam, corrected": _loop_with(
            lambda g, b, t, eta, beta, epoch: (
                eta * (beta * b + (1 - beta) * g) / (1 - beta**t if beta else 1),
                beta * b + (1 - beta) * g,
            )
        ),
        "one epoch, whatever is asked for": lambda X, y, w, eta, beta, epochs: _loop_by_torch(X, y, w, eta, beta, 1),
        "the sum over the batch": lambda X, y, w, eta, beta, epochs: _loop_by_torch(X, y, w, 4 * eta, beta, epochs),
    },
    "adam.floor": {
        "C = aV": lambda eta, beta, lam, s: (
            lam / 2 * (eta * s) ** 2 / (1 - (1 + beta - eta * lam) ** 2 * (1 - 2 * beta) - beta**2)
        ),
        "half of it": lambda *a: _floor_simplified(*a) / 2,
        "1 + β for 1 - β": lambda eta, beta, lam, s: eta * s**2 / (2 * (2 + 2 * beta - eta * lam)),
        "a root: the deviation": lambda *a: math.sqrt(_floor_simplified(*a)),
        "Adam's average, with 1 - β": lambda eta, beta, lam, s: _floor_simplified(eta * (1 - beta), beta, lam, s),
    },
    "adam.design": {
        "β first": lambda *a: tuple(reversed(_design_by_numpy(*a))),
        "the largest learning rate there is": lambda largest, smallest, noise, limit, etas, betas: (
            etas.max(),
            betas.max(),
        ),
        "no momentum": lambda largest, smallest, noise, limit, etas, betas: _design_by_grid(
            largest, smallest, noise, limit, etas, betas[:1]
        ),
        "the closed form without noise": lambda largest, smallest, *_: (
            (2 / (math.sqrt(largest) + math.sqrt(smallest))) ** 2,
            ((math.sqrt(largest) - math.sqrt(smallest)) / (math.sqrt(largest) + math.sqrt(smallest))) ** 2,
        ),
        "the lowest floor": lambda largest, smallest, noise, limit, etas, betas: (etas.min(), betas.min()),
        "η alone": lambda *a: _design_by_numpy(*a)[0],
    },
    "adam.mend": {
        "steps are counted from 2": lambda theta, gradients, *rest: (
            theta - _run_by_torch(torch.zeros_like(theta), torch.cat([gradients[:1], gradients]), *rest)
        ),
        "only the last gradient": lambda theta, gradients, *rest: _run_by_torch(theta, gradients[-1:], *rest),
        "the gradients in reverse": lambda theta, gradients, *rest: _run_by_torch(theta, gradients.flip(0), *rest),
        "uphill": lambda theta, gradients, eta, *rest: _run_by_torch(theta, gradients, -eta, *rest),
        "no root": lambda theta, gradients, eta, b1, b2, eps: theta - eta * gradients.sum(0),
    },
    "adam.edge": {
        "half of it": lambda alpha, beta: (1 + beta) / ((1 - beta) * alpha),
        "2 - 2β": lambda alpha, beta: (2 - 2 * beta) / alpha,
        "squared": lambda alpha, beta: ((1 + beta) / (1 - beta)) ** 2 * 2 / alpha,
        "multiplied": lambda alpha, beta: (2 + 2 * beta) / (1 - beta) * alpha,
    },
    "adam.accumulate": {
        "the first part alone": lambda w, batches, eta: _accumulate_at_once(w, batches[:1], eta),
        "uphill": lambda w, batches, eta: _accumulate_at_once(w, batches, -eta),
        "the gradient itself": lambda w, batches, eta: (w - _accumulate_at_once(w, batches, eta)) / eta,
        "half the gradient, as of ½(Xw - y)²": lambda w, batches, eta: _accumulate_at_once(w, batches, eta / 2),
        "the weights as they were": lambda w, batches, eta: w,
    },
}
