"""A model's layers, from the head down to the input: what layer-wise learning rates and gradual unfreezing count."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import nn

from .heads import new_modules

HAVE_MODES = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase)  # what differs between train() and eval()
FEW = 4  # with fewer layers than these under the head, a container that holds most of them is opened


def layers_of(model: nn.Module) -> tuple[tuple[str, ...], ...]:
    """The layers of a model, from the head (layer 0) down to the input.

    The head is all that is new for the task (``new_modules``), so that training layer 0 alone is what ``freeze``
    leaves trainable; a pre-trained pooler belongs to the layer below it. Under the head:

    - A model with a ``ModuleList`` (every Hugging Face transformer): each of the list's modules is a layer, the
      embeddings and whatever else stands before them is the lowest one, and what stands after them (a last norm, a
      pooler) belongs to the uppermost of them. Lists side by side that are equally long are one list of blocks.
    - Any other: its children, in the order in which they were registered. Where there are few of them, the container
      with most of the weight matrices is opened, until it is plain what follows what. A module without a matrix (a
      norm) belongs to the layer before it.

    So does a dropout that stands by itself: where the layer rests, the dropout behind it rests too.

    Args:
        model: any module with parameters.

    Returns:
        For each layer its dotted names. Most are names of modules; a parameter that belongs directly to a module with
        children (``class_token`` of a vision transformer) stands under its own dotted name. No name lies inside
        another, and together they hold every parameter exactly once, shared ones with the part that has them first.

    Raises:
        ValueError: the model has no parameters.

    Source:
        Howard and Ruder, "Universal language model fine-tuning for text classification", 2018, Section 3.2 and 3.3:
        learning rates and unfreezing by layer.
    """
    head = tuple(name for name, _ in new_modules(model))
    units = _units(model, head)
    if not any(True for _ in model.parameters()):
        raise ValueError(f"{type(model).__name__} has no parameters, so it has no layers")
    groups = [tuple(unit.name for unit in group) for group in reversed(_grouped(units))]
    return (head, *groups) if head else tuple(groups)


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


@dataclass(frozen=True)
class _Unit:
    """A part that stays whole: its dotted name, how many matrices it holds, and whether a ``ModuleList`` holds it."""

    name: str
    matrices: int
    in_list: bool

    @property
    def path(self) -> str:
        """The dotted name of what holds it."""
        return self.name.rpartition(".")[0]


def _units(model: nn.Module, head: tuple[str, ...]) -> list[_Unit]:
    """All but the head, in order, opened as far as ``layers_of`` says."""
    units = [*_walk(model, "", head)]
    while not any(unit.in_list for unit in units):
        bodies = [unit for unit in units if unit.matrices]
        largest = max(bodies, key=lambda unit: unit.matrices, default=None)
        if largest is None or len(bodies) >= FEW or not _holds_most(model, largest, bodies):
            break
        at = units.index(largest)
        units[at : at + 1] = _walk(model, largest.name, head)
    units = _side_by_side(units)
    held = {id(p) for name in head for p in _parameters(model, name)}
    return [unit for each in units for unit in _not_yet(model, each, held)]


def _walk(model: nn.Module, name: str, head: tuple[str, ...]) -> Iterator[_Unit]:
    """The parts of a module: those that hold a piece of the head, or a list, opened; the head itself left out."""
    in_list = isinstance(model.get_submodule(name), nn.ModuleList)
    for part in _parts(model, name):
        if part in head:
            continue
        has_head = any(each.startswith(f"{part}.") for each in head)
        if has_head or (not in_list and _has_list(model, part)):
            yield from _walk(model, part, head)
        else:
            yield _Unit(part, _matrices(model, part), in_list)


def _side_by_side(units: list[_Unit]) -> list[_Unit]:
    """Lists in one module that are equally long hold parts of the same blocks (XLM, FlauBERT): block by block."""
    sizes = Counter(unit.path for unit in units if unit.in_list)
    leading: dict[tuple[str, int], str] = {}
    for path, size in sizes.items():
        leading.setdefault((path.rpartition(".")[0], size), path)
    place = {unit.name: i for i, unit in enumerate(units)}

    def leader(unit: _Unit) -> str:
        if not unit.in_list:
            return unit.name
        name = leading[unit.path.rpartition(".")[0], sizes[unit.path]] + unit.name.removeprefix(unit.path)
        return name if name in place else unit.name

    ordered = sorted(units, key=lambda unit: place[leader(unit)])
    return [replace(unit, in_list=unit.in_list and leader(unit) == unit.name) for unit in ordered]


def _not_yet(model: nn.Module, unit: _Unit, held: set[int]) -> Iterator[_Unit]:
    """The unit, or the parts of it that hold no parameter of ``held``, which grows by what is given out."""
    mine = {id(p) for p in _parameters(model, unit.name)}
    if mine and mine <= held:
        return
    if mine.isdisjoint(held):
        held |= mine
        yield unit
        return
    for part in _parts(model, unit.name):
        yield from _not_yet(model, _Unit(part, _matrices(model, part), unit.in_list), held)


def _grouped(units: list[_Unit]) -> list[list[_Unit]]:
    """The units as layers, from the input up."""
    lists = any(unit.in_list for unit in units)
    opens = [unit.in_list if lists else unit.matrices > 0 for unit in units]
    if not lists and any(opens):
        opens[opens.index(True)] = False  # a class token goes with the first matrix, embeddings stay by themselves
    groups: list[list[_Unit]] = []
    for unit, new in zip(units, opens, strict=True):
        if new or not groups:
            groups.append([])
        groups[-1].append(unit)
    return groups


def _parts(model: nn.Module, name: str) -> list[str]:
    """Dotted names of a module's direct parameters, then of the children that count; none for a parameter."""
    prefix = f"{name}." if name else ""
    module = _module(model, name)
    if module is None:
        return []
    children = [n for n, child in module.named_children() if _counts(child)]
    return [prefix + n for n in (*dict(module.named_parameters(recurse=False)), *children)]


