"""Answers to the exercises of notebook 07: right ones written in other ways, and wrong ones that no slip names."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F


def norm_by_torch(a, gamma, beta, eps):
    return F.batch_norm(a, None, None, gamma, beta, training=True, eps=eps)


def norm_in_a_loop(a, gamma, beta, eps):
    out = torch.empty_like(a)
    for c in range(a.shape[1]):
        x = a[:, c]
        out[:, c] = gamma[c] * (x - x.mean()) / (x.var(correction=0) + eps) ** 0.5 + beta[c]
    return out


def norm_in_place(a, gamma, beta, eps):
    flat = a.transpose(0, 1).flatten(1)  # (C, N·H·W)
    variance, mean = torch.var_mean(flat, dim=1, correction=0)
    a.sub_(mean[:, None, None]).div_((variance + eps).sqrt()[:, None, None])
    return a * gamma[:, None, None] + beta[:, None, None]


def norm_in_numpy(a, gamma, beta, eps):
    a = a.numpy()
    mean, variance = a.mean((0, 2, 3), keepdims=True), a.var((0, 2, 3), keepdims=True)
    return gamma.numpy()[:, None, None] * (a - mean) / np.sqrt(variance + eps) + beta.numpy()[:, None, None]


def _other_norm(mean, sigma, outer=lambda x, gamma, beta: gamma * x + beta):
    def normed(a, gamma, beta, eps):
        m = a.mean((0, 2, 3), keepdim=True)
        v = a.var((0, 2, 3), keepdim=True, correction=0)
        return outer((a - mean(m)) / sigma(v, eps), gamma[:, None, None], beta[:, None, None])

    return normed


def turn_by_stepping(w, g, learning_rate):
    after = w - learning_rate * g
    cosine = (w @ after) / (w.norm() * after.norm())
    return after.norm(), torch.rad2deg(torch.arccos(cosine.clamp(-1, 1)))


def turn_in_numpy(w, g, learning_rate):
    w, step = w.numpy(), learning_rate * g.numpy()
    legs = np.linalg.norm(w), np.linalg.norm(step)
    return np.hypot(*legs), np.degrees(np.arctan2(legs[1], legs[0]))


def turn_by_math(w, g, learning_rate):
    a, b = float(w.norm()), learning_rate * float(g.norm())
    return math.sqrt(a * a + b * b), math.degrees(math.atan2(b, a))


def turn_by_sine(w, g, learning_rate):
    after = w.add_(g, alpha=-learning_rate).norm()
    return [after, torch.asin(learning_rate * g.norm() / after) * 180 / torch.pi]


def _turned(length, angle):
    def turned(w, g, learning_rate):
        a, b = float(w.norm()), learning_rate * float(g.norm())
        return length(a, b), angle(a, b)

    return turned


def directions_by_plain_sgd(w, gradient, learning_rate, steps):
    path = []
    for _ in range(steps):
        w = w - learning_rate * gradient(w)
        path.append(w / w.norm())
    return torch.stack(path)


def directions_in_place(w, gradient, learning_rate, steps):
    out = torch.zeros(steps, len(w), dtype=w.dtype)
    for k in range(steps):
        w -= learning_rate * gradient(w)
        out[k] = w / w.norm()
    return out


def directions_by_pythagoras(w, gradient, learning_rate, steps):
    square, u, path = (w**2).sum(), w / w.norm(), []
    for _ in range(steps):
        g = gradient(u)
        rate = learning_rate / square
        v = u - rate * g
        square = square + learning_rate**2 * (g**2).sum() / square
        u = F.normalize(v, dim=0)
        path.append(u)
    return torch.stack(path)


def directions_in_lists(w, gradient, learning_rate, steps):
    rows = []
    for _ in range(steps):
        w = w - learning_rate * gradient(w)
        rows.append((w / w.norm()).tolist())
    return rows


def _walked(rate):
    def walked(w, gradient, learning_rate, steps):
        path = []
        for k in range(steps):
            w = w - rate(learning_rate, w, k) * gradient(w)
            path.append(w / w.norm())
        return torch.stack(path)

    return walked


def balance_by_the_square(learning_rate, weight_decay, G):
    x = learning_rate * weight_decay
    share = 2 * x - x * x
    square = learning_rate * G / math.sqrt(share)
    return math.sqrt(square), math.degrees(math.atan2(learning_rate * G / square, 1 - x))


def balance_by_acos(learning_rate, weight_decay, G):
    shrink = 1 - learning_rate * weight_decay
    return math.sqrt(learning_rate * G) / (1 - shrink**2) ** 0.25, math.degrees(math.acos(shrink))


def balance_by_walking(learning_rate, weight_decay, G):
    square = 1.0
    for _ in range(200_000):
        before, square = square, (1 - learning_rate * weight_decay) ** 2 * square + (learning_rate * G) ** 2 / square
        if abs(before - square) < 1e-14 * square:
            break
    length = math.sqrt(square)
    return length, math.degrees(math.atan(learning_rate * G / length / ((1 - learning_rate * weight_decay) * length)))


def balance_in_torch(learning_rate, weight_decay, G):
    shrink = torch.tensor(1 - learning_rate * weight_decay, dtype=torch.float64)
    length = ((learning_rate * G) ** 2 / (1 - shrink**2)) ** 0.25
    return length, torch.rad2deg(torch.arccos(shrink))


def _balanced(length, angle):
    def balanced(learning_rate, weight_decay, G):
        x = learning_rate * weight_decay
        return length(learning_rate, weight_decay, G, x), angle(x)

    return balanced


def _length(eta, lam, G, x):
    return (eta**2 * G**2 / (2 * x - x**2)) ** 0.25


def _angle(x):
    return math.degrees(math.acos(1 - x))


def running_by_torch(start, batch_means, momentum):
    norm = torch.nn.BatchNorm1d(len(start), momentum=momentum).to(start.dtype)
    norm.running_mean.copy_(start)
    for mean in batch_means:
        norm(mean.repeat(2, 1))
    return norm.running_mean


def running_by_weights(start, batch_means, momentum):
    T = len(batch_means)
    shares = momentum * (1 - momentum) ** torch.arange(T - 1, -1, -1).to(start)
    return (1 - momentum) ** T * start + shares @ batch_means.to(start)


def running_by_lerp(start, batch_means, momentum):
    for mean in batch_means:
        start.lerp_(mean.to(start), momentum)
    return start


def running_in_numpy(start, batch_means, momentum):
    running = start.numpy()
    for mean in batch_means.numpy():
        running = running + momentum * (mean - running)
    return running


def _ran(weights, of_start):
    def ran(start, batch_means, momentum):
        T = len(batch_means)
        shares = torch.tensor([weights(momentum, k, T) for k in range(T)]).to(start)
        return of_start(momentum, T) * start + shares @ batch_means.to(start)

    return ran


def head_on_features(body, head, X, y, learning_rate, steps):
    with torch.no_grad():
        features = body.eval()(X)
    optimizer = torch.optim.SGD(head.parameters(), lr=learning_rate)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(head(features), y).backward()
        optimizer.step()
    return head(features).detach()


def head_by_hand(body, head, X, y, learning_rate, steps):
    body.eval()
    features = body(X).detach()
    W, b = head.weight.detach().clone(), head.bias.detach().clone()
    for _ in range(steps):
        g = ((features @ W.T + b).softmax(1) - F.one_hot(y, len(b))) / len(y)
        W -= learning_rate * g.T @ features
        b -= learning_rate * g.sum(0)
    return features @ W.T + b


def head_with_one_norm_in_eval(body, head, X, y, learning_rate, steps):
    body.train()
    for module in body.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.eval()
    optimizer = torch.optim.SGD(head.parameters(), lr=learning_rate)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(head(body(X)), y).backward()
        optimizer.step()
    return head(body(X))


def head_on_a_copy(body, head, X, y, learning_rate, steps):
    still = copy.deepcopy(body).eval()
    optimizer = torch.optim.SGD(head.parameters(), lr=learning_rate)
    for _ in range(steps):
        loss = F.cross_entropy(head(still(X).detach()), y)
        grads = torch.autograd.grad(loss, list(head.parameters()))
        for parameter, grad in zip(head.parameters(), grads, strict=True):
            parameter.grad = grad
        optimizer.step()
    return still, head(body.eval()(X))


def _headed(change):
    """Rightly trained features and head, with something amiss."""

    def headed(body, head, X, y, learning_rate, steps):
        return change(body, head, X, y, learning_rate, steps)

    return headed


def _added_up(body, head, X, y, learning_rate, steps):
    features = body.eval()(X).detach()
    optimizer = torch.optim.SGD(head.parameters(), lr=learning_rate)
    for _ in range(steps + 1):
        F.cross_entropy(head(features), y).backward()
        optimizer.step()
    return head(features)


def placebo_by_product(touched, untouched):
    d = np.asarray(touched) - np.asarray(untouched)
    means = [np.mean(np.array(signs) * d) for signs in itertools.product((1, -1), repeat=len(d))]
    return d.mean(), np.mean(np.abs(means) >= abs(d.mean()) - 1e-9)


def placebo_by_scipy(touched, untouched):
    from scipy.stats import permutation_test

    d = (touched - untouched).numpy()
    found = permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf)
    return d.mean(), min(found.pvalue, 1.0)


def placebo_in_a_loop(touched, untouched):
    d = (touched - untouched).tolist()
    extreme = 0
    for pattern in range(2 ** len(d)):
        total = sum(x if pattern >> j & 1 else -x for j, x in enumerate(d))
        extreme += abs(total) >= abs(sum(d)) - 1e-12
    return sum(d) / len(d), extreme / 2 ** len(d)


def placebo_by_symmetry(touched, untouched):
    d = touched - untouched
    signs = torch.tensor(list(itertools.product((1.0, -1.0), repeat=len(d) - 1))).to(d)  # the first sign held
    means = (d[0] + signs @ d[1:]) / len(d)
    return d.mean(), (means.abs() > d.mean().abs() - 1e-12).double().mean()


def _tested(p):
    def tested(touched, untouched):
        d = touched - untouched
        signs = torch.tensor(list(itertools.product((1.0, -1.0), repeat=len(d)))).to(d)
        return d.mean(), p(d, signs)

    return tested


RIGHT = {
    "resnet.batch_norm": (norm_by_torch, norm_in_a_loop, norm_in_place, norm_in_numpy),
    "resnet.turn": (turn_by_stepping, turn_in_numpy, turn_by_math, turn_by_sine),
    "resnet.directions": (
        directions_by_plain_sgd,
        directions_in_place,
        directions_by_pythagoras,
        directions_in_lists,
    ),
    "resnet.equilibrium": (balance_by_the_square, balance_by_acos, balance_by_walking, balance_in_torch),
    "resnet.placebo": (placebo_by_product, placebo_by_scipy, placebo_in_a_loop, placebo_by_symmetry),
    "resnet.running_mean": (running_by_torch, running_by_weights, running_by_lerp, running_in_numpy),
    "resnet.mend_frozen": (
        head_on_features,
        head_by_hand,
        head_with_one_norm_in_eval,
        lambda *arguments: head_on_a_copy(*arguments)[1],
    ),
}

WRONG = {
    "resnet.batch_norm": {
        "the variance below": _other_norm(lambda m: m, lambda v, eps: v + eps),
        "no ε": _other_norm(lambda m: m, lambda v, eps: v.sqrt()),
        "γ and β exchanged": _other_norm(lambda m: m, lambda v, eps: (v + eps).sqrt(), lambda x, g, b: b * x + g),
        "γ and β left out": _other_norm(lambda m: m, lambda v, eps: (v + eps).sqrt(), lambda x, g, b: x),
        "layer norm": lambda a, gamma, beta, eps: (
            F.layer_norm(a, a.shape[1:], eps=eps) * gamma[:, None, None] + beta[:, None, None]
        ),
    },
    "resnet.turn": {
        "the cosine": _turned(math.hypot, lambda a, b: math.degrees(math.acos(a / (a + b)))),
        "step and weights exchanged": _turned(math.hypot, lambda a, b: math.degrees(math.atan2(a, b))),
        "the length has not changed": _turned(lambda a, b: a, lambda a, b: math.degrees(math.atan2(b, a))),
        "the tangent itself": _turned(math.hypot, lambda a, b: b / a),
        "shorter": _turned(lambda a, b: math.sqrt(abs(a * a - b * b)), lambda a, b: math.degrees(math.atan2(b, a))),
    },
    "resnet.directions": {
        "uphill": _walked(lambda rate, w, k: -rate),
        "the effective rate on w itself": _walked(lambda rate, w, k: rate / (w @ w)),
        "half the rate": _walked(lambda rate, w, k: rate / 2),
        "a rate that falls": _walked(lambda rate, w, k: rate / (k + 1)),
        "the first direction as well": lambda w, gradient, rate, steps: torch.cat(
            [(w / w.norm())[None], directions_by_plain_sgd(w, gradient, rate, steps)[:-1]]
        ),
    },
    "resnet.equilibrium": {
        "λ once, not twice": _balanced(lambda eta, lam, G, x: (eta * G**2 / lam) ** 0.25, _angle),
        "G not squared": _balanced(lambda eta, lam, G, x: (eta**2 * G / (2 * x - x**2)) ** 0.25, _angle),
        "the square root of 2ηλ": _balanced(_length, lambda x: math.degrees(math.sqrt(2 * x))),
        "half the angle": _balanced(_length, lambda x: _angle(x) / 2),
        "a root of ηλ": _balanced(_length, lambda x: math.degrees(math.atan(math.sqrt(x)))),
    },
    "resnet.placebo": {
        "always half": _tested(lambda d, s: 0.5),
        "sums and means mixed": _tested(lambda d, s: ((s @ d).abs() >= d.mean().abs()).double().mean()),
        "the signs alone": _tested(lambda d, s: (s.sum(1).abs() >= d.sign().sum().abs()).double().mean()),
        "a t-test": lambda t, u: (
            (t - u).mean(),
            __import__("scipy.stats").stats.ttest_rel(t.numpy(), u.numpy()).pvalue,
        ),
        "the count": _tested(lambda d, s: ((s @ d / len(d)).abs() >= d.mean().abs() - 1e-12).double().sum()),
    },
    "resnet.running_mean": {
        "the start is forgotten": _ran(lambda m, k, T: m * (1 - m) ** (T - 1 - k), lambda m, T: 0.0),
        "oldest and newest exchanged": _ran(lambda m, k, T: m * (1 - m) ** k, lambda m, T: (1 - m) ** T),
        "one batch too few": lambda start, means, m: running_by_weights(start, means[:-1], m),
        "the plain mean, the start counted": lambda start, means, m: (
            (start + means.to(start).sum(0)) / (len(means) + 1)
        ),
        "it never moves": lambda start, means, m: start,
    },
    "resnet.mend_frozen": {
        "gradients add up": _headed(_added_up),
        "one step too few": lambda body, head, X, y, rate, steps: head_by_hand(body, head, X, y, rate, steps - 1),
        "one step too many": lambda body, head, X, y, rate, steps: head_by_hand(body, head, X, y, rate, steps + 1),
        "probabilities": lambda *arguments: head_by_hand(*arguments).softmax(1),
        "uphill": lambda body, head, X, y, rate, steps: head_by_hand(body, head, X, y, -rate, steps),
    },
}
