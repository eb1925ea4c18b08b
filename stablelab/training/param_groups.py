"""What a model gives an optimizer: its layers, which of them train in which step, and how fast; and that optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from .optimizers import Adam, AdamW, GradientDescent, Lamb, Momentum
from .settings import Settings

_KINDS: dict[str, tuple[Any, Any]] = {  # ours and torch's
    "sgd": (GradientDescent, torch.optim.SGD),
    "momentum": (Momentum, torch.optim.SGD),
    "nesterov": (Momentum, torch.optim.SGD),
    "adam": (Adam, torch.optim.Adam),
    "adamw": (AdamW, torch.optim.AdamW),
    "lamb": (Lamb, None),  # torch has none
}


class Layers:
    """The layers of a model, from the head down to the input.

    Args:
        model: what is trained.
        names: of each layer, the modules or parameters (dotted names) that belong to it; None for one layer that
            holds everything.

    Raises:
        ValueError: a name that the model has not got, or a trainable parameter that no layer holds.
    """

    def __init__(self, model: nn.Module, names: Sequence[Sequence[str]] | None = None) -> None:
        self._model, self._all = model, tuple(model.modules())
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
        """Parameter groups for an optimizer; ``depth`` is 0 at the head.

        Of each layer one with those that decay (matrices and kernels), and one with those that do not (biases, norms
        and other vectors).
        """
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
        """Before a step: the model in training mode, what is not trained without gradients and in evaluation mode.

        So batch-norm statistics stand still there, and no dropout acts.
        """
        if not all(module.training for module in self._all):  # train() of 220 modules takes a millisecond
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


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that are trained; raises ValueError where there is none."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        raise ValueError("the model has no trainable parameter: every requires_grad is False; unfreeze something")
    return trainable


def build_optimizer(groups: list[dict[str, Any]], settings: Settings) -> torch.optim.Optimizer:
    """A fresh optimizer for these parameter groups; ``apply_settings`` must set its numbers before each step."""
    own, theirs = _KINDS[settings.optimizer]
    kind = {"momentum": settings.momentum} if settings.optimizer in ("momentum", "nesterov") else {}
    if settings.optimizer == "nesterov":
        kind["nesterov"] = True
    if settings.uses_torch:
        return theirs(groups, lr=settings.learning_rate, fused=True, **kind)
    return own(groups, lr=settings.learning_rate, **kind)


def apply_settings(settings: Settings, learning_rate: float, optimizer: torch.optim.Optimizer) -> tuple[float, ...]:
    """Write the numbers of the settings into every group; returns the learning rate of each group.

    Source of the learning rate that falls by a factor from layer to layer: Howard & Ruder 2018, "Universal language
    model fine-tuning for text classification", Section 3.2 (discriminative fine-tuning).
    """
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * settings.layer_decay ** group["depth"]
        group["weight_decay"] = settings.weight_decay if group["decays"] else 0.0
        if "betas" in group:
            group["betas"] = (settings.beta1, settings.beta2)
            group["eps"] = settings.eps
        if "bias_correction" in group:
            group["bias_correction"] = settings.bias_correction
        if settings.optimizer in ("momentum", "nesterov"):
            group["momentum"] = settings.momentum
    return tuple(group["lr"] for group in optimizer.param_groups)


def step_together(optimizer: torch.optim.Optimizer) -> None:
    """One step, in which groups of the same settings act as one: torch's optimizers do all anew for each group.

    BERT has a group for each layer, so that the learning rate can fall from layer to layer; mostly it does not. A layer
    that begins to train later than others has no averages yet, and torch's momentum cannot mix the two in one group.
    """
    groups = optimizer.param_groups
    merged: dict[object, dict[str, Any]] = {}
    for group in groups:
        same = tuple((name, value) for name, value in group.items() if name not in ("params", "decays", "depth"))
        for p in group["params"]:
            begun = bool(optimizer.state.get(p))
            merged.setdefault((same, begun), {**group, "params": []})["params"].append(p)
    optimizer.param_groups = list(merged.values())
    try:
        optimizer.step()
    finally:
        optimizer.param_groups = groups


def needs_rebuild(old: Settings, new: Settings) -> bool:
    """Whether going from old to new means another optimizer, with fresh state."""
    return (old.optimizer, old.uses_torch) != (new.optimizer, new.uses_torch)


def _part(model: nn.Module, name: str) -> nn.Module | nn.Parameter:
    try:
        return model.get_submodule(name)
    except AttributeError:
        pass
    try:
        return model.get_parameter(name)
    except AttributeError:
        raise ValueError(f"the model has no module or parameter {name!r}, which layers name") from None
