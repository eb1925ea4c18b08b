"""The formulas of `stablelab.formulas.optimizers` as optimizers: the same mathematics, in place, many tensors at once.

Each is a `torch.optim.Optimizer`: parameter groups, `state_dict`, learning-rate schedulers all work. State is kept
under torch's names and in torch's conventions, so these classes can take over a state_dict of torch's own.
`p.grad` is only read: whoever measures it after the step finds what backward left (or what clipping made of it).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from .. import _validation as checks
from .shell import Shell, gradients, pieces


class GradientDescent(Shell):
    """Gradient descent, as `formulas.gradient_descent`.

    Args:
        params: parameters, or dicts of groups with settings of their own.
        lr: learning rate α, 0 or more.
        weight_decay: λ, 0 or more.

    Raises:
        ValueError: a setting outside its range, in one line.
    """

    refused = (*Shell.refused, "momentum")

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    def update(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        lr, weight_decay = group["lr"], group["weight_decay"]
        # θ - α (g + λθ) with the brackets opened: no scratch space for g + λθ.
        if weight_decay:
            torch._foreach_mul_(parameters, 1 - lr * weight_decay)
        torch._foreach_add_(parameters, gradients(parameters), alpha=-lr)


class Momentum(Shell):
    """Momentum and, with `nesterov`, Nesterov's momentum, as `formulas.momentum`.

    Args:
        params: parameters, or dicts of groups with settings of their own.
        lr: learning rate α, 0 or more.
        momentum: β, in [0, 1).
        weight_decay: λ, 0 or more.
        nesterov: look ahead.

    Raises:
        ValueError: a setting outside its range, in one line.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov})

    def check(self, settings: dict[str, Any]) -> None:
        checks.number("momentum", settings["momentum"], at_least=0, below=1)
        checks.switch("nesterov", settings["nesterov"])

    def update(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        lr, beta, weight_decay = group["lr"], group["momentum"], group["weight_decay"]
        # The buffer starts at zero, so that the first step makes it g_1, which is where the formula starts.
        buffers = self.kept(parameters, "momentum_buffer")
        for theta, g, b in pieces(parameters, gradients(parameters), buffers):
            torch._foreach_mul_(b, beta)
            torch._foreach_add_(b, g)
            if weight_decay:
                torch._foreach_add_(b, theta, alpha=weight_decay)
            if not group["nesterov"]:
                torch._foreach_add_(theta, b, alpha=-lr)
                continue
            # θ - α (g + λθ + βb) with the brackets opened, as in GradientDescent.
            if weight_decay:
                torch._foreach_mul_(theta, 1 - lr * weight_decay)
            torch._foreach_add_(theta, g, alpha=-lr)
            torch._foreach_add_(theta, b, alpha=-lr * beta)


class Adam(Shell):
    """Adam, as `formulas.adam`: weight decay inside the gradient.

    Args:
        params: parameters, or dicts of groups with settings of their own.
        lr: learning rate α, 0 or more.
        betas: (β₁, β₂), each in [0, 1).
        eps: ε, 0 or more, outside the root.
        weight_decay: λ, 0 or more.
        bias_correction: undo the pull of the running means towards zero. (A setting that torch's Adam does not have.)

    Raises:
        ValueError: a setting outside its range, in one line.
    """

    _decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        bias_correction: bool = True,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "bias_correction": bias_correction})

    def check(self, settings: dict[str, Any]) -> None:
        betas = settings["betas"]
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise ValueError(f"betas is {betas!r}; it must be a pair of numbers such as (0.9, 0.999)")
        for name, beta in zip(("beta1", "beta2"), betas, strict=True):
            checks.number(name, beta, at_least=0, below=1)
        checks.number("eps", settings["eps"], at_least=0)
        checks.switch("bias_correction", settings["bias_correction"])

    def update(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        for t, members in self.by_step(parameters).items():
            columns = members, gradients(members), self.kept(members, "exp_avg"), self.kept(members, "exp_avg_sq")
            for theta, g, m, v in pieces(*columns):
                self._move(group, t, theta, g, m, v)

    def by_step(self, parameters: list[Tensor]) -> dict[int, list[Tensor]]:
        """Count a step for each; a parameter that had no gradient in some step has taken fewer than others."""
        by_step: dict[int, list[Tensor]] = defaultdict(list)
        for p in parameters:
            state = self.state[p]
            state["step"] = state["step"] + 1 if "step" in state else torch.tensor(1.0)
            by_step[int(state["step"])].append(p)
        return by_step

    @staticmethod
    def average(beta1: float, beta2: float, g: list[Tensor], m: list[Tensor], v: list[Tensor]) -> None:
        """Take g into m, and its square into v."""
        torch._foreach_lerp_(m, g, 1 - beta1)
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, g, g, 1 - beta2)

    @staticmethod
    def corrections(group: dict[str, Any], t: int) -> tuple[float, float]:
        """c1 = 1 - β₁ᵗ and c2 = √(1 - β₂ᵗ). With them m̂ / (√v̂ + ε) = (c2 / c1) · m / (√v + c2 ε): correcting two
        numbers instead of two tensors saves a pass over the memory."""
        beta1, beta2 = group["betas"]
        return (1 - beta1**t, math.sqrt(1 - beta2**t)) if group["bias_correction"] else (1.0, 1.0)

    def _move(
        self, group: dict[str, Any], t: int, theta: list[Tensor], g: list[Tensor], m: list[Tensor], v: list[Tensor]
    ) -> None:
        lr, (beta1, beta2), weight_decay = group["lr"], group["betas"], group["weight_decay"]
        if weight_decay and self._decoupled:
            torch._foreach_mul_(theta, 1 - lr * weight_decay)
        elif weight_decay:
            g = list(torch._foreach_add(g, theta, alpha=weight_decay))
        self.average(beta1, beta2, g, m, v)
        c1, c2 = self.corrections(group, t)
        denominator = torch._foreach_sqrt(v)
        torch._foreach_add_(denominator, c2 * group["eps"])
        torch._foreach_addcdiv_(theta, m, denominator, -lr * c2 / c1)


class AdamW(Adam):
    """AdamW, as `formulas.adamw`: weight decay beside the gradient. Arguments as Adam; the decay is 0.01, as torch."""

    _decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        bias_correction: bool = True,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, bias_correction)
