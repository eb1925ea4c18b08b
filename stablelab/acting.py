"""Whether the settings that a run is asked for can act on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .training import Settings, Task
from .training.settings import AUGMENTATIONS

_LAYERS = ("layer_decay", "unfrozen", "unfreeze_every")


def check_acting(settings: Settings, parts: Mapping[str, Any], evaluate_every: int | None, task: Task) -> None:
    """Raise a one-line ValueError for the first setting that was asked for but cannot change anything in this run.

    Arguments:
        settings: as they were asked for; what is at its default was not.
        parts: what the run is made of: ``layers`` and ``augment`` as of ``Run``, ``trains`` for a head on its own.
        evaluate_every: as it was asked for; None if it was not.
        task: named in the message.
    """
    layers: Sequence[str] | None = getattr(parts.get("layers"), "names", None)
    for name, value, _ in settings.differences(Settings()):
        why = ""
        if name in _LAYERS:
            why = _no_layers(name, settings, layers)
        elif name in AUGMENTATIONS and parts.get("augment") is None:
            why = _no_pictures(task, cached="trains" in parts)
        elif name == "early_stopping" and evaluate_every == 0:
            why = "it looks at validations, and with evaluate_every=0 there are none"
        if why:
            raise ValueError(f"{name} is {value!r}, but {why}")


def _no_layers(name: str, settings: Settings, layers: Sequence[str] | None) -> str:
    """Why a setting of layers cannot act, if so."""
    if layers is None:
        return 'train="head" trains one layer only; give train="all" (with unfrozen=1 it starts with the head alone)'
    if len(layers) == 1:
        return "this model has one layer only"
    if name == "unfrozen" and settings.unfrozen is not None and settings.unfrozen > len(layers):
        return f"this model has {len(layers)} layers: {', '.join(layers)}"
    if name == "unfreeze_every" and settings.unfrozen is None:
        return "all layers train from the start; give the number of layers to start with, such as unfrozen=1"
    return ""


def _no_pictures(task: Task, cached: bool) -> str:
    """Why augmentation cannot act."""
    kind = getattr(task, "kind", None)
    if cached and kind == "image":
        return 'train="head" looks at each picture once; give train="all", unfrozen=1 to train the head on changed ones'
    if kind is None:
        return f'{task.name} does not say that it holds pictures (kind = "image")'
    return f"it changes pictures, and {task.name} holds {kind}s"
