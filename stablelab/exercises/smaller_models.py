"""The exercises of notebook 12b: LoRA, distillation, pruning, eight bits."""

from __future__ import annotations

import torch

from .exercise import Case, Exercise, Slip, float64, normal


def lora_forward(x, weight, A, B, alpha):
    r = A.shape[0]
    return x @ weight.T + alpha / r * (x @ A.T) @ B.T


LORA_FORWARD = Exercise(
    name="small.lora_forward",
    returns="what the layer gives out, W₀ x + (α/r) B A x for each row x",
    solution=lora_forward,
    cases=(
        Case("rank 2", (normal(5, 4, seed=1), normal(3, 4, seed=2), normal(2, 4, seed=3), normal(3, 2, seed=4), 6.0)),
        Case(
            "B is 0, as at the start",
            (
                normal(5, 4, seed=5),
                normal(4, 4, seed=6),
                normal(1, 4, seed=7),
                torch.zeros(4, 1, dtype=torch.float64),
                1.0,
            ),
        ),
        Case(
            "rank 3, a batch of sequences",
            (normal(2, 5, 6, seed=8), normal(3, 6, seed=9), normal(3, 6, seed=10), normal(3, 3, seed=11), 16.0),
        ),
    ),
    slips=(
        Slip("the change is scaled by α/r, not by α", lambda x, W, A, B, a: lora_forward(x, W, A, B, a * len(A))),
        Slip("the change is not scaled at all", lambda x, W, A, B, a: lora_forward(x, W, A, B, len(A))),
        Slip("the scale is α/r, not r/α", lambda x, W, A, B, a: lora_forward(x, W, A, B, len(A) ** 2 / a)),
        Slip(
            "only the change is scaled, not what the layer itself does",
            lambda x, W, A, B, a: a / len(A) * (x @ W.T + x @ A.T @ B.T),
        ),
        Slip(
            "r is the number of rows of A, not of its columns",
            lambda x, W, A, B, a: lora_forward(x, W, A, B, a * len(A) / A.shape[1]),
        ),
        Slip("that is the change alone", lambda x, W, A, B, a: lora_forward(x, 0 * W, A, B, a)),
    ),
    hints=(
        "What are the shapes? x is (…, d), A is (r, d), B is (k, r): which products fit without forming B A?",
        "(x @ A.T) @ B.T is the change for each row; it is multiplied by alpha / r and added to x @ weight.T.",
    ),
)


def soft_loss(logits, teacher_logits, T):
    log_q = torch.log_softmax(logits / T, dim=1)
    log_p = torch.log_softmax(teacher_logits / T, dim=1)
    return T**2 * (log_p.exp() * (log_p - log_q)).sum(dim=1).mean()


def _kl(log_p, log_q):
    return (log_p.exp() * (log_p - log_q)).sum(dim=1).mean()


SOFT_LOSS = Exercise(
    name="small.soft_loss",
    returns="T² KL(p ‖ q), the mean over the batch; p of the teacher and q of the student at temperature T",
    solution=soft_loss,
    cases=(
        Case("temperature 1", (normal(4, 3, seed=1), normal(4, 3, seed=2), 1.0)),
        Case("temperature 4", (3 * normal(6, 5, seed=3), 3 * normal(6, 5, seed=4), 4.0)),
        Case("below 1", (normal(3, 2, seed=5), normal(3, 2, seed=6), 0.5)),
        Case("a sure teacher", (normal(2, 3, seed=7), 900 * normal(2, 3, seed=8), 2.0)),
    ),
    slips=(
        Slip("T² is missing: the gradient would fall with 1/T²", lambda z, v, T: soft_loss(z, v, T) / T**2),
        Slip("the factor is T², not T", lambda z, v, T: soft_loss(z, v, T) / T),
        Slip(
            "KL the other way round: the teacher's probabilities weigh the logarithms",
            lambda z, v, T: soft_loss(v, z, T),
        ),
        Slip(
            "the mean is over the examples, not over classes as well", lambda z, v, T: soft_loss(z, v, T) / z.shape[1]
        ),
        Slip("that is the sum over the batch, not the mean", lambda z, v, T: soft_loss(z, v, T) * len(z)),
        Slip(
            "the teacher's logits are divided by T as well",
            lambda z, v, T: T**2 * _kl(torch.log_softmax(v, 1), torch.log_softmax(z / T, 1)),
        ),
    ),
    hints=(
        "Take both log-softmaxes of logits / T. KL(p ‖ q) is the sum over classes of p (log p - log q).",
        "Sum over the classes, mean over the examples, times T². Where p is 0, log_softmax gives no nan.",
    ),
)


