"""The largest eigenvalue of a symmetric matrix that is known by its products with vectors only."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def largest_eigenvalue(
    product: Callable[[Tensor], Tensor], start: Tensor, iterations: int = 30, tolerance: float = 5e-2
) -> float:
    """λ_max by Lanczos' method.

    Power iteration would find the eigenvalue that is largest in size, a negative one where that is the largest, and
    creep where several are close. Lanczos finds the largest one itself, in far fewer products. The directions are made
    orthogonal to the last two only, so three vectors are all that is kept: what rounding then brings back are further
    copies of eigenvalues already found, which do no harm to the largest one (Paige 1980).

    Args:
        product: the matrix times a vector (D,); what it returns is changed in place.
        start: (D,) not zero; best at random, since a direction it lacks is not found. It is changed in place.
        iterations: products at most.
        tolerance: stop when the residual r = ‖Hx - λx‖ of the estimate is below this share of the largest eigenvalue
            in size. There is an eigenvalue within r of the estimate; where it stands apart from the others by a gap,
            within r² / gap, so the default finds λ_max to about 1 % as a rule.

    Returns:
        λ_max; where the iterations did not suffice, a number below it.

    Source:
        Lanczos 1950, "An iteration method for the solution of the eigenvalue problem of linear differential and
        integral operators"; Paige 1980, "Accuracy and effectiveness of the Lanczos algorithm for the symmetric
        eigenproblem"; the two bounds: Parlett 1998, "The symmetric eigenvalue problem", Chapters 11 and 13.
    """
    q = start.div_(torch.linalg.vector_norm(start))
    before = torch.zeros_like(q)
    diagonal: list[float] = []
    beside: list[float] = []
    value = length = 0.0
    for _ in range(iterations):
        w = product(q).sub_(before, alpha=length)
        diagonal.append(torch.dot(q, w).item())
        w.sub_(q, alpha=diagonal[-1])
        length = torch.linalg.vector_norm(w).item()
        value, size, last = _top(diagonal, beside)
        if length * last <= tolerance * size:
            break
        beside.append(length)
        before, q = q, torch.div(w, length, out=before)
    return value


def _top(diagonal: list[float], beside: list[float]) -> tuple[float, float, float]:
    """Of the tridiagonal matrix: largest eigenvalue, largest one in size, last entry of the first one's eigenvector."""
    T = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    for sign in (1, -1):
        T = T + torch.diag(torch.tensor(beside, dtype=torch.float64), sign)
    values, vectors = torch.linalg.eigh(T)
    return values[-1].item(), values.abs().max().item(), abs(vectors[-1, -1].item())
