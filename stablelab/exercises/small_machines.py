"""The exercises of notebook 12 but for its large batches: a scaled loss, bytes, accumulation, a ring, a broken DDP."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from .exercise import Case, Exercise, Slip, normal


def _classes(n: int, classes: int, seed: int) -> torch.Tensor:
    """(n,) classes drawn at random."""
    return torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))


# -- bytes of a step --------------------------------------------------------------------------------------------------


def step_bytes(parameters, trained, moments, half, activations):
    weights = 4 * parameters + (2 * parameters if half else 0)
    gradients = 4 * trained
    optimizer = 4 * moments * trained
    return weights + gradients + optimizer + activations


STEP_BYTES = Exercise(
    name="small.step_bytes",
    returns="the bytes of a step: weights, their copies in half precision, gradients, moments and activations together",
    solution=step_bytes,
    cases=(
        Case("Adam in fp32", (1_000_000, 1_000_000, 2, False, 5_000_000)),
        Case("Adam under autocast", (1_000_000, 1_000_000, 2, True, 3_000_000)),
        Case("momentum, a tenth of the parameters is trained", (1_000_000, 100_000, 1, False, 2_000_000)),
        Case("gradient descent on a head, in half precision", (500_000, 1_000, 0, True, 700_000)),
    ),
    slips=(
        Slip(
            "what is not trained has no moments",
            lambda p, t, m, h, a: step_bytes(p, t, 0, h, a) + 4 * m * p,
        ),
        Slip("what is not trained has no gradient", lambda p, t, m, h, a: step_bytes(p, t, m, h, a) + 4 * (p - t)),
        Slip(
            "autocast keeps the weights in fp32 and makes copies of two bytes besides",
            lambda p, t, m, h, a: step_bytes(p, t, m, False, a) - (2 * p if h else 0),
        ),
        Slip("the copies that autocast makes are missing", lambda p, t, m, h, a: step_bytes(p, t, m, False, a)),
        Slip(
            "the moments stay in fp32, four bytes each",
            lambda p, t, m, h, a: step_bytes(p, t, m, h, a) - (2 * m * t if h else 0),
        ),
        Slip("the gradients are missing", lambda p, t, m, h, a: step_bytes(p, t, m, h, a) - 4 * t),
    ),
    hints=(
        "Which of the four terms are there for every parameter, and which for those alone that are trained?",
        "Weights 4 P, in half precision 2 P more, gradients 4 P', moments 4 · moments · P', and the activations.",
    ),
)


# -- accumulation ------------------------------------------------------------------------------------------------------


def accumulate(X, y, W, parts):
    W = W.clone().requires_grad_()
    for inputs, targets in zip(X.tensor_split(parts), y.tensor_split(parts), strict=True):
        loss = torch.nn.functional.cross_entropy(inputs @ W, targets)
        (len(targets) / len(y) * loss).backward()  # backward adds to what is in W.grad
    return W.grad


def _accumulated(weight, kept=lambda k, parts: True):
    """The sum of the parts' gradients, each times weight(examples of the part, of all, parts)."""

    def answer(X, y, W, parts):
        total = torch.zeros_like(W)
        for k, (x, t) in enumerate(zip(X.tensor_split(parts), y.tensor_split(parts), strict=True)):
            w = W.clone().requires_grad_()
            (g,) = torch.autograd.grad(cross_entropy(x @ w, t), w)
            if kept(k, parts):
                total += weight(len(t), len(y), parts) * g
        return total

    return answer


def _stepped_between(X, y, W, parts):
    total = torch.zeros_like(W)
    for x, t in zip(X.tensor_split(parts), y.tensor_split(parts), strict=True):
        w = (W - total).clone().requires_grad_()
        (g,) = torch.autograd.grad(cross_entropy(x @ w, t), w)
        total += len(t) / len(y) * g
    return total


ACCUMULATE = Exercise(
    name="small.accumulate",
    returns="the gradient of the mean loss of all examples, from one backward pass for each part of the batch",
    solution=accumulate,
    cases=(
        Case("8 examples in 2 parts", (normal(8, 3, seed=1), _classes(8, 4, 2), normal(3, 4, seed=3), 2)),
        Case("7 examples in 3 parts: 3, 2 and 2", (normal(7, 2, seed=4), _classes(7, 3, 5), normal(2, 3, seed=6), 3)),
        Case("one part", (normal(5, 3, seed=7), _classes(5, 2, 8), normal(3, 2, seed=9), 1)),
        Case("11 examples in 4 parts", (normal(11, 4, seed=10), _classes(11, 3, 11), normal(4, 3, seed=12), 4)),
    ),
    slips=(
        Slip(
            "that is the sum of the parts' mean gradients: as if the rate were as many times",
            _accumulated(lambda n, N, k: 1),
        ),
        Slip("the parts are not equally large: a mean of means is not the mean", _accumulated(lambda n, N, k: 1 / k)),
        Slip(
            "only the last part is left: were the others zeroed?",
            _accumulated(lambda n, N, k: n / N, lambda k, p: k == p - 1),
        ),
        Slip("that is the gradient of the summed loss, not of the mean", _accumulated(lambda n, N, k: n)),
        Slip("the last part is missing", _accumulated(lambda n, N, k: n / N, lambda k, p: k < p - 1 or p == 1)),
        Slip("the weights must not move between the parts", _stepped_between),
    ),
    hints=(
        "The mean over all is the sum over the parts of (examples of the part / all examples) · (mean of the part).",
        "Multiply each part's loss by len(targets) / len(y) and call backward(): W.grad adds up.",
    ),
)


