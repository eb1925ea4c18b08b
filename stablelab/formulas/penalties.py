"""What large weights cost: the L1 and the L2 penalty. Multiply by a strength λ and add to the loss."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def l1(parameters: Tensor | Iterable[Tensor]) -> Tensor:
    """Σ |θ_i| over every element of every parameter.

    Its gradient, sign(θ), pulls equally hard however small the weight is, until it is exactly zero; there the
    gradient is taken as 0.

    Args:
        parameters: a tensor, or any number of them, of any shapes (`model.parameters()`).

    Returns:
        The penalty, a 0-dim tensor.

    Raises:
        ValueError: there are no parameters.

    Source:
        Tibshirani 1996, "Regression shrinkage and selection via the lasso"; Goodfellow, Bengio & Courville 2016,
        "Deep learning", Section 7.1.2.
    """
    return torch.stack([theta.abs().sum() for theta in _listed(parameters)]).sum()


def l2(parameters: Tensor | Iterable[Tensor]) -> Tensor:
    """½ Σ θ_i² over every element of every parameter.

    Convention: with the ½ the gradient is θ itself, so that λ · l2 in the loss is a `weight_decay` of λ in gradient
    descent. (In Adam, too, it is; in AdamW it is not: that is AdamW's point.)

    Args:
        parameters: a tensor, or any number of them, of any shapes (`model.parameters()`).

    Returns:
        The penalty, a 0-dim tensor.

    Raises:
        ValueError: there are no parameters.

    Source:
        Goodfellow, Bengio & Courville 2016, "Deep learning", Section 7.1.1.
    """
    return 0.5 * torch.stack([(theta**2).sum() for theta in _listed(parameters)]).sum()


def _listed(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    if not listed:
        raise ValueError("a penalty needs at least one parameter (model.parameters() can be used up only once)")
    return listed
