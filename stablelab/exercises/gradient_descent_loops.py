"""Exercises of notebook 01 that design or mend something: gradients checked by differences, loops, a choice of η."""

from __future__ import annotations

import math

import torch

from .exercise import Case, Exercise, Slip, float64, normal


def numerical_gradient(f, theta, h):
    g = torch.zeros_like(theta)
    for i in range(theta.numel()):
        delta = torch.zeros_like(theta)
        delta.view(-1)[i] = h
        g.view(-1)[i] = (f(theta + delta) - f(theta - delta)) / (2 * h)
    return g


def _forward_difference(f, theta, h):
    g = torch.zeros_like(theta)
    for i in range(theta.numel()):
        delta = torch.zeros_like(theta)
        delta.view(-1)[i] = h
        g.view(-1)[i] = (f(theta + delta) - f(theta)) / h
    return g


def _without_moving_back(f, theta, h):
    theta, g = theta.clone(), torch.zeros_like(theta)
    for i in range(theta.numel()):
        theta.view(-1)[i] += h
        above = f(theta)
        theta.view(-1)[i] -= 2 * h
        g.view(-1)[i] = (above - f(theta)) / (2 * h)
    return g


NUMERICAL = Exercise(
    name="descent.numerical_gradient",
    returns="the gradient by central differences, of the shape of theta",
    solution=numerical_gradient,
    cases=(
        Case("a cubic of two weights", (lambda t: (t**3).sum() + t[0] * t[1] ** 2, float64(1.0, -0.5), 0.1)),
        Case("a matrix of weights", (lambda t: (t**3).sum() + t[0].prod() * t[1].sum(), normal(2, 3, seed=1), 0.25)),
        Case("sines", (lambda t: t[0].sin() * t[1].exp() + t[2] ** 3, float64(0.4, 0.3, 2.0), 0.5)),
        Case("one weight", (lambda t: (t**4).sum(), float64(1.5), 0.2)),
    ),
    slips=(
        Slip(
            "that is the forward difference, whose error falls only like h; go h to either side of theta",
            _forward_difference,
        ),
        Slip(
            "the two points lie 2h apart, not h",
            lambda f, theta, h: 2 * numerical_gradient(f, theta, h),
        ),
        Slip(
            "each weight is still moved while the next one is tried; put it back first",
            _without_moving_back,
        ),
        Slip(
            "all weights are moved at once, which gives the sum of the derivatives; move one at a time",
            lambda f, theta, h: torch.full_like(theta, 1.0) * (f(theta + h) - f(theta - h)) / (2 * h),
        ),
    ),
    hints=(
        "A derivative is the slope of a chord: its ends lie at θᵢ - h and θᵢ + h, the other weights stay.",
        "Make a tensor of zeros like theta, put h at place i, and call f at theta plus it and at theta minus it.",
        "delta.view(-1)[i] = h works for a theta of any shape.",
    ),
)


def train(X, y, w, learning_rate, steps):
    w = w.clone().requires_grad_()
    for _ in range(steps):
        loss = 0.5 * (X @ w - y).square().mean()
        w.grad = None
        loss.backward()
        with torch.no_grad():
            w -= learning_rate * w.grad
    return w.detach()


def _accumulating(X, y, w, learning_rate, steps):
    sum_of_all = torch.zeros_like(w)
    for _ in range(steps):
        sum_of_all = sum_of_all + X.T @ (X @ w - y) / len(y)
        w = w - learning_rate * sum_of_all
    return w


def _fit(X, y, w, learning_rate, steps):
    for _ in range(steps):
        w = w - learning_rate * X.T @ (X @ w - y) / len(y)
    return w


_DATA = (
    Case("twenty rows, ten steps", (normal(20, 3, seed=2), normal(20, seed=3), torch.zeros(3), 0.3, 10)),
    Case("a first w that is not 0", (normal(8, 2, seed=4), normal(8, seed=5), float64(1.0, -1.0), 0.2, 5)),
    Case("one step", (normal(6, 2, seed=6), normal(6, seed=7), float64(0.5, 0.5), 0.4, 1)),
    Case("no step: w comes back as it is", (normal(4, 2, seed=8), normal(4, seed=9), float64(3.0, 2.0), 0.1, 0)),
)

