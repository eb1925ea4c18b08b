"""A checkpoint as tensors with names and a few plain values, which is what files can hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from .checkpoints import Best, Checkpoint
from .settings import Settings


def taken_apart(checkpoint: Checkpoint) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a checkpoint, contiguous, by names without doubles; and all else, as JSON values."""
    best, optimizer = checkpoint.best, checkpoint.optimizer
    per_parameter = {} if optimizer is None else optimizer["state"]
    plain = {
        i: {name: value for name, value in state.items() if not isinstance(value, Tensor)}
        for i, state in per_parameter.items()
    }
    tensors = dict(_named(checkpoint))
    values = {
        "step": checkpoint.step,
        "safe_step": checkpoint.safe_step,
        "settings": None if checkpoint.settings is None else checkpoint.settings.to_dict(),
        "validation_losses": list(checkpoint.validation_losses),
        "best": None if best is None else {"step": best.step, "loss": best.loss},
        "optimizer": None if optimizer is None else {"state": plain, "param_groups": optimizer["param_groups"]},
        # Optimizers walk over a weight and its state side by side in memory, so the order in memory must come back too.
        "strides": {name: tensor.stride() for name, tensor in tensors.items() if not tensor.is_contiguous()},
    }
    return {name: tensor.contiguous() for name, tensor in tensors.items()}, values


def put_together(tensors: dict[str, Tensor], values: dict[str, Any]) -> Checkpoint:
    """The checkpoint that ``taken_apart`` took apart. Raises KeyError or TypeError where something is missing."""
    parts: dict[str, dict[str, Tensor]] = {"weights": {}, "best": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        if name in values["strides"]:
            ordered = torch.empty_strided(tensor.shape, values["strides"][name], dtype=tensor.dtype)
            tensor = ordered.copy_(tensor)
        part, _, rest = name.partition("/")
        parts[part][rest] = tensor
    optimizer, best, settings = values["optimizer"], values["best"], values["settings"]
    if optimizer is not None:
        state = {int(i): dict(plain) for i, plain in optimizer["state"].items()}
        for name, tensor in parts["optimizer"].items():
            i, _, key = name.partition("/")
            state[int(i)][key] = tensor
        optimizer = {"state": state, "param_groups": optimizer["param_groups"]}
    return Checkpoint(
        step=values["step"],
        settings=None if settings is None else Settings.from_dict(settings),
        weights=parts["weights"],
        optimizer=optimizer,
        validation_losses=tuple(values["validation_losses"]),
        best=None if best is None else Best(best["step"], best["loss"], parts["best"]),
        safe_step=values["safe_step"],
    )


def _named(checkpoint: Checkpoint) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in checkpoint.weights.items():
        yield f"weights/{name}", tensor
    if checkpoint.best is not None:
        for name, tensor in checkpoint.best.weights.items():
            yield f"best/{name}", tensor
    if checkpoint.optimizer is not None:
        for i, state in checkpoint.optimizer["state"].items():
            for name, value in state.items():
                if isinstance(value, Tensor):
                    yield f"optimizer/{i}/{name}", value
