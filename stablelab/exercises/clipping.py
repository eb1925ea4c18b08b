"""The exercises of notebook 05: why gradients of recurrent networks explode, and how they are clipped."""

from __future__ import annotations

import math

import torch

from .clipping_loops import ACCUMULATION, AUTOCLIP, CHOOSE, TRAIN_ORDER, WARM_TRAINING
from .exercise import Case, Exercise, Slip, normal


def jacobian(W, h):
    return (1 - h**2)[:, None] * W


JACOBIAN = Exercise(
    name="clipping.jacobian",
    returns="∂h_t/∂h_(t-1), a matrix whose row i says how unit i of the new state depends on the old state",
    solution=jacobian,
    cases=(
        Case("two units", (torch.tensor([[1.0, 2.0], [-1.0, 0.5]]), torch.tensor([0.6, -0.5]))),
        Case("a state of zero, where tanh is steepest", (torch.tensor([[0.0, 3.0], [1.0, 1.0]]), torch.zeros(2))),
        Case("three units, one saturated", (normal(3, 3, seed=0), torch.tensor([0.1, 0.999, -0.7]))),
    ),
    slips=(
        Slip("the slopes scale the rows of W, not its columns: D stands left of W", lambda W, h: (1 - h**2) * W),
        Slip("the slope of tanh is 1 minus the square", lambda W, h: (1 - h)[:, None] * W),
        Slip("h is tanh of something already: do not apply tanh again", lambda W, h: (1 - h.tanh() ** 2)[:, None] * W),
        Slip("that is the transpose: rows belong to the new state", lambda W, h: ((1 - h**2)[:, None] * W).T),
    ),
    hints=(
        "h_t = tanh(W h_(t-1) + …). The chain rule: the slope of tanh at each unit, times what W does.",
        "The slope of tanh, written with its result h, is 1 - h². It multiplies row i of W, for each unit i.",
    ),
)


def exponent(jacobians):
    n = jacobians.shape[-1]
    v = torch.ones(n, dtype=jacobians.dtype) / math.sqrt(n)
    total = 0.0
    for J in jacobians:
        v = J @ v
        length = v.norm()
        total += math.log(length)
        v = v / length  # back to length 1, so that nothing over- or underflows
    return total / len(jacobians)


def _in_one_product(jacobians):
    v = torch.ones(jacobians.shape[-1], dtype=jacobians.dtype) / math.sqrt(jacobians.shape[-1])
    for J in jacobians:
        v = J @ v
    return v.norm().log() / len(jacobians)


def _never_shortened(jacobians):
    v = torch.ones(jacobians.shape[-1], dtype=jacobians.dtype) / math.sqrt(jacobians.shape[-1])
    total = 0.0
    for J in jacobians:
        v = J @ v
        total += v.norm().log()
    return total / len(jacobians)


EXPONENT = Exercise(
    name="clipping.exponent",
    returns="the mean over the steps of the logarithm by which v, first (1, …, 1)/√n, grows at each step",
    solution=exponent,
    cases=(
        Case("a single step", (normal(1, 2, 2, seed=1),)),
        Case("three steps that do not commute", (normal(3, 2, 2, seed=2),)),
        Case("1500 steps, whose product is too large for a number", (3 * normal(1500, 3, 3, seed=3),)),
        Case("1500 steps, whose product is too small for a number", (0.2 * normal(1500, 3, 3, seed=4),)),
    ),
    slips=(
        Slip(
            "over many steps the length over- or underflows: bring v back to length 1 after each step",
            _in_one_product,
        ),
        Slip(
            "v was never brought back to length 1, so each step counts the growth of all steps before it again",
            _never_shortened,
        ),
        Slip("the order is reversed: J_1 acts first", lambda jacobians: exponent(jacobians.flip(0))),
        Slip("that is the sum of the logarithms; divide by the number of steps", lambda J: exponent(J) * len(J)),
        Slip(
            "that is the mean logarithm of the spectral norms, which is only an upper bound",
            lambda jacobians: torch.linalg.matrix_norm(jacobians, ord=2).log().mean(),
        ),
        Slip("that is the factor per step; its logarithm is asked for", lambda J: math.exp(exponent(J))),
    ),
    hints=(
        "Keep one vector v of length 1. One step: apply J, measure the length, note its logarithm, shorten v again.",
        "The logarithm of a product is the sum of the logarithms; at the end divide by the number of Jacobians.",
    ),
)