ACCUMULATED = Exercise(
    name="descent.mend_accumulated",
    returns="w after so many steps of gradient descent on the mean of ½(Xw - y)²",
    solution=train,
    cases=_DATA,
    slips=(
        Slip(
            "the first step is right, but from the second one on the steps are longer than η times the gradient at w, "
            "and the loss swings up again",
            _accumulating,
        ),
        Slip("nothing moves: when the step is taken, the gradient is 0", lambda X, y, w, learning_rate, steps: w),
        Slip(
            "each step is as many times too long as there are rows: the loss is their mean, not their sum",
            lambda X, y, w, learning_rate, steps: _fit(X, y, w, learning_rate * len(y), steps),
        ),
        Slip(
            "only one step is taken, whatever `steps` says",
            lambda X, y, w, learning_rate, steps: _fit(X, y, w, learning_rate, 1),
        ),
    ),
    hints=(
        "Print w.grad in each step, and beside it the gradient that you compute by hand. When do they part?",
        "backward() adds to w.grad. Who takes away what the step before has left there?",
    ),
)


def fit(X, y, w, learning_rate, steps):
    for _ in range(steps):
        residual = X @ w - y
        gradient = X.T @ residual / len(y)
        w = w - learning_rate * gradient
    return w


def _never_looking_again(X, y, w, learning_rate, steps):
    return w - steps * learning_rate * X.T @ (X @ w - y) / len(y)


SIGN = Exercise(
    name="descent.mend_uphill",
    returns="w after so many steps of gradient descent on the mean of ½(Xw - y)², its gradient written by hand",
    solution=fit,
    cases=_DATA,
    slips=(
        Slip(
            "the loss grows at every step, at however small a learning rate",
            lambda X, y, w, learning_rate, steps: _fit(X, y, w, -learning_rate, steps),
        ),
        Slip(
            "every step is as long as the first: the residual has to be computed anew at each w",
            _never_looking_again,
        ),
        Slip(
            "each step is as many times too long as there are rows: the loss is their mean, not their sum",
            lambda X, y, w, learning_rate, steps: _fit(X, y, w, learning_rate * len(y), steps),
        ),
        Slip(
            "each step is twice too long: the ½ in the loss cancels the 2 of the derivative",
            lambda X, y, w, learning_rate, steps: _fit(X, y, w, 2 * learning_rate, steps),
        ),
    ),
    hints=(
        "A learning rate that is too large does harm only above a threshold. Does a tiny one help here?",
        "Compare `gradient` with your numerical gradient of the loss, entry by entry.",
        "d/dw of ½(Xw - y)² is Xᵀ(Xw - y).",
    ),
)


def choose(gradient, theta):
    def left_after(learning_rate, steps=40):
        w = theta.double()  # in single precision many rates would tie at the rounding error
        for _ in range(steps):
            w = w - learning_rate * gradient(w)
        length = gradient(w).norm().item()
        return length if length < math.inf else math.inf  # also where it is nan

    rates = [0.01 * 1.04**k for k in range(118)]  # 0.01 to 1
    return min(rates, key=left_after)


def _hessian(gradient, theta):
    """The matrix of a quadratic, from its gradient."""
    zero = gradient(torch.zeros_like(theta))
    return torch.stack([gradient(e) - zero for e in torch.eye(len(theta), dtype=theta.dtype)])


def _of_extremes(combine):
    def answer(gradient, theta):
        lambdas = torch.linalg.eigvalsh(_hessian(gradient, theta))
        return combine(lambdas[0].item(), lambdas[-1].item(), lambdas.mean().item())

    return answer


def _bowl(H, *minimum):
    middle = float64(*minimum)
    return lambda theta: H.to(theta) @ (theta - middle.to(theta))


CHOOSE = Exercise(
    name="descent.choose",
    returns="the learning rate whose descent comes closest to the minimum in the long run, to 5 %",
    solution=choose,
    cases=(
        Case("two weights, λ = 10 and 2.5", (_bowl(torch.diag(float64(10.0, 2.5)), 1.0, 2.0), float64(-1.0, 0.5))),
        Case("axes turned", (_bowl(float64([5.0, 2.0], [2.0, 3.0]), 0.0, 1.0), float64(2.0, -1.0))),
        Case("three weights", (_bowl(torch.diag(float64(8.0, 7.0, 2.0)), 0.0, 0.0, 0.0), float64(1.0, -2.0, 1.5))),
        Case("a steep one", (_bowl(torch.diag(float64(30.0, 9.0)), -1.0, 1.0), float64(3.0, 3.0))),
    ),
    slips=(
        Slip(
            "1/λ_max is safe, but a larger learning rate comes closer in the same number of steps",
            _of_extremes(lambda low, high, mean: 1 / high),
        ),
        Slip(
            "that is (almost) the largest one that does not diverge; there the steep direction hardly shrinks",
            _of_extremes(lambda low, high, mean: 1.99 / high),
        ),
        Slip(
            "that is best for the flat direction alone, and the steep one diverges",
            _of_extremes(lambda low, high, mean: 1 / low),
        ),
        Slip(
            "that learning rate is best for a single step; try more steps before you judge",
            lambda gradient, theta: (g := gradient(theta)).dot(g) / g.dot(_hessian(gradient, theta) @ g),
        ),
    ),
    hints=(
        "You need no formula: write the loop, run it with many learning rates, and keep the best.",
        "How close it came can be judged by the length of the gradient, which is 0 at the minimum.",
        "Equal factors from one rate to the next (such as 1.04) cover 0.01 to 1 quickly; and nan is not the smallest.",
    ),
    tolerance=0.05,
)


