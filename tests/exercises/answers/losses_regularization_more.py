"""More answers to the exercises of notebook 03: noise, fine-tuning's regularizers, loops and decisions."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F


def _noise_by_projection(X, y):
    P = X @ torch.linalg.inv(X.T @ X) @ X.T
    rest = y - P @ y
    return rest @ rest / (len(y) - X.shape[1])


def _noise_by_numpy(X, y):
    X, y = X.numpy(), y.numpy()
    theta, *_ = np.linalg.lstsq(X, y, rcond=None)
    return float(np.sum((y - X @ theta) ** 2) / (X.shape[0] - X.shape[1]))


def _noise_by_qr(X, y):
    Q, _ = torch.linalg.qr(X)
    return ((y**2).sum() - ((Q.T @ y) ** 2).sum()) / (X.shape[0] - X.shape[1])


def _noise_from_the_mean(X, y):
    theta = torch.linalg.pinv(X) @ y
    return (y - X @ theta).square().mean() / (1 - X.shape[1] / X.shape[0])


def _classifier_with_an_optimizer(X, y, W, learning_rate, steps):
    W = torch.nn.Parameter(W)
    optimizer = torch.optim.SGD([W], lr=learning_rate)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(X @ W, y).backward()
        optimizer.step()
    return W.data


def _classifier_by_hand(X, y, W, learning_rate, steps):
    for _ in range(steps):
        p = torch.softmax(X @ W, dim=1)
        p[torch.arange(len(y)), y] -= 1
        W = W - learning_rate * X.T @ p / len(y)
    return W


def _classifier_with_log_softmax(X, y, W, learning_rate, steps):
    W.requires_grad_()
    for _ in range(steps):
        loss = F.nll_loss(torch.log_softmax(X @ W, 1), y)
        loss.backward()
        with torch.no_grad():
            W -= learning_rate * W.grad
            W.grad = None
    return W


def _classifier_with_its_log_softmax_taken_twice(X, y, W, learning_rate, steps):
    """Right, since the logarithms of probabilities are logits of the same probabilities."""
    for _ in range(steps):
        W = W.detach().requires_grad_()
        (g,) = torch.autograd.grad(F.cross_entropy(torch.log_softmax(X @ W, 1), y), W)
        W = W - learning_rate * g
    return W


def _evaluate_and_try(model, X, y):
    mode = model.training
    try:
        model.train(False)
        with torch.inference_mode():
            return F.cross_entropy(model(X), y), mode
    finally:
        model.train(mode)


def _evaluate_by_hand(model, X, y):
    was = model.training
    logits = model.eval()(X).detach()
    loss = -torch.log_softmax(logits, 1)[torch.arange(len(y)), y].mean().item()
    if was:
        model.train()
    return [loss, model.training]


def _evaluate_each_module(model, X, y):
    modes = {module: module.training for module in model.modules()}
    model.eval()
    loss = F.cross_entropy(model(X), y).item()
    for module, mode in modes.items():
        module.training = mode
    return loss, model.training


def _evaluate_one_by_one(model, X, y):
    was = model.training
    model.eval()
    losses = [F.cross_entropy(model(x[None]), target[None]) for x, target in zip(X, y, strict=True)]
    model.train(was)
    return sum(losses) / len(losses), was


def _groups_by_loop(names, shapes):
    decay, free = [], []
    for i in range(len(names)):
        (decay if len(shapes[i]) > 1 else free).append(names[i])
    return decay, free


def _groups_by_torch(names, shapes):
    dims = [torch.empty(shape, device="meta").dim() for shape in shapes]
    return [n for n, d in zip(names, dims, strict=True) if d >= 2], [
        n for n, d in zip(names, dims, strict=True) if d <= 1
    ]


def _groups_by_dict(names, shapes):
    of = dict(zip(names, shapes, strict=True))
    free = [name for name in of if len(of[name]) in (0, 1)]
    return [name for name in names if name not in free], free


def _rule_by_numpy(losses):
    losses = losses.numpy()
    mean = losses.mean(1)
    best = mean.argmin()
    limit = mean[best] + losses[best].std(ddof=1) / np.sqrt(losses.shape[1])
    return np.flatnonzero(mean <= limit)[-1]


def _rule_from_the_end(losses):
    means = [row.mean().item() for row in losses]
    best = means.index(min(means))
    error = losses[best].std().item() / math.sqrt(len(losses[best]))
    k = len(means) - 1
    while means[k] > means[best] + error:
        k -= 1
    return k


def _rule_by_where(losses):
    mean, error = losses.mean(1), losses.std(1) / math.sqrt(losses.shape[1])
    limit = (mean + error)[mean.argmin()]
    return torch.where(mean <= limit)[0].max()


RIGHT = {
    "losses.noise_variance": (_noise_by_projection, _noise_by_numpy, _noise_by_qr, _noise_from_the_mean),
    "losses.train_classifier": (
        _classifier_with_an_optimizer,
        _classifier_by_hand,
        _classifier_with_log_softmax,
        _classifier_with_its_log_softmax_taken_twice,
    ),
    "losses.decay_step": (
        lambda theta, g, start, eta, s: (1 - eta * s) * theta + eta * s * start - eta * g,
        lambda theta, g, start, eta, s: theta.sub_(eta * (g + s * (theta - start))),
        lambda theta, g, start, eta, s: start + (theta - start) * (1 - eta * s) - eta * g,
        lambda theta, g, start, eta, s: theta.numpy() - eta * g.numpy() - eta * s * (theta.numpy() - start.numpy()),
    ),
    "losses.mixout": (
        lambda theta, start, keep, p: ((~keep) * start + keep * theta - p * start) / (1 - p),
        lambda theta, start, keep, p: start + (theta - start) * keep / (1 - p),
        lambda theta, start, keep, p: torch.where(keep, (theta - p * start) / (1 - p), start),
        lambda theta, start, keep, p: np.where(keep.numpy(), (theta - p * start).numpy() / (1 - p), start.numpy()),
    ),
    "losses.smoothed_targets": (
        lambda y, classes, e: torch.full((len(y), classes), e / classes).scatter_(1, y[:, None], 1 - e + e / classes),
        lambda y, classes, e: torch.lerp(F.one_hot(y, classes).double(), torch.full((1,), 1 / classes), e),
        lambda y, classes, e: (1 - e) * np.eye(classes)[y.numpy()] + e / classes,
        lambda y, classes, e: [[e / classes + (1 - e) * (c == t) for c in range(classes)] for t in y.tolist()],
    ),
    "losses.evaluate": (_evaluate_and_try, _evaluate_by_hand, _evaluate_each_module, _evaluate_one_by_one),
    "losses.parameter_groups": (
        _groups_by_loop,
        _groups_by_torch,
        _groups_by_dict,
        lambda names, shapes: [
            [n for n, s in zip(names, shapes, strict=True) if (len(s) > 1) == d] for d in (True, False)
        ],
    ),
    "losses.one_standard_error": (
        _rule_by_numpy,
        _rule_from_the_end,
        _rule_by_where,
        lambda losses: torch.tensor(_rule_from_the_end(losses)),
    ),
}


def _groups(decays):
    return lambda names, shapes: (
        [n for n, s in zip(names, shapes, strict=True) if decays(n, s)],
        [n for n, s in zip(names, shapes, strict=True) if not decays(n, s)],
    )


def _train(loss_of, decay=0.0, halved=False):
    def answer(X, y, W, learning_rate, steps):
        for _ in range(steps):
            W = W.detach().requires_grad_()
            (g,) = torch.autograd.grad(loss_of(X @ W, y), W)
            W = W - (learning_rate / 2 if halved else learning_rate) * (g + decay * W)
        return W.detach()

    return answer


WRONG = {
    "losses.noise_variance": {
        "one weight too many": lambda X, y: _noise_by_qr(X, y) * (len(y) - X.shape[1]) / (len(y) - X.shape[1] + 1),
        "the variance of the targets": lambda X, y: y.var(),
        "the fit instead of the rest": lambda X, y: (X @ torch.linalg.pinv(X) @ y).square().mean(),
        "the mean absolute rest": lambda X, y: (y - X @ torch.linalg.pinv(X) @ y).abs().mean(),
    },
    "losses.train_classifier": {
        "weight decay besides": _train(F.cross_entropy, decay=0.1),
        "squared error of the probabilities": _train(
            lambda z, y: (z.softmax(1) - F.one_hot(y, z.shape[1])).square().mean()
        ),
        "half the learning rate": _train(F.cross_entropy, halved=True),
        "smoothed labels": _train(lambda z, y: F.cross_entropy(z, y, label_smoothing=0.1)),
    },
    "losses.decay_step": {
        "by the sign": lambda theta, g, start, eta, s: theta - eta * (g + s * (theta - start).sign()),
        "the gradient forgotten": lambda theta, g, start, eta, s: theta - eta * s * (theta - start),
        "uphill": lambda theta, g, start, eta, s: theta + eta * (g + s * (theta - start)),
        "the step alone": lambda theta, g, start, eta, s: eta * (g + s * (theta - start)),
    },
    "losses.mixout": {
        "the root of 1 - p": lambda theta, start, keep, p: start + (theta - start) * keep / math.sqrt(1 - p),
        "a mixture without chance": lambda theta, start, keep, p: (1 - p) * theta + p * start,
        "the correction not divided": lambda theta, start, keep, p: torch.where(keep, theta, start) - p * start,
        "multiplied by 1 - p": lambda theta, start, keep, p: start + (theta - start) * keep * (1 - p),
    },
    "losses.smoothed_targets": {
        "half of ε": lambda y, classes, e: (1 - e / 2) * F.one_hot(y, classes) + e / 2 / classes,
        "the loss of one row": lambda y, classes, e: (1 - e) * F.one_hot(y, classes)[0] + e / classes,
        "classes and examples swapped": lambda y, classes, e: ((1 - e) * F.one_hot(y, classes) + e / classes).T,
        "the labels as they are": lambda y, classes, e: F.one_hot(y, classes).double(),
    },
    "losses.evaluate": {
        "the mode swapped": lambda model, X, y: (_evaluate_by_hand(model, X, y)[0], not model.training),
        "training mode on purpose": lambda model, X, y: (F.cross_entropy(model.train()(X), y), model.training),
        "the accuracy": lambda model, X, y: ((model.eval()(X).argmax(1) == y).double().mean(), True),
        "the loss alone": lambda model, X, y: _evaluate_by_hand(model, X, y)[0],
    },
    "losses.parameter_groups": {
        "only what is called weight": _groups(lambda name, shape: name.endswith("weight")),
        "in alphabetical order": lambda names, shapes: tuple(map(sorted, _groups_by_loop(names, shapes))),
        "shapes instead of names": lambda names, shapes: (
            [s for s in shapes if len(s) > 1],
            [s for s in shapes if len(s) < 2],
        ),
        "the first list alone": lambda names, shapes: _groups_by_loop(names, shapes)[0],
    },
    "losses.one_standard_error": {
        "two standard errors": lambda losses: int(
            torch.where(
                losses.mean(1)
                <= losses.mean(1).min() + 2 * losses.std(1)[losses.mean(1).argmin()] / math.sqrt(losses.shape[1])
            )[0].max()
        ),
        "the strongest of all": lambda losses: len(losses) - 1,
        "the median": lambda losses: int(losses.median(1).values.argmin()),
        "divided by n instead of its root": lambda losses: int(
            torch.where(
                losses.mean(1) <= losses.mean(1).min() + losses.std(1)[losses.mean(1).argmin()] / losses.shape[1]
            )[0].max()
        ),
    },
}