def clip(gradients, max_norm):
    norm = torch.sqrt(sum(g.square().sum() for g in gradients))
    factor = max_norm / norm if norm > max_norm else 1.0
    return tuple(factor * g for g in gradients)


def _total(gradients):
    return math.sqrt(sum(g.square().sum().item() for g in gradients))


BY_GLOBAL_NORM = Exercise(
    name="clipping.by_global_norm",
    returns="the gradients, all shrunk by one factor so that together their norm is at most max_norm",
    solution=clip,
    cases=(
        Case("norm 13, threshold 6.5", ([torch.tensor([[3.0, 0.0], [0.0, 4.0]]), torch.tensor([12.0])], 6.5)),
        Case("the norm lies below the threshold already", ([torch.tensor([[0.3]]), torch.tensor([0.4])], 2.0)),
        Case("only one of the three is large", ([torch.tensor([[30.0, 40.0]]), torch.ones(2), torch.ones(1)], 1.0)),
        Case("gradients of zero, which stay zero", ([torch.zeros(1, 2), torch.zeros(2)], 1.0)),
    ),
    slips=(
        Slip(
            "each was clipped by its own norm, which turns the whole; use one factor for all",
            lambda gs, c: [g * c / max(c, g.norm().item()) for g in gs],
        ),
        Slip(
            "a gradient below the threshold was lengthened: the factor is never above 1",
            lambda gs, c: [g * c / (_total(gs) or 1.0) for g in gs],
        ),
        Slip(
            "the factor is upside down: it is max_norm / norm",
            lambda gs, c: [g * min(1.0, _total(gs) / c) for g in gs],
        ),
        Slip(
            "a gradient of zero became nan: 0 / 0. Leave what is not above max_norm as it is",
            lambda gs, c: [g / torch.tensor(_total(gs)) * min(c, _total(gs)) for g in gs],
        ),
        Slip(
            "the entries were cut one by one, which turns the whole; scale all of them by one factor",
            lambda gs, c: [g.clamp(-c, c) for g in gs],
        ),
    ),
    hints=(
        "First the norm of all together: the root of the sum of all squares. Then one number to multiply each with.",
        "That number is max_norm / norm where the norm is above max_norm, and 1 elsewhere. The norm may be 0.",
    ),
)


def angle(g, clipped):
    cosine = (g * clipped).sum() / (g.norm() * clipped.norm())
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine.item()))))


ANGLE = Exercise(
    name="clipping.angle",
    returns="the angle between the two tensors, in degrees from 0 to 180",
    solution=angle,
    cases=(
        Case("45 degrees", (torch.tensor([2.0, 0.0]), torch.tensor([0.5, 0.5]))),
        Case("more than a right angle", (torch.tensor([1.0, 0.0]), torch.tensor([-3.0, 4.0]))),
        Case("two matrices", (torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 1.0], [1.0, -1.0]]))),
        Case("parallel vectors, whose cosine rounding may push above 1", (torch.ones(3), torch.full((3,), 0.5))),
        Case("another parallel pair", (torch.tensor([1.0, 5.0]), torch.tensor([0.5, 2.5]))),
        Case("opposite vectors", (torch.tensor([2.0, 5.0]), torch.tensor([-1.0, -2.5]))),
    ),
    slips=(
        Slip(
            "rounding pushes the cosine a hair beyond 1, where acos is nan: cut it to the range from -1 to 1 first",
            lambda g, h: torch.rad2deg(torch.acos((g * h).sum() / (g.norm() * h.norm()))),
        ),
        Slip("that is in radians; multiply by 180 / π", lambda g, h: math.radians(angle(g, h))),
        Slip("that is the cosine; take acos of it", lambda g, h: math.cos(math.radians(angle(g, h)))),
        Slip(
            "the sign was dropped: an angle may be above 90 degrees",
            lambda g, h: min(angle(g, h), 180 - angle(g, h)),
        ),
        Slip(
            "divide the product by both norms before taking acos",
            lambda g, h: math.degrees(math.acos(max(-1.0, min(1.0, (g * h).sum().item())))),
        ),
    ),
    hints=(
        "For any two vectors the inner product is the product of their norms times the cosine of the angle.",
        "Solve for the cosine. Rounding can push it a hair beyond 1: cut it to the range from -1 to 1, then acos.",
    ),
    absolute=0.05,  # next to 0 and 180 degrees acos makes a hundredth of a degree of the last digit in single precision
)


