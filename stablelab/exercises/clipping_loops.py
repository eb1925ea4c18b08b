"""The exercises of notebook 05 that are loops: training with clipping, mending it, and thresholds made of a record."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .exercise import Case, Exercise, Slip, float64, normal


def _data(rows: int, seed: int, outlier: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs (rows, 2), targets (rows,) of which the first is too large by ``outlier``, and weights (2,)."""
    X = normal(rows, 2, seed=seed)
    y = X @ float64(1.0, -2.0) + 0.1 * normal(rows, seed=seed + 1)
    y[0] += outlier
    return X, y, float64(0.5, 0.5)


def _gradient(X, y, w):
    return 2 / len(X) * X.T @ (X @ w - y)


def _shortened(g, max_norm):
    return g * min(1.0, max_norm / max(float(g.norm()), 1e-300))


def train(X, y, w, learning_rate, max_norm, steps):
    w = w.clone().requires_grad_()
    optimizer = torch.optim.SGD([w], lr=learning_rate)
    for _ in range(steps):
        loss = (X @ w - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([w], max_norm)  # after backward made the gradient, before step uses it
        optimizer.step()
    return w.detach()


def _clipped_first(X, y, w, learning_rate, max_norm, steps):
    return _loop(X, y, w, steps, lambda g, k: learning_rate * g)


def _loop(X, y, w, steps, step):
    for k in range(steps):
        w = w - step(_gradient(X, y, w), k)
    return w


def _adding_up(X, y, w, learning_rate, max_norm, steps):
    total = torch.zeros_like(w)
    for _ in range(steps):
        total = _shortened(total + _gradient(X, y, w), max_norm)
        w = w - learning_rate * total
    return w


TRAIN_ORDER = Exercise(
    name="clipping.mend_order",
    returns="the weights after these steps of SGD, each gradient clipped to the norm max_norm",
    solution=train,
    cases=(
        Case("no gradient is above the threshold", (*_data(8, seed=10), 0.1, 1e6, 5)),
        Case("one target is wrong by 1000", (*_data(8, seed=12, outlier=1000.0), 0.1, 1.0, 3)),
        Case("every gradient is above the threshold", (*_data(6, seed=14), 0.05, 0.3, 4)),
    ),
    slips=(
        Slip(
            "the weights are where they would be with no clipping at all; what does the clip see when it is called?",
            _clipped_first,
        ),
        Slip(
            "the weights have not moved: what is the gradient when the optimizer takes its step?",
            lambda X, y, w, learning_rate, max_norm, steps: w,
        ),
        Slip(
            "from the second step on the gradients of earlier steps are still in it",
            _adding_up,
        ),
        Slip(
            "each weight's part was cut by itself, which turns the step",
            lambda X, y, w, rate, c, steps: _loop(X, y, w, steps, lambda g, k: rate * g.clamp(-c, c)),
        ),
        Slip(
            "what is at most max_norm long is the step, not the gradient",
            lambda X, y, w, rate, c, steps: _loop(X, y, w, steps, lambda g, k: _shortened(rate * g, c)),
        ),
    ),
    hints=(
        "Go through the loop line by line and say what w.grad holds after each: nothing, an old gradient, the new one.",
        "clip_grad_norm_ changes w.grad as it is at that moment. Between which two lines is the new gradient there?",
    ),
)


def accumulated_step(X, y, w, learning_rate, max_norm, micro):
    w = w.clone().requires_grad_()
    for part, targets in zip(X.split(micro), y.split(micro), strict=True):
        loss = (part @ w - targets).square().mean() * len(part) / len(X)  # its share of the mean over the whole batch
        loss.backward()
    torch.nn.utils.clip_grad_norm_([w], max_norm)  # once, when the gradient of the whole batch is there
    return (w - learning_rate * w.grad).detach()


def _parts(X, y, micro):
    return list(zip(X.split(micro), y.split(micro), strict=True))


def _accumulated(X, y, w, micro, weight, limit_inside=math.inf):
    total = torch.zeros_like(w)
    for part, targets in _parts(X, y, micro):
        total = _shortened(total + weight(len(part)) * _gradient(part, targets, w), limit_inside)
    return total


ACCUMULATION = Exercise(
    name="clipping.mend_accumulation",
    returns="the weights after one clipped step of SGD on the whole batch, made of micro-batches",
    solution=accumulated_step,
    cases=(
        Case("no gradient is above the threshold", (*_data(8, seed=20), 0.1, 1e6, 4)),
        Case("an outlier in the first micro-batch", (*_data(8, seed=22, outlier=50.0), 0.1, 2.0, 2)),
        Case("the last micro-batch is shorter", (*_data(7, seed=24), 0.2, 1e6, 3)),
        Case("shorter, and above the threshold", (*_data(7, seed=26, outlier=-30.0), 0.2, 1.5, 3)),
    ),
    slips=(
        Slip(
            "with no gradient above the threshold the step is longer than that of the whole batch at once, and with "
            "an outlier its direction is another one",
            lambda X, y, w, rate, c, micro: w - rate * _accumulated(X, y, w, micro, lambda n: 1.0, c),
        ),
        Slip(
            "the direction is right, but with no gradient above the threshold the step is longer than that of the "
            "whole batch at once",
            lambda X, y, w, rate, c, micro: w - rate * _shortened(_accumulated(X, y, w, micro, lambda n: 1.0), c),
        ),
        Slip(
            "without clipping it is right; with an outlier in the first micro-batch the step has another direction",
            lambda X, y, w, rate, c, micro: w - rate * _accumulated(X, y, w, micro, lambda n: n / len(X), c),
        ),
        Slip(
            "right where all micro-batches are of one size; where the last is shorter its examples count too much",
            lambda X, y, w, rate, c, micro: (
                w - rate * _shortened(_accumulated(X, y, w, micro, lambda n: 1 / len(_parts(X, y, micro))), c)
            ),
        ),
        Slip(
            "right for gradients below the threshold; with an outlier the micro-batches were clipped one by one",
            lambda X, y, w, rate, c, micro: (
                w - rate * sum(_shortened(len(p) / len(X) * _gradient(p, t, w), c) for p, t in _parts(X, y, micro))
            ),
        ),
    ),
    hints=(
        "Compare with one backward of the whole batch: what is the sum of the micro-batches' mean losses against the "
        "mean over all?",
        "Each mean loss counts with the share of the rows it was made of. And max_norm is meant for the gradient of "
        "the whole batch, which is there only after the last micro-batch.",
    ),
)


def autoclip(norms, percent):
    clipped = []
    for t in range(len(norms)):
        threshold = torch.quantile(norms[: t + 1], percent / 100)  # all norms so far, this one included
        clipped.append(torch.minimum(norms[t], threshold))
    return torch.stack(clipped)


def _of_clipped(norms, percent):
    clipped: list[Tensor] = []
    for norm in norms:
        clipped.append(torch.minimum(norm, torch.stack([*clipped, norm]).quantile(percent / 100)))
    return torch.stack(clipped)


def _of_the_past(norms, percent):
    later = [torch.minimum(norms[t], norms[:t].quantile(percent / 100)) for t in range(1, len(norms))]
    return torch.stack([norms[0], *later])


AUTOCLIP = Exercise(
    name="clipping.autoclip",
    returns="the norms after clipping, step by step",
    solution=autoclip,
    cases=(
        Case("one norm ten times the others", (float64(1.0, 2.0, 1.5, 20.0, 1.2, 1.1), 50)),
        Case("norms that fall", (float64(8.0, 4.0, 2.0, 1.0, 0.5), 10)),
        Case("twenty random ones", (normal(20, seed=30).abs(), 90)),
        Case("the first step alone", (float64(3.0), 10)),
    ),
    slips=(
        Slip(
            "the threshold of step t used norms of later steps, which a run has not seen yet",
            lambda n, p: n.clamp(max=torch.quantile(n, p / 100).item()),
        ),
        Slip(
            "the norm of step t itself belongs to the history, too",
            _of_the_past,
        ),
        Slip(
            "the history holds the norms before clipping; of clipped ones the threshold could only sink",
            _of_clipped,
        ),
        Slip("that percentile from the top", lambda n, p: autoclip(n, 100 - p)),
        Slip(
            "those are the thresholds; a norm below its threshold stays what it is",
            lambda n, p: torch.stack([n[: t + 1].quantile(p / 100) for t in range(len(n))]),
        ),
    ),
    hints=(
        "Go through the steps. At each you know the norms up to and including this one: norms[: t + 1].",
        "torch.quantile of these, at the share percent / 100, is the threshold; the smaller of the two stays.",
    ),
)


def choose_max_norm(norms, skip, share, measured_at, train_at):
    settled = norms[skip:]
    settled = settled[settled.isfinite()].sort().values
    above = int(share * len(settled))  # so many norms may lie above the threshold
    return settled[len(settled) - 1 - above] * measured_at / train_at


CHOOSE = Exercise(
    name="clipping.choose",
    returns="max_norm: the smallest settled norm with at most that share of them above it, for the new learning rate",
    solution=choose_max_norm,
    cases=(
        Case(
            "the first three steps are still falling",
            (float64(90.0, 40.0, 12.0, 1.0, 4.0, 2.0, 3.0, 5.0, 9.0, 2.5, 1.5, 3.5, 4.5), 3, 0.25, 0.1, 0.1),
        ),
        Case("one norm overflowed", (float64(5.0, 3.0, math.inf, 2.0, 4.0, 1.0, 6.0, 2.2), 1, 0.35, 0.05, 0.05)),
        Case("four times the learning rate", (normal(25, seed=31).exp(), 5, 0.13, 0.05, 0.2)),
        Case("no step may be clipped", (float64(7.0, 1.0, 3.0, 2.0), 1, 0.0, 1.0, 0.5)),
    ),
    slips=(
        Slip("the first steps, still falling, were counted in", lambda n, k, s, a, b: choose_max_norm(n, 0, s, a, b)),
        Slip(
            "the longest step is η · max_norm: for another learning rate the threshold changes as well",
            lambda n, k, s, a, b: choose_max_norm(n, k, s, 1.0, 1.0),
        ),
        Slip(
            "upside down: a larger learning rate asks for a smaller threshold",
            lambda n, k, s, a, b: choose_max_norm(n, k, s, b, a),
        ),
        Slip(
            "a norm that is infinite was counted in",
            lambda n, k, s, a, b: n[k:].sort().values[len(n) - k - 1 - int(s * (len(n) - k))] * a / b,
        ),
        Slip("that share of the steps would not be clipped", lambda n, k, s, a, b: choose_max_norm(n, k, 1 - s, a, b)),
        Slip(
            "the norms were not sorted",
            lambda n, k, s, a, b: (
                (f := n[k:][n[k:].isfinite()])[len(f) - 1 - int(s * len(f))] * a / b  # the place in the order of time
            ),
        ),
    ),
    hints=(
        "Leave out the first steps and what is not finite, and sort. With m norms left, int(share · m) may lie above.",
        "The longest step, learning rate times max_norm, should stay what it was when the norms were measured.",
    ),
)


def train_warm(X, y, w, learning_rate, max_norm, warmup, steps):
    for k in range(steps):
        w = w.detach().requires_grad_()
        (g,) = torch.autograd.grad((X @ w - y).square().mean(), w)
        norm = g.norm()
        if norm > max_norm:
            g = g * (max_norm / norm)
        rate = learning_rate * min(1.0, (k + 1) / warmup)
        w = w - rate * g
    return w.detach()


def _warm(factor, limit=lambda g, c, factor: _shortened(g, c)):
    def answer(X, y, w, rate, c, warmup, steps):
        return _loop(X, y, w, steps, lambda g, k: rate * factor(k, warmup) * limit(g, c, factor(k, warmup)))

    return answer


WARM_TRAINING = Exercise(
    name="clipping.training_loop",
    returns="the weights after so many steps of SGD with linear warm-up and clipping",
    solution=train_warm,
    cases=(
        Case("one step, the first of a long warm-up", (*_data(6, seed=40), 0.2, 1e6, 10, 1)),
        Case("every gradient is above the threshold", (*_data(6, seed=42, outlier=20.0), 0.1, 0.5, 4, 6)),
        Case("warm-up ends on the way", (*_data(8, seed=44), 0.1, 1.5, 3, 12)),
        Case("no warm-up", (*_data(8, seed=46, outlier=100.0), 0.05, 2.0, 1, 5)),
    ),
    slips=(
        Slip("there is no warm-up: the first steps are too long", _warm(lambda k, n: 1.0)),
        Slip(
            "the first step has a rate of 0: it should have learning_rate / warmup, so count from k + 1",
            _warm(lambda k, n: min(1.0, k / n)),
        ),
        Slip("after the warm-up the rate goes on growing", _warm(lambda k, n: (k + 1) / n)),
        Slip(
            "no gradient was clipped",
            _warm(lambda k, n: min(1.0, (k + 1) / n), lambda g, c, factor: g),
        ),
        Slip(
            "the threshold was warmed up as well: it should be max_norm at every step",
            _warm(lambda k, n: min(1.0, (k + 1) / n), lambda g, c, factor: _shortened(g, c * factor)),
        ),
        Slip(
            "short gradients were lengthened to max_norm: the factor is never above 1",
            _warm(lambda k, n: min(1.0, (k + 1) / n), lambda g, c, factor: g * c / g.norm()),
        ),
    ),
    hints=(
        "Five lines in a loop over k: loss, gradient, clip, rate of this step, w minus rate times gradient.",
        "The rate of step k, counted from 0, is learning_rate · min(1, (k + 1) / warmup). Clip before that.",
    ),
)