# -- a scaled loss -----------------------------------------------------------------------------------------------------


def scaled_step(theta, scaled_gradient, scale, good, learning_rate, max_norm):
    if not torch.isfinite(scaled_gradient).all():
        return theta, scale / 2, 0
    g = scaled_gradient / scale
    g = g * min(1.0, max_norm / max(g.norm().item(), 1e-12))
    good = good + 1
    if good == 2000:
        scale, good = 2 * scale, 0
    return theta - learning_rate * g, scale, good


def _scaled(unscale=True, clip="after", overflow="skip", halve=True, grow=2000, reset=True):
    """The step with one thing done otherwise."""

    def answer(theta, gradient, scale, good, learning_rate, max_norm):
        if overflow == "skip" and not torch.isfinite(gradient).all():
            return theta, scale / 2 if halve else scale, 0 if reset else good
        g = gradient.nan_to_num(0, 0, 0) if overflow == "zero" else gradient
        if clip == "before":
            g = g * min(1.0, max_norm / max(g.norm().item(), 1e-12))
        g = g / scale if unscale else g
        if clip == "after":
            g = g * min(1.0, max_norm / max(g.norm().item(), 1e-12))
        good += 1
        if good == grow:
            scale, good = 2 * scale, 0
        return theta - learning_rate * g, scale, good

    return answer


_THETA = normal(4, seed=20)
_INFINITE = torch.tensor([1.0, float("inf"), 0.0, -3.0], dtype=torch.float64)
_NAN = torch.tensor([1.0, float("nan"), 2.0, -3.0], dtype=torch.float64)

SCALED_STEP = Exercise(
    name="small.scaled_step",
    returns="the weights after the step, the next scale, and how many good steps there have been since it changed",
    solution=scaled_step,
    cases=(
        Case("a good step, clipped", (_THETA, 1024 * normal(4, seed=21), 1024.0, 3, 0.1, 0.5)),
        Case("a good step, below max_norm", (_THETA, 0.01 * normal(4, seed=22), 4.0, 0, 0.1, 1.0)),
        Case("an overflow", (_THETA, _INFINITE, 65536.0, 17, 0.1, 1.0)),
        Case("a nan", (_THETA, _NAN, 2048.0, 5, 0.1, 1.0)),
        Case("the two thousandth good step", (_THETA, normal(4, seed=23), 8.0, 1999, 0.1, 10.0)),
    ),
    slips=(
        Slip("the gradient is divided by the scale before the step", _scaled(unscale=False)),
        Slip("the true gradient is clipped: divide by the scale first", _scaled(clip="before")),
        Slip("the gradient is not clipped", _scaled(clip="never")),
        Slip("a step that is not finite is left out: the weights stay", _scaled(overflow="step")),
        Slip(
            "the other numbers of an overflowed gradient are not to be trusted: leave out the whole step",
            _scaled(overflow="zero"),
        ),
        Slip("after an overflow the scale is halved", _scaled(halve=False)),
        Slip("after an overflow the count of good steps begins anew", _scaled(reset=False)),
        Slip("the scale doubles after 2,000 good steps, not before", _scaled(grow=4)),
        Slip("the scale doubles with the two thousandth good step, counting this one", _scaled(grow=2001)),
    ),
    hints=(
        "First ask torch.isfinite(scaled_gradient).all(). If not: the old weights, half the scale, a count of 0.",
        "Else divide by the scale, clip by the norm, count one more good step; at 2,000 double the scale, count anew.",
    ),
)


# -- the ring ----------------------------------------------------------------------------------------------------------


def ring_time(size, n, bandwidth, latency):
    return 2 * (n - 1) * (size / n / bandwidth + latency)


