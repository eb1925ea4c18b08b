"""The update rules of ``formulas.descent`` for many heads at once, in place.

The formulas themselves would do, as they broadcast; but each of their operations makes a new tensor, and for hundreds
of heads the time goes into moving memory. ``tests/stability/test_heads.py`` holds both equal.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..training.settings import Settings

FAMILIES = ("sgd", "momentum", "nesterov", "adam", "adamw")


def kind(settings: Settings) -> tuple[Any, ...]:
    """What runs must have in common to be updated together; learning rate, threshold and decay may differ."""
    common = (settings.optimizer, settings.clip)
    if settings.optimizer in ("adam", "adamw"):
        return (*common, settings.beta1, settings.beta2, settings.eps, settings.bias_correction)
    return common if settings.optimizer == "sgd" else (*common, settings.momentum)


class Rule:
    """One family's update of the weights of R runs.

    Arguments:
        settings: of any of the runs, which are of one ``kind``.
        theta: (R, C, P) the weights; updated in place.
        matrix: the first so many of the P columns are the weight matrix, which decays; the rest does not.
        weight_decay: (R, 1, 1) λ of each run.
    """

    def __init__(self, settings: Settings, theta: Tensor, matrix: int, weight_decay: Tensor) -> None:
        self.settings, self.theta = settings, theta
        self.matrix = theta[..., :matrix]  # (R, C, D)
        self.weight_decay = weight_decay if weight_decay.any() else None
        states = {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2, "adamw": 2}[settings.optimizer]
        self.state = [torch.zeros_like(theta) for _ in range(states)]
        self._move = {0: self._descent, 1: self._momentum, 2: self._adam}[states]

    def update(self, g: Tensor, t: int, learning_rates: Tensor) -> None:
        """Step t (from 1) along the gradients g (R, C, P), which are used up; ``learning_rates`` is (R, 1, 1)."""
        if self.weight_decay is not None and self.settings.optimizer == "adamw":
            self.matrix.mul_(1 - learning_rates * self.weight_decay)
        elif self.weight_decay is not None:
            g[..., : self.matrix.shape[-1]].addcmul_(self.matrix, self.weight_decay)
        self._move(g, t, learning_rates)

    def _descent(self, g: Tensor, t: int, learning_rates: Tensor) -> None:
        self.theta.addcmul_(g, learning_rates, value=-1)

    def _momentum(self, g: Tensor, t: int, learning_rates: Tensor) -> None:
        (b,), beta = self.state, self.settings.momentum
        b.mul_(beta).add_(g)  # from zero, so that b_1 = g_1
        direction = g.add_(b, alpha=beta) if self.settings.optimizer == "nesterov" else b
        self.theta.addcmul_(direction, learning_rates, value=-1)

    def _adam(self, g: Tensor, t: int, learning_rates: Tensor) -> None:
        (m, v), own = self.state, self.settings
        m.lerp_(g, 1 - own.beta1)
        v.mul_(own.beta2).addcmul_(g, g, value=1 - own.beta2)
        # m̂ / (√v̂ + ε) = (c2 / c1) · m / (√v + c2 ε), as in training.optimizers.Adam: two numbers are corrected
        # instead of two tensors. g is no longer needed and holds the quotient.
        c1, c2 = (1 - own.beta1**t, math.sqrt(1 - own.beta2**t)) if own.bias_correction else (1.0, 1.0)
        torch.sqrt(v, out=g)
        torch.div(m, g.add_(c2 * own.eps), out=g)
        self.theta.addcmul_(g, learning_rates * (c2 / c1), value=-1)
