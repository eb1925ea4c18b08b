"""One step with a pace per layer: LAMB. Symbols, shapes and conventions are those of `descent`."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import _validation as checks
from .optimizers import adam_direction


def lamb(
    theta: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    t: int,
    learning_rate: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-6,
    weight_decay: float = 0.0,
    bias_correction: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """LAMB: AdamW whose step, in each layer, is α times as long as that layer's weights.

    Args:
        theta: weights of one layer (one tensor), any shape.
        g: gradient of the loss at theta, same shape.
        m: running mean of g, same shape; zeros before the first step.
        v: running mean of g², same shape; zeros before the first step.
        t: number of this step, from 1.
        learning_rate: α, 0 or more: the step's length as a share of ‖θ‖.
        beta1, beta2: β₁ and β₂, the share of m and of v that is kept, each in [0, 1).
        eps: ε, outside the root.
        weight_decay: λ, 0 or more; λθ is part of the update that is rescaled.
        bias_correction: undo the pull of m and v towards their start at zero.

    Returns:
        The new weights, m and v.

    Raises:
        ValueError: t is below 1, or the shapes differ.

    Source:
        You et al. 2020, "Large batch optimization for deep learning: training BERT in 76 minutes", Algorithm 2, with
        φ(z) = z.
    """
    checks.same_shape("theta", theta, "g", g)
    direction, m, v = adam_direction(g, m, v, t, beta1, beta2, eps, bias_correction)
    update = direction + weight_decay * theta
    return theta - learning_rate * trust_ratio(theta, update) * update, m, v


def trust_ratio(theta: Tensor, update: Tensor) -> Tensor:
    """‖θ‖ / ‖u‖, by which LAMB multiplies the update u of one layer.

    Convention, as in the authors' code: 1 where one of the norms is 0, so that a layer that starts at 0 can leave it.

    Args:
        theta: weights of one layer, any shape.
        update: Adam's direction plus λθ, same shape.

    Returns:
        One number, ().

    Raises:
        ValueError: the shapes differ.

    Source:
        You et al. 2020, Algorithm 2, with φ(z) = z.
    """
    checks.same_shape("theta", theta, "update", update)
    of_theta, of_update = torch.linalg.vector_norm(theta), torch.linalg.vector_norm(update)
    ratio = of_theta / of_update
    return torch.where((of_theta > 0) & (of_update > 0), ratio, torch.ones_like(ratio))