RING_TIME = Exercise(
    name="small.ring_time",
    returns="the seconds that n devices in a ring need until all hold the mean of their arrays of this many bytes",
    solution=ring_time,
    cases=(
        Case("two devices", (4e8, 2, 1e10, 1e-5)),
        Case("64 devices", (1e9, 64, 5e9, 2e-5)),
        Case("one device", (1e9, 1, 1e10, 1e-5)),
        Case("a small array: what counts is the wait", (4e3, 1024, 1e10, 1e-4)),
    ),
    slips=(
        Slip(
            "each chunk goes around twice: once to be summed, once to be known to all",
            lambda s, n, b, t: ring_time(s, n, b, t) / 2,
        ),
        Slip("each message is one chunk, an n-th of the array", lambda s, n, b, t: 2 * (n - 1) * (s / b + t)),
        Slip("every one of the 2 (n - 1) messages waits", lambda s, n, b, t: 2 * (n - 1) / n * s / b + t * (n > 1)),
        Slip("after n - 1 steps a chunk has been at all n devices", lambda s, n, b, t: 2 * n * (s / n / b + t)),
        Slip(
            "that is what all devices send together, one after the other", lambda s, n, b, t: n * ring_time(s, n, b, t)
        ),
        Slip("bandwidth is in bytes per second, not in bits", lambda s, n, b, t: 2 * (n - 1) * (8 * s / n / b + t)),
    ),
    hints=(
        "How many messages does a device send, one after the other, and how many bytes are in each?",
        "2 (n - 1) messages of size / n bytes; each takes its bytes over the bandwidth, and the latency.",
    ),
)


# -- a broken DDP ------------------------------------------------------------------------------------------------------


def train(X, y, W, learning_rate, order, n):
    W = W.clone()
    for rows in order:
        gradients = []
        for rank in range(n):  # at the same time, on n devices
            mine = rows.tensor_split(n)[rank]
            replica = W.clone().requires_grad_()
            loss = torch.nn.functional.cross_entropy(X[mine] @ replica, y[mine])
            (len(mine) * n / len(rows) * loss).backward()
            gradients.append(replica.grad)
        W = W - learning_rate * torch.stack(gradients).mean(0)  # all-reduce, then a step on every device
    return W


def _trained(share, weight, combine):
    """Training with these rows for a device, this weight of its loss, and these gradients put together."""

    def answer(X, y, W, learning_rate, order, n):
        for rows in order:
            gradients = []
            for rank in range(n):
                mine = share(rows, n, rank)
                w = W.clone().requires_grad_()
                (g,) = torch.autograd.grad(cross_entropy(X[mine] @ w, y[mine]), w)
                gradients.append(weight(len(mine), len(rows), n) * g)
            W = W - learning_rate * combine(torch.stack(gradients))
        return W

    return answer


def _split(rows, n, rank):
    return rows.tensor_split(n)[rank]


def _equal(rows, n, rank):
    size = len(rows) // n
    return rows[rank * size : (rank + 1) * size]


def _all(rows, n, rank):
    return rows


def _right(size, all_rows, n):
    return size * n / all_rows


def _plain(size, all_rows, n):
    return 1.0


def _mean(gradients):
    return gradients.mean(0)


def _sum(gradients):
    return gradients.sum(0)


def _first(gradients):
    return gradients[0]


def _order(rows: int, steps: int, batch_size: int, seed: int) -> torch.Tensor:
    """(steps, batch_size) positions of the examples of each batch."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(rows, generator=generator)[:batch_size] for _ in range(steps)])


MEND_DDP = Exercise(
    name="small.mend_ddp",
    returns="the weights after one step for each row of order: those of one device that sees the whole batches",
    solution=train,
    cases=(
        Case(
            "batches of 6 on 2 devices",
            (normal(12, 3, seed=30), _classes(12, 3, 31), 0.1 * normal(3, 3, seed=32), 0.5, _order(12, 5, 6, 33), 2),
        ),
        Case(
            "batches of 7 on 3 devices: 3, 2 and 2",
            (normal(10, 2, seed=34), _classes(10, 4, 35), 0.1 * normal(2, 4, seed=36), 0.3, _order(10, 4, 7, 37), 3),
        ),
        Case(
            "one device",
            (normal(9, 3, seed=38), _classes(9, 2, 39), 0.1 * normal(3, 2, seed=40), 1.0, _order(9, 3, 4, 41), 1),
        ),
        Case(
            "one step on 4 devices",
            (normal(9, 2, seed=42), _classes(9, 3, 43), 0.1 * normal(2, 3, seed=44), 0.7, _order(9, 1, 9, 45), 4),
        ),
    ),
    slips=(
        Slip(
            "the loop as it was: every device sees the whole batch, and the gradients are added up",
            _trained(_all, _plain, _sum),
        ),
        Slip(
            "the gradients are added up, not averaged: as if the rate were n times as high",
            _trained(_split, _plain, _sum),
        ),
        Slip(
            "the parts are not equally large: a mean of means is not the mean over the batch",
            _trained(_split, _plain, _mean),
        ),
        Slip("what does not divide evenly is lost", _trained(_equal, _plain, _mean)),
        Slip("the gradients of all devices are needed, not those of the first", _trained(_split, _plain, _first)),
    ),
    hints=(
        "Look at what each device is given, and at what becomes of the gradients. With n = 1 the loop is right.",
        "rows.tensor_split(n)[rank] is a device's part. Take the mean of the gradients.",
        "The parts are not equally large: multiply the loss of each by len(mine) * n / len(rows).",
    ),
)

BEFORE_LARGE_BATCHES = (SCALED_STEP, STEP_BYTES, ACCUMULATE)
AFTER_LARGE_BATCHES = (MEND_DDP, RING_TIME)
