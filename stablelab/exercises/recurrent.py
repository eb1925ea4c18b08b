"""Exercises of notebook 05 on recurrent networks: one Jacobian, and a product of many."""

from __future__ import annotations

from functools import reduce

import torch

from .exercise import Case, Exercise, Slip


def _jacobians(number: int, size: int, scale: float, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(number, size, size, generator=generator, dtype=torch.float64)


def jacobian(W, h):
    return (1 - h**2)[:, None] * W


JACOBIAN = Exercise(
    name="clipping.jacobian",
    asks="∂h_t/∂h_(t-1), a matrix whose row i says how unit i of the new state depends on the old state",
    solution=jacobian,
    cases=(
        Case("two units", (torch.tensor([[1.0, 2.0], [-1.0, 0.5]]), torch.tensor([0.6, -0.5]))),
        Case("a state of zero, where tanh is steepest", (torch.tensor([[0.0, 3.0], [1.0, 1.0]]), torch.zeros(2))),
        Case("three units, one saturated", (_jacobians(1, 3, 1.0, 0)[0], torch.tensor([0.1, 0.999, -0.7]))),
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
    asks="the spectral norm of ∂h_T/∂h_0, one number",
    solution=growth,
    cases=(
        Case("a single step", (_jacobians(1, 2, 1.0, 1),)),
        Case("three steps that do not commute", (_jacobians(3, 2, 1.0, 2),)),
        Case("twenty steps of four units", (_jacobians(20, 4, 0.7, 3),)),
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