def magnitude_masks(first, second, sparsity):
    sizes = torch.cat([first.abs().flatten(), second.abs().flatten()])
    keep = torch.ones(len(sizes), dtype=torch.bool)
    keep[sizes.argsort()[: round(sparsity * len(sizes))]] = False
    return keep[: first.numel()].view(first.shape), keep[first.numel() :].view(second.shape)


def _masks(change=abs, count=round, inverted=False):
    """Global masks with one thing done otherwise."""

    def answer(first, second, sparsity):
        sizes = change(torch.cat([first.flatten(), second.flatten()]))
        keep = torch.ones(len(sizes), dtype=torch.bool)
        keep[sizes.argsort()[: count(sparsity * len(sizes))]] = False
        keep = ~keep if inverted else keep
        return keep[: first.numel()].view(first.shape), keep[first.numel() :].view(second.shape)

    return answer


def _one_by_one(first, second, sparsity):
    nothing = first.new_zeros(0)
    return magnitude_masks(first, nothing, sparsity)[0], magnitude_masks(second, nothing, sparsity)[0]


MAGNITUDE_MASKS = Exercise(
    name="small.magnitude_masks",
    returns="two masks, True where a weight stays; of both tensors together round(sparsity · n) smallest |w| go",
    solution=magnitude_masks,
    cases=(
        Case("a layer of small weights and one of large ones", (0.1 * normal(4, 5, seed=1), normal(3, 4, seed=2), 0.4)),
        Case("most of them", (normal(6, 5, seed=3), 2 * normal(7, seed=4), 0.83)),
        Case("none", (normal(2, 3, seed=5), normal(3, seed=6), 0.0)),
        Case("a convolution", (normal(2, 3, 3, 3, seed=7), normal(5, 2, seed=8), 0.6)),
    ),
    slips=(
        Slip("one threshold for both tensors together, not one for each", _one_by_one),
        Slip("small is |w|, not w: a weight of -5 is large", _masks(change=lambda w: w)),
        Slip("the largest went, the smallest should", _masks(change=lambda w: -w.abs())),
        Slip("True is where a weight stays", _masks(inverted=True)),
        Slip("the number that goes is rounded to the nearest, not down", _masks(count=int)),
        Slip("sparsity is the share that goes, not the share that stays", lambda a, b, s: magnitude_masks(a, b, 1 - s)),
    ),
    hints=(
        "Lay the sizes of both end to end (torch.cat). Which are the round(sparsity · n) smallest? argsort, or topk.",
        "Make a mask of ones, set those positions to False, cut it in two and give each part its shape back.",
    ),
)


def int8_round_trip(weight):
    largest = weight.abs().amax(dim=1, keepdim=True)
    scale = torch.where(largest > 0, largest / 127, 1.0)
    return (weight / scale).round() * scale


def _int8(largest=lambda w: w.abs().amax(1, keepdim=True), steps=127, rounded=torch.round, zero=1.0):
    """The round trip with one thing done otherwise."""

    def answer(weight):
        scale = largest(weight) / steps
        scale = torch.where(scale > 0, scale, zero)
        return rounded(weight / scale) * scale

    return answer


_ROWS = normal(4, 6, seed=1) * float64(0.01, 0.1, 1.0, 10.0)[:, None]

INT8_ROUND_TRIP = Exercise(
    name="small.int8_round_trip",
    returns="the weights after a round trip through whole numbers from -127 to 127, with a scale for each row",
    solution=int8_round_trip,
    cases=(
        Case("rows of very different sizes", (_ROWS,)),
        Case("a row of zeros", (torch.cat([normal(2, 3, seed=2), torch.zeros(1, 3, dtype=torch.float64)]),)),
        Case("all negative", (-normal(3, 5, seed=3).abs() - 0.1,)),
    ),
    slips=(
        Slip("a scale for each row, not one for all", _int8(lambda w: w.abs().amax())),
        Slip("a scale for each row, not for each column", _int8(lambda w: w.abs().amax(0, keepdim=True))),
        Slip("the largest |w| becomes 127, not 128", _int8(steps=128)),
        Slip("rounded to the nearest, not cut off", _int8(rounded=torch.trunc)),
        Slip("a row of zeros has a scale of 0, and 0/0 is nan", _int8(zero=0.0)),
        Slip("the largest |w|, not the largest w", _int8(lambda w: w.amax(1, keepdim=True))),
    ),
    hints=(
        "The scale of a row is its largest |w| over 127: amax(dim=1, keepdim=True). What if that is 0?",
        "Divide by the scale, round, and multiply by it again; where a row is all zeros any scale will do but 0.",
    ),
)

EXERCISES = (LORA_FORWARD, SOFT_LOSS, MAGNITUDE_MASKS, INT8_ROUND_TRIP)
