"""Exercises of notebook 05: norms, directions and thresholds; those on recurrent networks stand in `recurrent`."""

from __future__ import annotations

import math

import torch

from .exercise import Case, Exercise, Slip
from .recurrent import GROWTH, JACOBIAN


def global_norm(gradients):
    return math.sqrt(sum(g.square().sum().item() for g in gradients))


GLOBAL_NORM = Exercise(
    name="clipping.global_norm",
    asks="the Euclidean norm of all gradients laid end to end, one number",
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
    norm = torch.sqrt(W_grad.square().sum() + b_grad.square().sum())
    coefficient = min(1.0, max_norm / norm.item())
    return coefficient * W_grad, coefficient * b_grad


def _each(W_grad, b_grad, max_norm):
    return tuple(g * min(1.0, max_norm / g.norm().item()) for g in (W_grad, b_grad))


def _always(W_grad, b_grad, max_norm):
    norm = math.hypot(W_grad.norm(), b_grad.norm())
    return W_grad * max_norm / norm, b_grad * max_norm / norm


def _inverted(W_grad, b_grad, max_norm):
    coefficient = min(1.0, math.hypot(W_grad.norm(), b_grad.norm()) / max_norm)
    return coefficient * W_grad, coefficient * b_grad


BY_GLOBAL_NORM = Exercise(
    name="clipping.by_global_norm",
    asks="both gradients, shrunk by one factor so that together their norm is at most max_norm",
    solution=clip,
    cases=(
        Case("norm 13, threshold 6.5", (torch.tensor([[3.0, 0.0], [0.0, 4.0]]), torch.tensor([12.0]), 6.5)),
        Case("the norm lies below the threshold already", (torch.tensor([[0.3]]), torch.tensor([0.4]), 2.0)),
        Case("only one of the two is large", (torch.tensor([[30.0, 40.0]]), torch.tensor([0.1, -0.2]), 1.0)),
    ),
    slips=(
        Slip("each was clipped by its own norm, which turns the whole; use one factor for both", _each),
        Slip("a gradient below the threshold was lengthened: the factor is never above 1", _always),
        Slip("the factor is upside down: it is max_norm / norm", _inverted),
        Slip(
            "the entries were cut one by one, which turns the whole; scale all of them by one factor",
            lambda W, b, c: (W.clamp(-c, c), b.clamp(-c, c)),
        ),
    ),
    hints=(
        "First the norm of both together, as in clipping.global_norm; then one number to multiply both with.",
        "That number is max_norm / norm where the norm is above max_norm, and 1 elsewhere: min(1, max_norm / norm).",
    ),
)


def angle(g, clipped):
    cosine = (g * clipped).sum() / (g.norm() * clipped.norm())
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine.item()))))


ANGLE = Exercise(
    name="clipping.angle",
    asks="the angle between the two tensors, in degrees from 0 to 180",
    solution=angle,
    cases=(
        Case("45 degrees", (torch.tensor([2.0, 0.0]), torch.tensor([0.5, 0.5]))),
        Case("more than a right angle", (torch.tensor([1.0, 0.0]), torch.tensor([-3.0, 4.0]))),
        Case("two matrices", (torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 1.0], [1.0, -1.0]]))),
    ),
    slips=(
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
)


def step(theta, learning_rate, max_norm):
    g = 4 * theta**3
    return theta - learning_rate * max(-max_norm, min(max_norm, g))


QUARTIC = Exercise(
    name="clipping.quartic_step",
    asks="θ after one step of clipped gradient descent on f(θ) = θ⁴, one number",
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
    asks="the threshold that `percent` of the norms lie below, interpolated between neighbours as torch.quantile does",
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