def step(theta, learning_rate, max_norm):
    g = 4 * theta**3
    return theta - learning_rate * max(-max_norm, min(max_norm, g))


QUARTIC = Exercise(
    name="clipping.quartic_step",
    returns="θ after one step of clipped gradient descent on f(θ) = θ⁴, one number",
    solution=step,
    cases=(
        Case("near the minimum, nothing to clip", (0.1, 0.5, 1.0)),
        Case("far out on the right", (10.0, 0.5, 1.0)),
        Case("far out on the left", (-10.0, 0.25, 2.0)),
    ),
    slips=(
        Slip("the gradient was not clipped", lambda t, rate, c: t - rate * 4 * t**3),
        Slip(
            "gradients below -max_norm were not cut, only those above max_norm",
            lambda t, r, c: t - r * min(c, 4 * t**3),
        ),
        Slip(
            "the step was clipped, not the gradient: clip first, then multiply by the learning rate",
            lambda t, rate, c: t - max(-c, min(c, rate * 4 * t**3)),
        ),
        Slip("the step goes uphill: subtract the gradient", lambda t, rate, c: 2 * t - step(t, rate, c)),
        Slip("the derivative of θ⁴ is 4θ³", lambda t, rate, c: t - rate * max(-c, min(c, t**3))),
    ),
    hints=(
        "Three lines: the gradient of θ⁴, the clipped gradient, the step.",
        "With one weight the norm is the absolute value, so clipping keeps the gradient from -max_norm to max_norm.",
    ),
)


def outlier_step(size, t, beta1, beta2):
    m = (1 - beta1 ** (t - 1)) * beta1 + (1 - beta1) * size
    v = (1 - beta2 ** (t - 1)) * beta2 + (1 - beta2) * size**2
    return m / (1 - beta1**t) / math.sqrt(v / (1 - beta2**t))


ADAM_OUTLIER = Exercise(
    name="clipping.adam_outlier",
    returns="the length of Adam's step at the outlier, as a multiple of α",
    solution=outlier_step,
    cases=(
        Case("an early one", (100.0, 51, 0.9, 0.999)),
        Case("a late one", (100.0, 5001, 0.9, 0.999)),
        Case("no outlier at all", (1.0, 20, 0.9, 0.999)),
        Case("the very first step", (30.0, 1, 0.9, 0.999)),
        Case("other averages", (10.0, 12, 0.8, 0.95)),
    ),
    slips=(
        Slip(
            "neither average was corrected: divide m by 1 - β₁^t and v by 1 - β₂^t",
            lambda k, t, a, b: (
                (a * (1 - a ** (t - 1)) + (1 - a) * k) / math.sqrt(b * (1 - b ** (t - 1)) + (1 - b) * k * k)
            ),
        ),
        Slip(
            "the gradients of 1 before it were left out: only the outlier is in m and v",
            lambda k, t, a, b: (1 - a) / (1 - a**t) * math.sqrt((1 - b**t) / (1 - b)),
        ),
        Slip(
            "the outlier enters v squared",
            lambda k, t, a, b: (1 + (1 - a) / (1 - a**t) * (k - 1)) / math.sqrt(1 + (1 - b) / (1 - b**t) * (k - 1)),
        ),
        Slip(
            "the root of v is missing",
            lambda k, t, a, b: (1 + (1 - a) / (1 - a**t) * (k - 1)) / (1 + (1 - b) / (1 - b**t) * (k * k - 1)),
        ),
        Slip("that is the limit of a huge and late outlier", lambda k, t, a, b: (1 - a) / math.sqrt(1 - b)),
    ),
    hints=(
        "After t - 1 gradients of 1 the averages are m = 1 - β₁^(t-1) and v = 1 - β₂^(t-1). Do one more step of Adam.",
        "m becomes β₁ m + (1 - β₁) size, v becomes β₂ v + (1 - β₂) size². Correct both, then divide by the root.",
    ),
)


EXERCISES = (
    JACOBIAN,
    EXPONENT,
    BY_GLOBAL_NORM,
    TRAIN_ORDER,
    ANGLE,
    QUARTIC,
    ACCUMULATION,
    ADAM_OUTLIER,
    AUTOCLIP,
    CHOOSE,
    WARM_TRAINING,
)