def _module(model: nn.Module, name: str) -> nn.Module | None:
    """The module of this name, or None where it is a parameter's."""
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None


def _parameters(model: nn.Module, name: str) -> list[nn.Parameter]:
    """Those of the module of this name, or the one parameter of this name."""
    module = _module(model, name)
    return [model.get_parameter(name)] if module is None else list(module.parameters())


def _matrices(model: nn.Module, name: str) -> int:
    """How many weight matrices and kernels the part of this name holds; 0 for a parameter that stands alone."""
    module = _module(model, name)
    return 0 if module is None else sum(p.ndim >= 2 for p in module.parameters())


def _counts(module: nn.Module) -> bool:
    """Whether it matters if a module is frozen: it has parameters, or acts otherwise in training."""
    acts = any(isinstance(each, HAVE_MODES) for each in module.modules())
    return acts or any(True for _ in module.parameters())


def _has_list(model: nn.Module, name: str) -> bool:
    module = _module(model, name)
    return module is not None and any(isinstance(each, nn.ModuleList) for each in module.modules())


def _holds_most(model: nn.Module, unit: _Unit, bodies: list[_Unit]) -> bool:
    """Whether a unit holds more than half of the matrices, in children of its own."""
    children = (_matrices(model, part) for part in _parts(model, unit.name))
    return any(children) and 2 * unit.matrices > sum(each.matrices for each in bodies)


def _word(model: nn.Module, layer: tuple[str, ...]) -> str:
    """The name in the code, or for one that is a mere number what it is."""
    main = max(layer, key=lambda name: _matrices(model, name))
    last = main.rpartition(".")[2]
    if not re.fullmatch(r"(.*_)?\d+", last):
        return last
    matrices = [p for p in _parameters(model, main) if p.ndim >= 2]
    if len(matrices) != 1:
        return "block"
    return "linear" if matrices[0].ndim == 2 else "convolution"


def _lowest(model: nn.Module, layer: tuple[str, ...], word: str, above: str) -> str:
    """The name of the layer that the input enters."""
    modules = {name: _module(model, name) for name in layer}
    tokens = any(module is None and model.get_parameter(name).ndim > 1 for name, module in modules.items())
    if tokens or any(isinstance(m, nn.Embedding) for each in modules.values() if each for m in each.modules()):
        return "embeddings"
    kernels = [p for name in layer for p in _parameters(model, name) if p.ndim >= 2]
    alone = len(kernels) == 1 and kernels[0].ndim > 2
    return "stem" if alone and above not in ("convolution", word) else word
