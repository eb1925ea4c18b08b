"""What to call a model's layers in front of a person."""

from __future__ import annotations

import re
from collections import Counter

from torch import nn

from .layers import layers_of, matrices_in, module_of, parameters_of


def layer_names(model: nn.Module) -> tuple[str, ...]:
    """What to call each layer of ``layers_of(model)`` in front of a person, in the same order; no two are alike.

    Examples: ("head", "layer4", "layer3", "layer2", "layer1", "stem"); ("head", "block 6", …, "block 1", "embeddings").
    Numbers count from the input.
    """
    layers = layers_of(model)
    words = ["head", *(_word(model, layer) for layer in layers[1:])]
    if len(layers) > 1:
        words[-1] = _lowest(model, layers[-1], words[-1], words[-2])
    total, seen = Counter(words), Counter[str]()
    names = []
    for word in reversed(words):
        seen[word] += 1
        names.append(f"{word} {seen[word]}" if total[word] > 1 else word)
    return tuple(reversed(names))


def _word(model: nn.Module, layer: tuple[str, ...]) -> str:
    """The name in the code, or for one that is a mere number what it is."""
    main = max(layer, key=lambda name: matrices_in(model, name))
    last = main.rpartition(".")[2]
    if not re.fullmatch(r"(.*_)?\d+", last):
        return last
    matrices = [p for p in parameters_of(model, main) if p.ndim >= 2]
    if len(matrices) != 1:
        return "block"
    return "linear" if matrices[0].ndim == 2 else "convolution"


def _lowest(model: nn.Module, layer: tuple[str, ...], word: str, above: str) -> str:
    """The name of the layer that the input enters."""
    modules = {name: module_of(model, name) for name in layer}
    tokens = any(module is None and model.get_parameter(name).ndim > 1 for name, module in modules.items())
    if tokens or any(isinstance(m, nn.Embedding) for each in modules.values() if each for m in each.modules()):
        return "embeddings"
    kernels = [p for name in layer for p in parameters_of(model, name) if p.ndim >= 2]
    alone = len(kernels) == 1 and kernels[0].ndim > 2
    return "stem" if alone and above not in ("convolution", word) else word
