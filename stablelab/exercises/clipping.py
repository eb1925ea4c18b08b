"""The exercises of notebook 05: why gradients of recurrent networks explode, and how they are clipped."""

from __future__ import annotations

import math
from functools import reduce

import torch

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


def growth(jacobians):
    product = torch.eye(jacobians.shape[-1], dtype=jacobians.dtype)
    for J in jacobians:
        product = J @ product  # the later step stands on the left
    return torch.linalg.matrix_norm(product, ord=2)


def _product(jacobians):
    return reduce(lambda product, J: J @ product, jacobians)


GROWTH = Exercise(
    name="clipping.growth",
    returns="the spectral norm of ∂h_T/∂h_0, one number",
    solution=growth,
    cases=(
        Case("a single step", (normal(1, 2, 2, seed=1),)),
        Case("three steps that do not commute", (normal(3, 2, 2, seed=2),)),
        Case("twenty steps of four units", (0.7 * normal(20, 4, 4, seed=3),)),
    ),
    slips=(
        Slip(
            "the order is reversed: J_1 acts first, so it stands on the right, J_T … J_2 J_1",
            lambda jacobians: growth(jacobians.flip(0)),
        ),
        Slip(
            "that is the product of the norms, which only bounds the norm of the product",
            lambda jacobians: torch.linalg.matrix_norm(jacobians, ord=2).prod(),
        ),
        Slip(
            "that is the Frobenius norm; the spectral norm is the largest singular value",
            lambda jacobians: _product(jacobians).norm(),
        ),
        Slip(
            "that is the spectral radius (largest |eigenvalue|) of the product, not its largest singular value",
            lambda jacobians: torch.linalg.eigvals(_product(jacobians)).abs().max(),
        ),
    ),
    hints=(
        "Chain rule: ∂h_T/∂h_0 is a product of all the Jacobians. Which one touches a change of h_0 first?",
        "Multiply from the left, J @ product, in the order given; then the largest singular value of the product.",
    ),
)


def global_norm(gradients):
    return math.sqrt(sum(g.square().sum().item() for g in gradients))


GLOBAL_NORM = Exercise(
    name="clipping.global_norm",
    returns="the Euclidean norm of all gradients laid end to end, one number",
    solution=global_norm,
    cases=(
        Case("one vector", ([torch.tensor([3.0, -4.0])],)),
        Case("two tensors of different shapes", ([torch.tensor([[1.0, 2.0], [2.0, 0.0]]), torch.tensor([4.0])],)),
        Case("one tensor far larger than the others", ([torch.ones(3), torch.tensor([[100.0]]), torch.zeros(2)],)),
    ),
    slips=(
        Slip("the norms were added; squares add up, norms do not", lambda gs: sum(g.norm() for g in gs)),
        Slip("that is the largest of the norms; all of them count", lambda gs: max(g.norm() for g in gs)),
        Slip("the square root at the end is missing", lambda gs: sum(g.square().sum() for g in gs)),
        Slip(
            "that is the root of the mean square; a norm sums the squares",
            lambda gs: torch.cat([g.flatten() for g in gs]).square().mean().sqrt(),
        ),
    ),
    hints=(
        "Think of one long vector that holds every entry of every tensor.",
        "Its squared norm is the sum of the squared norms of the pieces. Take the root once, at the very end.",
    ),
)


def clip(W_grad, b_grad, max_norm):
    norm = torch.sqrt(W_grad.square().sum() + b_grad.square().sum()).item()
    coefficient = max_norm / norm if norm > max_norm else 1.0
    return coefficient * W_grad, coefficient * b_grad


def _each(W_grad, b_grad, max_norm):
    return tuple(g * max_norm / max(max_norm, g.norm().item()) for g in (W_grad, b_grad))


def _always(W_grad, b_grad, max_norm):
    norm = math.hypot(W_grad.norm(), b_grad.norm()) or 1.0
    return W_grad * max_norm / norm, b_grad * max_norm / norm


def _of_length_one(W_grad, b_grad, max_norm):
    norm = (W_grad.square().sum() + b_grad.square().sum()).sqrt()
    return W_grad / norm * norm.clamp(max=max_norm), b_grad / norm * norm.clamp(max=max_norm)


def _inverted(W_grad, b_grad, max_norm):
    coefficient = min(1.0, math.hypot(W_grad.norm(), b_grad.norm()) / max_norm)
    return coefficient * W_grad, coefficient * b_grad


BY_GLOBAL_NORM = Exercise(
    name="clipping.by_global_norm",
    returns="both gradients, shrunk by one factor so that together their norm is at most max_norm",
    solution=clip,
    cases=(
        Case("norm 13, threshold 6.5", (torch.tensor([[3.0, 0.0], [0.0, 4.0]]), torch.tensor([12.0]), 6.5)),
        Case("the norm lies below the threshold already", (torch.tensor([[0.3]]), torch.tensor([0.4]), 2.0)),
        Case("only one of the two is large", (torch.tensor([[30.0, 40.0]]), torch.tensor([0.1, -0.2]), 1.0)),
        Case("gradients of zero, which stay zero", (torch.zeros(1, 2), torch.zeros(2), 1.0)),
    ),
    slips=(
        Slip("each was clipped by its own norm, which turns the whole; use one factor for both", _each),
        Slip("a gradient below the threshold was lengthened: the factor is never above 1", _always),
        Slip("the factor is upside down: it is max_norm / norm", _inverted),
        Slip("a gradient of zero became nan: 0 / 0. Leave what is not above max_norm as it is", _of_length_one),
        Slip(
            "the entries were cut one by one, which turns the whole; scale all of them by one factor",
            lambda W, b, c: (W.clamp(-c, c), b.clamp(-c, c)),
        ),
    ),
    hints=(
        "First the norm of both together, as in clipping.global_norm; then one number to multiply both with.",
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


def threshold(norms, percent):
    return torch.quantile(norms, percent / 100)


PERCENTILE = Exercise(
    name="clipping.percentile",
    returns="the threshold that `percent` of the norms lie below, interpolated between neighbours as torch.quantile "
    "does",
    solution=threshold,
    cases=(
        Case("eleven norms, unsorted", (torch.tensor([5.0, 1, 4, 2, 3, 10, 9, 8, 7, 6, 0]), 90)),
        Case("between two norms", (torch.tensor([4.0, 1.0, 2.0, 8.0]), 90)),
        Case("one norm a thousand times the others", (torch.tensor([1.0, 2.0, 1000.0, 1.5, 0.5, 1.2]), 50)),
    ),
    slips=(
        Slip("that share of the largest norm, and one outlier ruins it", lambda n, p: n.max() * p / 100),
        Slip("that percentile from the top: 90 % of the norms would be clipped", lambda n, p: n.quantile(1 - p / 100)),
        Slip("the norms must be sorted first", lambda n, p: n[int(p / 100 * (len(n) - 1))]),
        Slip("that is the mean, whatever the percentage", lambda n, p: n.mean()),
    ),
    hints=(
        "Sort the norms. The threshold is at the place 90 % of the way from the first to the last.",
        "torch.quantile sorts and interpolates; it wants a share between 0 and 1.",
    ),
)


EXERCISES = (JACOBIAN, GROWTH, GLOBAL_NORM, BY_GLOBAL_NORM, ANGLE, QUARTIC, PERCENTILE)
