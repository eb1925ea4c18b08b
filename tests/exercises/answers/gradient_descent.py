"""Answers to the exercises of notebook 01: right ones written in other ways, and wrong ones that no slip names."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch


def _step_in_place(weights, gradient, eta):
    weights -= eta * gradient
    return weights


def _step_by_torch(theta, g, learning_rate):
    return torch.add(theta, g, alpha=-learning_rate).requires_grad_()


def _step_by_numpy(theta, g, learning_rate):
    return theta.numpy() - learning_rate * g.numpy()


def _forecast_by_difference(g, H, learning_rate):
    def model(delta):
        return g @ delta + delta @ H @ delta / 2

    return model(-learning_rate * g) - model(torch.zeros_like(g))


def _forecast_by_loops(g, H, learning_rate):
    g, H = g.tolist(), H.tolist()
    linear = sum(-learning_rate * each * each for each in g)
    quadratic = sum(g[i] * H[i][j] * g[j] for i in range(len(g)) for j in range(len(g)))
    return linear + learning_rate**2 * quadratic / 2


def _forecast_single(g, H, learning_rate):
    g, H = g.float(), H.float()
    return -learning_rate * g.square().sum() + learning_rate**2 / 2 * (g * (H @ g)).sum()


def _threshold_by_numpy(H):
    return float(2 / np.linalg.eigvalsh(H.numpy()).max())


def _threshold_by_norm(H):
    return 2 / torch.linalg.matrix_norm(H, ord=2)


def _threshold_by_powers(H):
    v = torch.ones(len(H), dtype=H.dtype)
    for _ in range(2000):
        v = torch.nn.functional.normalize(H @ v, dim=0)
    return (2 / (v @ H @ v)).item()


def _best_by_condition(H):
    values = torch.linalg.eigh(H).eigenvalues
    kappa = values.max() / values.min()
    return [2 / (values.max() + values.min()), (kappa - 1) / (kappa + 1)]


def _best_by_factor(H):
    low, *_, high = sorted(np.linalg.eigvalsh(H.numpy()))
    eta = 2 / (low + high)
    return eta, abs(1 - eta * low)


def _floor_by_recursion(learning_rate, curvature, variance, batch_size):
    V = 0.0
    for _ in range(20_000):
        V = (1 - learning_rate * curvature) ** 2 * V + learning_rate**2 * variance / batch_size
    return V


def _floor_by_series(eta, curve, variance, B):
    return eta**2 * variance / B / (1 - (1 - eta * curve) ** 2)


def _power_by_quotient(product, v, steps):
    for _ in range(steps):
        v = torch.nn.functional.normalize(product(v), dim=0)
    return (v @ product(v) / (v @ v)).item()


def _power_by_mean_of_ratios(hvp, start, n):
    for _ in range(n):
        start = hvp(start)
        start /= math.sqrt(float(start.square().sum()))
    after = hvp(start)
    return after.numpy() @ start.numpy()


def _power_by_eigenvalues(product, v, steps):
    H = torch.stack([product(e) for e in torch.eye(len(v), dtype=v.dtype)], dim=1)
    values = torch.linalg.eigvalsh(H)
    return values[values.abs().argmax()]


def _step_entry_by_entry(theta, g, learning_rate):
    new = torch.zeros(theta.shape)
    for place in np.ndindex(*theta.shape):
        new[place] = theta[place] - learning_rate * g[place]
    return new


def _forecast_by_einsum(g, H, learning_rate):
    g, H = g.numpy(), H.numpy()
    return np.float64(-learning_rate * g @ g + learning_rate**2 * np.einsum("i,ij,j", g, H, g) / 2)


def _best_in_one_tensor(H):
    values = torch.linalg.eigvalsh(H)
    return torch.stack([2 / (values[0] + values[-1]), (values[-1] - values[0]) / (values[0] + values[-1])])


def _best_in_an_array(H):
    values = np.linalg.eigvalsh(H.numpy())
    return np.array([2, np.ptp(values)]) / (values.min() + values.max())


def _floor_as_a_fraction(learning_rate, curvature, variance, batch_size):
    eta, curve = Fraction(learning_rate), Fraction(curvature)
    return eta * Fraction(variance) / batch_size / (curve * (2 - eta * curve))


def _power_started_anew(product, v, steps):
    u = torch.ones(len(v))
    u[0] = 2.0
    for _ in range(steps):
        u = product(u)
        u = u / torch.sqrt((u * u).sum())
    return (u * product(u)).sum()


def _of_eigenvalues(combine):
    return lambda H: combine(torch.linalg.eigvalsh(H))


def _by_full_matrix(combine):
    def answer(product, v, steps):
        H = torch.stack([product(e) for e in torch.eye(len(v), dtype=v.dtype)])
        return combine(H)

    return answer


def _numerical_by_rows(f, theta, h):
    flat = theta.reshape(-1)
    chords = [
        (f((flat + h * e).view_as(theta)) - f((flat - h * e).view_as(theta))) / (2 * h) for e in torch.eye(len(flat))
    ]
    return torch.stack(chords).view_as(theta)


def _numerical_in_place(f, theta, h):
    g = np.zeros(tuple(theta.shape))
    for place in np.ndindex(*theta.shape):
        middle = theta[place].item()
        theta[place] = middle + h
        above = float(f(theta))
        theta[place] = middle - h
        g[place] = (above - float(f(theta))) / (2 * h)
        theta[place] = middle
    return g


def _numerical_as_mean_of_two(f, theta, h):
    def one_sided(h):
        slopes = torch.empty_like(theta)
        for place in np.ndindex(*theta.shape):
            moved = theta.clone()
            moved[place] += h
            slopes[place] = (f(moved) - f(theta)) / h
        return slopes

    return (one_sided(h) + one_sided(-h)) / 2


def _numerical_of_a_line(f, theta, h):
    slopes = []
    for i in range(theta.numel()):
        delta = torch.nn.functional.one_hot(torch.tensor(i), theta.numel()).view_as(theta) * h
        slopes.append(((f(theta + delta) - f(theta - delta)) / h / 2).item())
    return torch.tensor(slopes).reshape(theta.shape)


def _train_by_sgd(X, y, w, learning_rate, steps):
    w = torch.nn.Parameter(w.clone())
    optimizer = torch.optim.SGD([w], lr=learning_rate)
    for _ in range(steps):
        optimizer.zero_grad()
        (0.5 * torch.nn.functional.mse_loss(X @ w, y)).backward()
        optimizer.step()
    return w


def _train_by_grad(X, y, w, learning_rate, steps):
    for _ in range(steps):
        w = w.detach().requires_grad_()
        loss = (X @ w - y).square().mean() / 2
        w = w - learning_rate * torch.autograd.grad(loss, w)[0]
    return w.detach()


def _train_by_numpy(X, y, w, learning_rate, steps):
    X, y, w = X.numpy(), y.numpy(), w.numpy()
    for _ in range(steps):
        w = w - learning_rate * X.T @ (X @ w - y) / len(y)
    return w


def _train_by_matrix(X, y, w, learning_rate, steps):
    A, b = X.T @ X / len(y), X.T @ y / len(y)
    for _ in range(steps):
        w = w - learning_rate * (A @ w - b)
    return w


def _train_row_by_row(X, y, w, learning_rate, steps):
    for _ in range(steps):
        g = torch.zeros_like(w)
        for row, target in zip(X, y, strict=True):
            g += (row @ w - target) * row / len(y)
        w = w - learning_rate * g
    return w


def _choose_by_formula(gradient, theta):
    zero = gradient(torch.zeros_like(theta))
    H = torch.stack([gradient(e) - zero for e in torch.eye(len(theta))])
    lambdas = torch.linalg.eigvalsh(H)
    return 2 / (lambdas[0] + lambdas[-1])


def _choose_by_steps_needed(gradient, theta):
    goal = 1e-6 * gradient(theta).norm()
    fewest, best = 10**9, None
    for rate in torch.logspace(-2, 0.1, 150):
        w, steps = theta, 0
        while gradient(w).norm() > goal and steps < min(fewest, 300):
            w, steps = w - rate * gradient(w), steps + 1
        if steps < fewest and gradient(w).norm() <= goal:
            fewest, best = steps, rate
    return best


def _choose_by_narrowing(gradient, theta):
    def left(log_rate):
        w = theta
        for _ in range(80):
            w = w - math.exp(log_rate) * gradient(w)
        return math.log(float(gradient(w).norm()) + 1e-300)

    low, high = math.log(0.005), math.log(1.0)
    for _ in range(40):
        third = (high - low) / 3
        if left(low + third) < left(high - third):
            high -= third
        else:
            low += third
    return torch.tensor(math.exp((low + high) / 2))


def _choose_by_distance(gradient, theta):
    best = (math.inf, 0.0)
    for k in range(1, 400):
        w = theta
        for _ in range(50):
            w = w - k / 1000 * gradient(w)
        if (size := gradient(w).abs().sum().item()) < best[0]:
            best = (size, k / 1000)
    return best[1]


def _batch_by_search(learning_rate, curvature, variance, target):
    B = 1
    while curvature / 2 * _floor_by_series(learning_rate, curvature, variance, B) > target:
        B += 1
    return B


def _batch_by_numpy(eta, curve, s2, target):
    return np.maximum(1, np.ceil(curve / 2 * eta * s2 / (curve * (2 - eta * curve)) / target))


def _batch_by_division(eta, curve, s2, target):
    return max(-int(-(eta * s2 / (4 - 2 * eta * curve)) // target), 1)


def _product_by_hessian(f, theta, v):
    return torch.autograd.functional.hessian(f, theta) @ v


def _product_by_hvp(f, theta, v):
    return torch.autograd.functional.hvp(f, theta, v)[1]


def _product_by_func(f, theta, v):
    return torch.func.jvp(torch.func.grad(f), (theta,), (v,))[1]


def _product_by_backward(f, theta, v):
    theta = theta.detach().requires_grad_()
    g = torch.autograd.grad(f(theta), theta, grad_outputs=None, create_graph=True)[0]
    torch.dot(g, v).backward()
    return theta.grad


RIGHT = {
    "descent.step": (_step_in_place, _step_by_torch, _step_by_numpy, _step_entry_by_entry),
    "descent.forecast": (_forecast_by_difference, _forecast_by_loops, _forecast_single, _forecast_by_einsum),
    "descent.threshold": (
        _threshold_by_numpy,
        _threshold_by_norm,
        _threshold_by_powers,
        lambda H: 2.0 / torch.linalg.svdvals(H.float())[0].item(),
    ),
    "descent.best": (_best_by_condition, _best_by_factor, _best_in_one_tensor, _best_in_an_array),
    "descent.floor": (
        _floor_by_recursion,
        _floor_by_series,
        _floor_as_a_fraction,
        lambda eta, curve, s2, B: torch.tensor(eta * s2) / torch.tensor(B * curve * (2.0 - eta * curve)),
    ),
    "descent.numerical_gradient": (
        _numerical_by_rows,
        _numerical_in_place,
        _numerical_as_mean_of_two,
        _numerical_of_a_line,
    ),
    "descent.mend_accumulated": (_train_by_sgd, _train_by_grad, _train_by_numpy, _train_by_matrix),
    "descent.mend_uphill": (_train_by_grad, _train_by_numpy, _train_by_matrix, _train_row_by_row),
    "descent.choose": (_choose_by_formula, _choose_by_steps_needed, _choose_by_narrowing, _choose_by_distance),
    "descent.batch_size": (
        _batch_by_search,
        _batch_by_numpy,
        _batch_by_division,
        lambda eta, curve, s2, target: torch.tensor(eta * s2 / (4 - 2 * eta * curve) / target).ceil().clamp(min=1),
    ),
    "descent.hessian_vector": (_product_by_hessian, _product_by_hvp, _product_by_func, _product_by_backward),
    "descent.power_iteration": (
        _power_by_quotient,
        _power_by_mean_of_ratios,
        _power_by_eigenvalues,
        _power_started_anew,
    ),
}

WRONG = {
    "descent.step": {
        "the weights are scaled, not the gradient": lambda theta, g, lr: lr * theta - g,
        "both are scaled": lambda theta, g, lr: lr * (theta - g),
        "only the sign of the gradient counts": lambda theta, g, lr: theta - lr * g.sign(),
        "divided by the learning rate": lambda theta, g, lr: theta - g / lr,
        "two steps": lambda theta, g, lr: theta - 2 * lr * g,
        "nothing moves": lambda theta, g, lr: theta,
        "the weights are averaged into one number": lambda theta, g, lr: (theta - lr * g).mean(),
    },
    "descent.forecast": {
        "the length of g, not its square": lambda g, H, lr: -lr * g.norm() + lr**2 / 2 * g @ H @ g,
        "the curvature without any learning rate": lambda g, H, lr: -lr * g @ g + g @ H @ g / 2,
        "only the diagonal of H": lambda g, H, lr: -lr * g @ g + lr**2 / 2 * (H.diagonal() * g * g).sum(),
        "H applied twice": lambda g, H, lr: -lr * g @ g + lr**2 / 2 * g @ H @ H @ g,
        "for each weight instead of their sum": lambda g, H, lr: -lr * g * g + lr**2 / 2 * g * (H @ g),
    },
    "descent.threshold": {
        "the Frobenius norm": lambda H: 2 / H.norm(),
        "the mean eigenvalue": _of_eigenvalues(lambda values: 2 / values.mean()),
        "the threshold of the mean of both ends": _of_eigenvalues(lambda values: 2 / (values[0] + values[-1])),
        "upside down": _of_eigenvalues(lambda values: values[-1] / 2),
        "all the eigenvalues": _of_eigenvalues(lambda values: 2 / values),
        "the largest entry of the diagonal": lambda H: 2 / H.diagonal().max(),
    },
    "descent.best": {
        "the difference of the eigenvalues below": _of_eigenvalues(
            lambda x: (2 / (x[-1] - x[0]), (x[-1] - x[0]) / (x[-1] + x[0]))
        ),
        "the mean of all eigenvalues": _of_eigenvalues(lambda x: (1 / x.mean(), (x[-1] - x[0]) / (x[-1] + x[0]))),
        "the factor of the loss, not of the weights": _of_eigenvalues(
            lambda x: (2 / (x[-1] + x[0]), ((x[-1] - x[0]) / (x[-1] + x[0])) ** 2)
        ),
        "a factor below 0": _of_eigenvalues(lambda x: (2 / (x[-1] + x[0]), (x[0] - x[-1]) / (x[-1] + x[0]))),
        "the condition number for the factor": _of_eigenvalues(lambda x: (2 / (x[-1] + x[0]), x[-1] / x[0])),
        "only the learning rate": _of_eigenvalues(lambda x: 2 / (x[-1] + x[0])),
    },
    "descent.floor": {
        "λ missing in the bracket": lambda lr, c, s2, B: lr * s2 / B / (c * (2 - lr)),
        "η squared": lambda lr, c, s2, B: lr**2 * s2 / B / (c * (2 - lr * c)),
        "the root of it, as if θ was asked for": lambda lr, c, s2, B: math.sqrt(lr * s2 / B / (c * (2 - lr * c))),
        "the noise added each step alone": lambda lr, c, s2, B: lr**2 * s2 / B,
        "η missing": lambda lr, c, s2, B: s2 / B / (c * (2 - lr * c)),
    },
    "descent.power_iteration": {
        "the vector, not the value": lambda product, v, steps: v / v.norm(),
        "the largest with its sign, not in size": _by_full_matrix(lambda H: torch.linalg.eigvalsh(H)[-1]),
        "the size of the largest": _by_full_matrix(lambda H: torch.linalg.eigvalsh(H).abs().max()),
        "the trace": _by_full_matrix(lambda H: H.trace()),
        "the quotient at the start": lambda product, v, steps: v @ product(v) / (v @ v),
        "the largest entry of Hv": lambda product, v, steps: product(v / v.norm()).max(),
    },
    "descent.numerical_gradient": {
        "the difference of the values, undivided": lambda f, theta, h: 2 * h * _numerical_by_rows(f, theta, h),
        "uphill and downhill swapped": lambda f, theta, h: -_numerical_by_rows(f, theta, h),
        "half as far as h": lambda f, theta, h: _numerical_by_rows(f, theta, h / 2),
        "flat, whatever the shape": lambda f, theta, h: _numerical_by_rows(f, theta, h)[..., None],
    },
    "descent.mend_accumulated": {
        "uphill": lambda X, y, w, lr, steps: _train_by_numpy(X, y, w, -lr, steps),
        "one step too many": lambda X, y, w, lr, steps: _train_by_numpy(X, y, w, lr, steps + 1),
        "the loss without its ½": lambda X, y, w, lr, steps: _train_by_numpy(X, y, w, 2 * lr, steps),
        "the minimum at once": lambda X, y, w, lr, steps: torch.linalg.lstsq(X, y).solution,
    },
    "descent.mend_uphill": {
        "one step too many": lambda X, y, w, lr, steps: _train_by_numpy(X, y, w, lr, steps + 1),
        "the minimum at once": lambda X, y, w, lr, steps: torch.linalg.lstsq(X, y).solution,
        "divided by the number of weights": lambda X, y, w, lr, steps: _train_by_numpy(
            X, y, w, lr * len(y) / len(w), steps
        ),
        "the loss, not the weights": lambda X, y, w, lr, steps: (X @ w - y).square().mean() / 2,
    },
    "descent.choose": {
        "a fixed one": lambda gradient, theta: 0.1,
        "the rate of the middle of the eigenvalues, doubled": lambda gradient, theta: (
            2 * _choose_by_formula(gradient, theta)
        ),
        "the factor, not the rate": lambda gradient, theta: 0.6,
        "half of it": lambda gradient, theta: _choose_by_formula(gradient, theta) / 2,
    },
    "descent.batch_size": {
        "no rounding": lambda eta, curve, s2, target: max(1, eta * s2 / (4 - 2 * eta * curve) / target),
        "one more than needed": lambda eta, curve, s2, target: 1 + _batch_by_search(eta, curve, s2, target),
        "never below two": lambda eta, curve, s2, target: max(2, _batch_by_search(eta, curve, s2, target)),
        "squared, as if the deviation fell with B": lambda eta, curve, s2, target: (
            _batch_by_search(eta, curve, s2, target) ** 2
        ),
    },
    "descent.hessian_vector": {
        "H applied twice": lambda f, theta, v: _product_by_hvp(f, theta, _product_by_hvp(f, theta, v)),
        "the quadratic form": lambda f, theta, v: v @ _product_by_hvp(f, theta, v),
        "v of length 1": lambda f, theta, v: _product_by_hvp(f, theta, v / v.norm()),
        "half of it": lambda f, theta, v: _product_by_hvp(f, theta, v) / 2,
    },
}
