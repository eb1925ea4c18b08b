"""The formulas of `stablelab.formulas.optimizers` as optimizers: torch's plumbing around the very same functions.

Each is a `torch.optim.Optimizer`: parameter groups, `state_dict`, learning-rate schedulers all work. State is kept
under torch's names and in torch's conventions, so these classes can take over a state_dict of torch's own.
`p.grad` is only read: whoever measures it after the step finds what backward left (or what clipping made of it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from .._validation import number, switch
from ..formulas.optimizers import adam_, adamw_, gradient_descent_, lamb_, momentum_

# Elements that are worked on at a time on a CPU. What one update reads, and the scratch space of its formula, then stay
# in a core's cache from one operation to the next; large enough for the cost of starting an operation not to matter.
PIECE = 2**16


class FormulaOptimizer(torch.optim.Optimizer):
    """What the optimizers share; a subclass says in `update` how a parameter with a gradient moves."""

    # What torch's optimizers can do and this one cannot: a state_dict that asks for it must not be silently misread.
    refused: ClassVar[tuple[str, ...]] = ("amsgrad", "maximize", "dampening")

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; settings that it does not name are the optimizer's defaults."""
        settings = {**self.defaults, **param_group}
        for name in ("lr", "weight_decay"):
            number(name, settings[name], at_least=0)
        self.check(settings)
        super().add_param_group(param_group)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over the state of a state_dict or a pickle; called by torch for both."""
        for group in state["param_groups"]:
            for name in self.refused:
                if group.get(name):
                    raise ValueError(f"the saved state has {name} {group[name]!r}; {type(self).__name__} has no {name}")
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step with the gradients in `p.grad`; a parameter whose gradient is None stays, with its state.

        Args:
            closure: recomputes the loss and the gradients first.

        Returns:
            What closure returned, or None.

        Raises:
            ValueError: a gradient is sparse or complex.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and (p.grad.layout != torch.strided or p.is_complex()):
                    raise ValueError(f"{type(self).__name__} needs dense real gradients, not {p.grad.layout} {p.dtype}")
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.update(p, p.grad, group)
        return loss

    def check(self, settings: dict[str, Any]) -> None:
        """Raise a one-line ValueError for a setting of a subclass's own that makes no sense."""

    def update(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Move one parameter of a group along its gradient."""
        raise NotImplementedError

    def kept(self, p: Tensor, name: str) -> Tensor:
        """The tensor that is kept for a parameter under this name; zeros where there is none yet."""
        if self.state[p].get(name) is None:
            self.state[p][name] = torch.zeros_like(p, memory_format=torch.preserve_format)
        return self.state[p][name]


def pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Walk over equally shaped tensors together, about PIECE elements at a time, cut along their first dimension.

    On a GPU, where starting an operation is what costs, they come whole.
    """
    shape, size = tensors[0].shape, tensors[0].numel()
    if size <= PIECE or tensors[0].device.type != "cpu":
        return iter([tensors])
    rows = max(1, PIECE * shape[0] // size)
    return zip(*(tensor.split(rows) for tensor in tensors), strict=True)


class GradientDescent(FormulaOptimizer):
    """Gradient descent, as `formulas.gradient_descent`.

    Args:
        params: parameters, or dicts of groups with settings of their own.
        lr: learning rate α, 0 or more.
        weight_decay: λ, 0 or more.

    Raises:
        ValueError: a setting outside its range, in one line.
    """

    refused = (*FormulaOptimizer.refused, "momentum")

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    def update(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        for theta, g in pieces(p, gradient):
            gradient_descent_(theta, g, group["lr"], group["weight_decay"])


class Momentum(FormulaOptimizer):
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
        number("momentum", settings["momentum"], at_least=0, below=1)
        switch("nesterov", settings["nesterov"])

    def update(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        settings = group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]
        for theta, g, b in pieces(p, gradient, self.kept(p, "momentum_buffer")):
            momentum_(theta, g, b, *settings)


class Adam(FormulaOptimizer):
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

    formula: ClassVar[Callable[..., None]] = staticmethod(adam_)
    in_pieces: ClassVar[bool] = True  # whether each weight moves without looking at the others

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
            number(name, beta, at_least=0, below=1)
        number("eps", settings["eps"], at_least=0)
        switch("bias_correction", settings["bias_correction"])

    def update(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[p]
        state["step"] = state["step"] + 1 if "step" in state else torch.tensor(1.0)
        columns = p, gradient, self.kept(p, "exp_avg"), self.kept(p, "exp_avg_sq")
        for theta, g, m, v in pieces(*columns) if self.in_pieces else [columns]:
            self.formula(
                theta,
                g,
                m,
                v,
                int(state["step"]),
                group["lr"],
                *group["betas"],
                group["eps"],
                group["weight_decay"],
                group["bias_correction"],
            )


class AdamW(Adam):
    """AdamW, as `formulas.adamw`: weight decay beside the gradient. Arguments as Adam; the decay is 0.01, as torch."""

    formula: ClassVar[Callable[..., None]] = staticmethod(adamw_)

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

    formula: ClassVar[Callable[..., None]] = staticmethod(lamb_)
    in_pieces: ClassVar[bool] = False  # the norms need whole tensors

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
