"""What the workbook's optimizers share: the plumbing around a formula, and how memory is walked over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from .. import _validation as checks

# Elements that are worked on at a time on a CPU. The tensors that one update reads and its scratch space then stay in
# cache from one operation to the next; large enough for the cost of starting an operation not to matter.
PIECE = 2**18


class Shell(torch.optim.Optimizer):
    """What the optimizers share; a subclass says in `update` how parameters with a gradient move."""

    # What torch's optimizers can do and this one cannot: a state_dict that asks for it must not be silently misread.
    refused: ClassVar[tuple[str, ...]] = ("amsgrad", "maximize", "dampening")

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; settings that it does not name are the optimizer's defaults."""
        settings = {**self.defaults, **param_group}
        for name in ("lr", "weight_decay"):
            checks.number(name, settings[name], at_least=0)
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
            parameters = [p for p in group["params"] if p.grad is not None]
            for p in parameters:
                if p.grad.layout != torch.strided or p.is_complex():
                    raise ValueError(f"{type(self).__name__} needs dense real gradients, not {p.grad.layout} {p.dtype}")
            if parameters:
                self.update(group, parameters)
        return loss

    def check(self, settings: dict[str, Any]) -> None:
        """Raise a one-line ValueError for a setting of a subclass's own that makes no sense."""

    def update(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        """Move the parameters of one group, each of which has a gradient."""
        raise NotImplementedError

    def kept(self, parameters: list[Tensor], name: str) -> list[Tensor]:
        """The tensors that are kept for the parameters under this name; zeros where there is none yet."""
        for p in parameters:
            if self.state[p].get(name) is None:
                self.state[p][name] = torch.zeros_like(p, memory_format=torch.preserve_format)
        return [self.state[p][name] for p in parameters]


def gradients(parameters: list[Tensor]) -> list[Tensor]:
    """The gradients of parameters that have one."""
    return [p.grad for p in parameters if p.grad is not None]


def pieces(*columns: list[Tensor]) -> Iterator[list[list[Tensor]]]:
    """Walk over equally shaped lists of tensors together, about PIECE elements at a time.

    Large tensors are cut along their first dimension, small ones come several at once. On a GPU, where starting an
    operation is what costs, everything comes in one go.
    """
    if columns[0][0].device.type != "cpu":
        yield list(columns)
        return
    waiting: list[tuple[Tensor, ...]] = []
    size = 0
    for row in zip(*columns, strict=True):
        for cut in _cut(row):
            waiting.append(cut)
            size += cut[0].numel()
            if size >= PIECE:
                yield [list(column) for column in zip(*waiting, strict=True)]
                waiting, size = [], 0
    if waiting:
        yield [list(column) for column in zip(*waiting, strict=True)]


def _cut(row: tuple[Tensor, ...]) -> Iterable[tuple[Tensor, ...]]:
    shape, size = row[0].shape, row[0].numel()
    if size <= PIECE:
        return [row]
    rows = max(1, PIECE * shape[0] // size)
    return zip(*(tensor.split(rows) for tensor in row), strict=True)
