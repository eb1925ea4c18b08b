"""The topmost pre-trained layers of a model drawn anew."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from .._validation import seed_number, whole
from .layers import layers_of
from .rng import seeded_rng

Model = TypeVar("Model", bound=nn.Module)


def reinitialize_layers(model: Model, layers: int = 1, seed: int = 0) -> Model:
    """Throw away what the topmost pre-trained layers have learned: draw their weights as before pre-training.

    The head stays as it is. A pooler goes with the layer under it, so that of a BERT the pooler and so many of its
    blocks are new. In a model of Hugging Face's matrices come from N(0, σ²), with the σ of its configuration, biases
    are 0 and norms the identity; any other module is drawn by its own ``reset_parameters``.

    Args:
        model: on the CPU; changed in place.
        layers: how many of ``layers_of(model)`` are new, counted from the head (which does not count), at least 1.
        seed: of the new weights, ≥ 0; the global generator is not touched.

    Returns:
        The model.

    Raises:
        ValueError: the model has not got so many layers under its head, or is not on the CPU.

    Source:
        Zhang, Wu, Katiyar, Weinberger & Artzi 2021, "Revisiting few-sample BERT fine-tuning", Section 5.
    """
    under_the_head = layers_of(model)[1:]
    whole("layers", layers, at_least=1)
    if layers > len(under_the_head):
        raise ValueError(f"layers is {layers}; under its head this model has {len(under_the_head)}")
    if any(p.device.type != "cpu" for p in model.parameters()):
        raise ValueError("the model is not on the CPU; draw its layers anew before it is moved")
    sigma = getattr(getattr(model, "config", None), "initializer_range", None)
    mixed = (seed_number("seed", seed) * 0x9E3779B97F4A7C15 + 1) % 2**63  # another stream than that of a new head
    with seeded_rng(mixed), torch.no_grad():
        for names in under_the_head[:layers]:
            for name in names:
                for module in model.get_submodule(name).modules():
                    _draw(module, sigma)
    source = getattr(model, "stablelab_source", None)
    if source is not None:
        model.stablelab_source = f"{source}, {layers} new top layer{'s' if layers > 1 else ''}"  # type: ignore[assignment]
    return model


def _draw(module: nn.Module, sigma: float | None) -> None:
    if sigma is not None and isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, 0.0, sigma)
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    elif callable(reset := getattr(module, "reset_parameters", None)):
        reset()
