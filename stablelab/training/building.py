"""From settings to an optimizer: the workbook's own code or torch's fused one, and its numbers before each step."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from . import optimizers
from .layerwise import Lamb
from .settings import Settings


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that are trained; raises ValueError where there is none."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        raise ValueError("the model has no trainable parameter: every requires_grad is False; unfreeze something")
    return trainable


def build(groups: list[dict[str, Any]], settings: Settings) -> torch.optim.Optimizer:
    """A fresh optimizer for these parameter groups and settings; ``apply`` must set its numbers before each step."""
    own, theirs = _KINDS[settings.optimizer]
    kind = {"momentum": settings.momentum} if settings.optimizer in ("momentum", "nesterov") else {}
    if settings.optimizer == "nesterov":
        kind["nesterov"] = True
    if settings.uses_torch:
        return theirs(groups, lr=settings.learning_rate, fused=True, **kind)
    return own(groups, lr=settings.learning_rate, **kind)


def apply(settings: Settings, learning_rate: float, optimizer: torch.optim.Optimizer) -> tuple[float, ...]:
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


def needs_rebuild(old: Settings, new: Settings) -> bool:
    """Whether going from old to new means another optimizer, with fresh state."""
    return (old.optimizer, old.uses_torch) != (new.optimizer, new.uses_torch)


_KINDS: dict[str, tuple[Any, Any]] = {
    "sgd": (optimizers.GradientDescent, torch.optim.SGD),
    "momentum": (optimizers.Momentum, torch.optim.SGD),
    "nesterov": (optimizers.Momentum, torch.optim.SGD),
    "adam": (optimizers.Adam, torch.optim.Adam),
    "adamw": (optimizers.AdamW, torch.optim.AdamW),
    "lamb": (Lamb, None),  # torch has none
}
