"""The update rules of ``formulas.descent`` for many heads at once, in place.

The formulas themselves would do, as they broadcast; but each of their operations makes a new tensor, and for hundreds
of heads the time goes into moving memory. ``tests/stability/test_heads.py`` holds both equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...training.settings import Settings

PIECE = 100_000  # weights that are updated together: with their gradient and state about a megabyte
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
        matrix: D, the first so many of the P columns, are the weight matrix, which decays; the rest does not.
        weight_decay: (R, 1, 1) λ of each run.
    """

    def __init__(self, settings: Settings, theta: Tensor, matrix: int, weight_decay: Tensor) -> None:
        self.settings, self.matrix = settings, matrix
        self.decays = bool(weight_decay.any())
        states = {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2, "adamw": 2}[settings.optimizer]
        moves: tuple[Callable[..., None], ...] = self._descent, self._momentum, self._adam
        self._move = moves[states]
        # A rule of several operations goes over a few runs at a time, which stay in the core's cache meanwhile.
        self._few = max(1, PIECE // theta[0].numel()) if states else len(theta)
        columns = [theta, weight_decay, *(torch.zeros_like(theta) for _ in range(states))]
        self._pieces = list(zip(*(column.split(self._few) for column in columns), strict=True))

    def update(self, g: Tensor, t: int, learning_rates: Tensor) -> None:
        """Step t (from 1) along the gradients g (R, C, P), which are used up; ``learning_rates`` is (R, 1, 1)."""
        moving = zip(self._pieces, g.split(self._few), learning_rates.split(self._few), strict=True)
        for (theta, weight_decay, *state), own, rates in moving:
            if self.decays and self.settings.optimizer == "adamw":
                theta[..., : self.matrix].mul_(1 - rates * weight_decay)
            elif self.decays:
                own[..., : self.matrix].addcmul_(theta[..., : self.matrix], weight_decay)
            self._move(theta, own, t, rates, *state)

    def _descent(self, theta: Tensor, g: Tensor, t: int, rates: Tensor) -> None:
        theta.addcmul_(g, rates, value=-1)

    def _momentum(self, theta: Tensor, g: Tensor, t: int, rates: Tensor, b: Tensor) -> None:
        beta = self.settings.momentum
        b.mul_(beta).add_(g)  # from zero, so that b_1 = g_1
        direction = g.add_(b, alpha=beta) if self.settings.optimizer == "nesterov" else b
        theta.addcmul_(direction, rates, value=-1)

    def _adam(self, theta: Tensor, g: Tensor, t: int, rates: Tensor, m: Tensor, v: Tensor) -> None:
        own = self.settings
        m.lerp_(g, 1 - own.beta1)
        v.mul_(own.beta2).addcmul_(g, g, value=1 - own.beta2)
        # m̂ / (√v̂ + ε) = (c2 / c1) · m / (√v + c2 ε), as in training.optimizers.Adam: two numbers are corrected
        # instead of two tensors. g is no longer needed and holds the quotient.
        c1, c2 = (1 - own.beta1**t, math.sqrt(1 - own.beta2**t)) if own.bias_correction else (1.0, 1.0)
        torch.sqrt(v, out=g)
        torch.div(m, g.add_(c2 * own.eps), out=g)
        theta.addcmul_(g, rates * (c2 / c1), value=-1)
