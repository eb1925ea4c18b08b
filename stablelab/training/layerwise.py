"""The formula of `stablelab.formulas.layerwise` as an optimizer: LAMB."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ..formulas import trust_ratio
from .optimizers import Adam
from .shell import gradients, pieces


class Lamb(Adam):
    """LAMB, as `formulas.lamb`: each parameter is a layer, and a step is α times as long as its weights.

    Args:
        params: parameters, or dicts of groups with settings of their own.
        lr: learning rate α, 0 or more: the share of its own length that a layer moves in a step.
        betas: (β₁, β₂), each in [0, 1).
        eps: ε, 0 or more, outside the root.
        weight_decay: λ, 0 or more; part of the update that is rescaled.
        bias_correction: undo the pull of the running means towards zero.

    Raises:
        ValueError: a setting outside its range, in one line.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        bias_correction: bool = True,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, bias_correction)

    def update(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        beta1, beta2 = group["betas"]
        for t, thetas in self.by_step(parameters).items():
            g, m, v = gradients(thetas), self.kept(thetas, "exp_avg"), self.kept(thetas, "exp_avg_sq")
            for columns in pieces(g, m, v):
                self.average(beta1, beta2, *columns)
            c1, c2 = self.corrections(group, t)
            # The norms need whole tensors, so the direction is not cut into pieces: one scratch copy of the weights.
            updates = torch._foreach_sqrt(v)
            torch._foreach_add_(updates, c2 * group["eps"])
            updates = torch._foreach_div(m, updates)
            torch._foreach_mul_(updates, c2 / c1)
            if group["weight_decay"]:
                torch._foreach_add_(updates, thetas, alpha=group["weight_decay"])
            torch._foreach_mul_(
                updates, [trust_ratio(theta, update) for theta, update in zip(thetas, updates, strict=True)]
            )
            torch._foreach_add_(thetas, updates, alpha=-group["lr"])
