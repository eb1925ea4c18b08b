"""Sharpness-aware minimization (SAM): the gradient is taken where the loss nearby is highest."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .._validation import number
from .clipping import global_norm

SAFETY = 1e-12  # keeps the division finite where the gradient is zero


def sam_ascent(gradients: Sequence[Tensor], rho: float) -> list[Tensor]:
    """ρ g / ‖g‖: the move of length ρ along which the loss rises fastest, all weights together.

    A step of SAM takes the gradient at θ + this move and then steps from θ with it: two gradients for each step.

    Args:
        gradients: at θ, tensors of any shapes.
        rho: ρ, 0 or more.

    Returns:
        What to add to each parameter, in the shapes of the gradients.

    Raises:
        ValueError: ρ is negative.

    Source:
        Foret, Kleiner, Mobahi & Neyshabur 2021, "Sharpness-aware minimization for efficiently improving
        generalization", Equation 2 with p = 2.
    """
    number("rho", rho, at_least=0)
    scale = rho / (global_norm(gradients) + SAFETY)
    return [scale * g for g in gradients]
