"""Which layers of a model train in which step, and how fast: layer-wise learning rates and gradual unfreezing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from .building import trainable_parameters
from .settings import Settings


class Layers:
    """The layers of a model, from the head down to the input.

    Arguments:
        model: what is trained.
        names: of each layer, the modules or parameters (dotted names) that belong to it; None for one layer that
            holds everything.

    Raises:
        ValueError: a name that the model has not got, or a trainable parameter that no layer holds.
    """

    def __init__(self, model: nn.Module, names: Sequence[Sequence[str]] | None = None) -> None:
        self._model = model
        left = {id(p): p for p in trainable_parameters(model)}
        found = [[_part(model, name) for name in layer] for layer in names or [[""]]]
        self._modules = [[part for part in layer if isinstance(part, nn.Module)] for layer in found]
        self._parameters: list[list[nn.Parameter]] = []
        for layer in found:
            each = (p for part in layer for p in (part.parameters() if isinstance(part, nn.Module) else [part]))
            self._parameters.append([left.pop(id(p)) for p in each if id(p) in left])
        if left:
            missing = next(name for name, p in model.named_parameters() if id(p) in left)
            raise ValueError(f"no layer holds the parameter {missing!r}; layers must hold every one that is trained")
        self._trained = len(self)

    def __len__(self) -> int:
        return len(self._parameters)

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups for an optimizer: of each layer those that decay (matrices and kernels) and those that do
        not (biases, norms and other vectors). ``depth`` is 0 at the head."""
        groups = []
        for depth, parameters in enumerate(self._parameters):
            for decays in (True, False):
                members = [p for p in parameters if (p.ndim >= 2) == decays]
                if members:
                    groups.append({"params": members, "decays": decays, "depth": depth})
        return groups

    def trained(self, settings: Settings, k: int) -> int:
        """How many layers, counted from the head, train in step k (from 0)."""
        if settings.unfrozen is None:
            return len(self)
        thawed = k // settings.unfreeze_every if settings.unfreeze_every else 0
        return min(len(self), settings.unfrozen + thawed)

    def hold(self, trained: int) -> None:
        """Before a step: the model in training mode, what is not trained without gradients and in evaluation mode, so
        that batch-norm statistics stand still and no dropout acts."""
        self._model.train()
        for modules in self._modules[trained:]:
            for module in modules:
                module.eval()
        if trained != self._trained:
            for depth, parameters in enumerate(self._parameters):
                for p in parameters:
                    p.requires_grad_(depth < trained)
            self._trained = trained

    def release(self) -> None:
        """Everything may train again."""
        if self._trained != len(self):
            self.hold(len(self))


def _part(model: nn.Module, name: str) -> nn.Module | nn.Parameter:
    try:
        return model.get_submodule(name)
    except AttributeError:
        pass
    try:
        return model.get_parameter(name)
    except AttributeError:
        raise ValueError(f"the model has no module or parameter {name!r}, which layers name") from None
