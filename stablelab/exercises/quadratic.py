"""Exercises of notebook 01 on a quadratic: its threshold, its best learning rate, its sharpest direction."""

from __future__ import annotations

import torch

from .exercise import Case, Exercise, Slip

TURNED = torch.tensor([[5.0, 2.0], [2.0, 1.0]]).double()
THREE = torch.tensor([[4.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.0, -1.0, 2.0]]).double()


def threshold(H):
    lambdas = torch.linalg.eigvalsh(H)  # in ascending order
    return 2 / lambdas[-1]


_BOWLS = (
    Case("H is diagonal", (torch.diag(torch.tensor([8.0, 0.5])),)),
    Case("axes turned", (TURNED,)),
    Case("three weights", (THREE,)),
    Case("a long valley", (torch.diag(torch.tensor([0.25, 100.0])),)),
)

THRESHOLD = Exercise(
    name="descent.threshold",
    asks="the learning rate above which descent on ½ θᵀHθ diverges, as one number",
    solution=threshold,
    cases=_BOWLS,
    slips=(
        Slip(
            "1/λ_max is the learning rate whose promised gain is largest; divergence begins at twice that",
            lambda H: 1 / torch.linalg.eigvalsh(H)[-1],
        ),
        Slip(
            "that is 2/λ_min; the steepest direction diverges first, and it has the largest eigenvalue",
            lambda H: 2 / torch.linalg.eigvalsh(H)[0],
        ),
        Slip(
            "that takes the sum of the eigenvalues (the trace); only the largest one counts",
            lambda H: 2 / H.trace(),
        ),
        Slip(
            "that takes the largest entry of H; it is an eigenvalue only where H is diagonal",
            lambda H: 2 / H.max(),
        ),
    ),
    hints=(
        "Along eigenvector i each step multiplies by 1 - ηλᵢ. For which η is the size of that factor above 1?",
        "torch.linalg.eigvalsh(H) returns the eigenvalues of a symmetric matrix, the smallest first.",
    ),
)


def best(H):
    lambdas = torch.linalg.eigvalsh(H)
    low, high = lambdas[0], lambdas[-1]
    return 2 / (high + low), (high - low) / (high + low)


def _ends(H):
    lambdas = torch.linalg.eigvalsh(H)
    return lambdas[0], lambdas[-1]


def _careful(H):
    low, high = _ends(H)
    return 1 / high, 1 - low / high


def _halved(H):
    low, high = _ends(H)
    return 1 / (high + low), (high - low) / (high + low)


def _momentums(H):
    low, high = (each.sqrt() for each in _ends(H))
    return 2 / (high**2 + low**2), (high - low) / (high + low)


BEST = Exercise(
    name="descent.best",
    asks="two numbers: the learning rate η* with the fastest worst direction, and the factor ρ* of that direction",
    solution=best,
    cases=_BOWLS,
    slips=(
        Slip("η = 1/λ_max is safe, but a larger one shrinks the flattest direction faster", _careful),
        Slip("the 2 in η* = 2/(λ_max + λ_min) is missing", _halved),
        Slip("the two numbers are swapped: first η*, then ρ*", lambda H: best(H)[::-1]),
        Slip("the square roots belong to momentum; plain descent has (κ - 1)/(κ + 1) with κ itself", _momentums),
    ),
    hints=(
        "The two extreme directions pull η apart: |1 - ηλ_min| falls as η grows, |1 - ηλ_max| rises past 1/λ_max.",
        "They meet where 1 - ηλ_min = ηλ_max - 1. Solve for η, and put it back for ρ.",
    ),
)


def power_iteration(product, v, steps):
    for _ in range(steps):
        v = product(v)
        v = v / v.norm()
    return torch.dot(v, product(v))


def _unnormalized(product, v, steps):
    for _ in range(steps):
        v = product(v)
    return torch.dot(v, product(v))


def _length(product, v, steps):
    for _ in range(steps):
        v = product(v)
        v = v / v.norm()
    return product(v).norm()


def _largest_entry(product, v, steps):
    for _ in range(steps):
        v = product(v)
        v = v / v.abs().max()
    return torch.dot(v, product(v))


def _once(product, v, steps):
    v = product(v)
    v = v / v.norm()
    return torch.dot(v, product(v))


_SADDLE = torch.tensor([[1.0, 0.5, 0.0], [0.5, -6.0, 0.0], [0.0, 0.0, 2.0]]).double()

POWER = Exercise(
    name="descent.power_iteration",
    asks="the eigenvalue that is largest in size, with its sign, as one number",
    solution=power_iteration,
    cases=(
        Case("two weights", (lambda v: TURNED @ v, torch.tensor([1.0, 0.0]), 40)),
        Case("a Hessian that is never formed", (lambda v: 3 * v + 4 * v.mean(), torch.tensor([1.0, 2.0, -0.5]), 60)),
        Case("the largest one is negative", (lambda v: _SADDLE @ v, torch.tensor([1.0, 1.0, 1.0]), 60)),
        Case("a start that is not of length 1", (lambda v: THREE @ v, torch.tensor([10.0, 0.0, 10.0]), 100)),
    ),
    slips=(
        Slip(
            "v grows from product to product; divide it by its length each time, or the quotient by v·v",
            _unnormalized,
        ),
        Slip("the length of Hv loses the sign of the eigenvalue; v·Hv keeps it", _length),
        Slip("v must have length 1 (the root of v·v) for v·Hv to be the eigenvalue", _largest_entry),
        Slip("one product is not enough: repeat it `steps` times", _once),
    ),
    hints=(
        "Write v in the eigenvectors of H: a product multiplies the share along eigenvector i by λᵢ. Which wins?",
        "Repeat: v = product(v), then v = v / v.norm().",
        "Once v is an eigenvector of length 1, Hv = λv, so v·Hv = λ.",
    ),
)