def batch_size(learning_rate, curvature, variance, target):
    loss_of_one = learning_rate * variance / (2 * (2 - learning_rate * curvature))
    return max(1, math.ceil(loss_of_one / target))


BATCH = Exercise(
    name="descent.batch_size",
    returns="the smallest batch size, a whole number, for which ½λV is at most the target",
    solution=batch_size,
    cases=(
        Case("a target far below the floor of one", (0.4, 2.0, 9.0, 0.011)),
        Case("close to 2/λ", (0.9, 2.0, 4.0, 0.13)),
        Case("a flat direction", (0.5, 0.01, 30.0, 0.013)),
        Case("a batch of one is enough", (0.1, 1.0, 0.5, 0.3)),
    ),
    slips=(
        Slip(
            "the floor is still a little above the target: round up",
            lambda learning_rate, curvature, variance, target: max(
                1, math.floor(learning_rate * variance / (2 * (2 - learning_rate * curvature)) / target)
            ),
        ),
        Slip(
            "that makes V as small as the target, and the loss is ½λV",
            lambda learning_rate, curvature, variance, target: max(
                1, math.ceil(learning_rate * variance / (curvature * (2 - learning_rate * curvature)) / target)
            ),
        ),
        Slip(
            "that is the approximation ησ²/4 for small η; near 2/λ the factor 2 - ηλ matters",
            lambda learning_rate, curvature, variance, target: max(1, math.ceil(learning_rate * variance / 4 / target)),
        ),
        Slip(
            "the ½ of ½λV is missing",
            lambda learning_rate, curvature, variance, target: max(
                1, math.ceil(learning_rate * variance / (2 - learning_rate * curvature) / target)
            ),
        ),
    ),
    hints=(
        "With batches of B the variance is variance / B. Put that into V, and V into ½λV.",
        "½λV = ησ²/(2B(2 - ηλ)) ≤ target. Solve for B; it is a whole number, and at least 1.",
    ),
)


def hessian_vector(f, theta, v):
    theta = theta.clone().requires_grad_()
    (g,) = torch.autograd.grad(f(theta), theta, create_graph=True)
    (Hv,) = torch.autograd.grad(g @ v, theta)
    return Hv


def _gradient(f, theta):
    theta = theta.clone().requires_grad_()
    return torch.autograd.grad(f(theta), theta)[0]


HESSIAN_VECTOR = Exercise(
    name="descent.hessian_vector",
    returns="the product Hv of the Hessian of f at theta with v, of the shape of theta",
    solution=hessian_vector,
    cases=(
        Case("two weights", (lambda t: t[0] ** 3 * t[1] + t[1] ** 4, float64(1.0, -0.5), float64(1.0, 2.0))),
        Case(
            "three weights", (lambda t: (t[0] * t[1]).sin() + t[2].exp() * t[0], normal(3, seed=10), normal(3, seed=11))
        ),
        Case(
            "v that is not of length 1",
            (lambda t: (t.sum() ** 3) + (t**2).sum(), float64(0.3, 0.2), float64(10.0, 0.0)),
        ),
    ),
    slips=(
        Slip("that is g·v, a number; differentiate it by theta once more", lambda f, theta, v: _gradient(f, theta) @ v),
        Slip("that is the gradient; v has no part in it yet", lambda f, theta, v: _gradient(f, theta)),
        Slip(
            "g(θ + v) - g(θ) is Hv only on a quadratic; differentiate g·v instead",
            lambda f, theta, v: _gradient(f, theta + v) - _gradient(f, theta),
        ),
        Slip(
            "only the diagonal of H counts in that; the entries beside it mix the weights",
            lambda f, theta, v: torch.autograd.functional.hessian(f, theta).diagonal() * v,
        ),
    ),
    hints=(
        "g·v is a number that depends on theta. What is its gradient?",
        "The first gradient must keep its graph: torch.autograd.grad(f(theta), theta, create_graph=True).",
        "theta needs a gradient: theta = theta.clone().requires_grad_().",
    ),
)
