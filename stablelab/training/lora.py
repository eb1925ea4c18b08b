"""LoRA in a model: its linear layers of some names get two thin matrices each, and nothing else is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from .._validation import number, seed_number, whole
from ..formulas.lora import lora, lora_merged


class LoraLinear(nn.Module):
    """A linear layer and a change of rank r, as ``formulas.lora``. At first the change is 0.

    Args:
        base: the layer; it is frozen.
        rank: r, at least 1.
        alpha: α, above 0.
        generator: of A's numbers, which are drawn as ``nn.Linear`` draws its weight.

    Raises:
        ValueError: a rank or α outside its range.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float, generator: torch.Generator | None = None) -> None:
        super().__init__()
        whole("rank", rank, 1)
        self.base = base.requires_grad_(False)
        self.alpha = number("alpha", alpha, above=0)
        bound = 1 / math.sqrt(base.in_features)
        drawn = torch.rand(rank, base.in_features, generator=generator)  # on the CPU: the same for every device
        self.A = nn.Parameter(((2 * drawn - 1) * bound).to(base.weight))  # (r, d)
        self.B = nn.Parameter(base.weight.new_zeros(base.out_features, rank))  # (k, r)

    def forward(self, x: Tensor) -> Tensor:
        return lora(x, self.base.weight, self.A, self.B, self.alpha, self.base.bias)

    def merged(self) -> nn.Linear:
        """The layer with the change added to its weight."""
        layer = nn.Linear(self.base.in_features, self.base.out_features, self.base.bias is not None, device="meta")
        layer.weight = nn.Parameter(lora_merged(self.base.weight, self.A, self.B, self.alpha).detach())
        layer.bias = self.base.bias
        return layer.requires_grad_()


def add_lora(
    model: nn.Module,
    targets: str | Sequence[str] = ("query", "value"),
    rank: int = 8,
    alpha: float = 16.0,
    trained: str | Sequence[str] = (),
    seed: int = 0,
) -> list[str]:
    """Put a change of low rank beside linear layers of a model, in place, and freeze all other parameters.

    Args:
        model: changed in place.
        targets: names of layers, the last part of the full name being enough: ``query`` is in every layer of a BERT.
        rank: r, at least 1.
        alpha: α, above 0.
        trained: names of modules that are trained as they are, such as a new head (``classifier``).
        seed: of the random matrices.

    Returns:
        The full names of the layers that were changed.

    Raises:
        ValueError: no linear layer, or no module, has such a name (the line says which there are), one is both a
            target and trained, or a number is outside its range. The model is as it was.

    Source:
        Hu et al. 2022, "LoRA: low-rank adaptation of large language models", Section 4.2; that queries and values are
        a good choice: Section 7.1.
    """
    whole("rank", rank, 1)
    number("alpha", alpha, above=0)
    seed_number("seed", seed)
    linear = {name: each for name, each in model.named_modules() if isinstance(each, nn.Linear) and name}
    found = _found(linear, targets, "linear layer")
    if not found:
        raise ValueError("targets is empty; it must name at least one linear layer, such as query")
    others = {name: each for name, each in model.named_modules() if name}
    kept = _found(others, trained, "module", [name for name, _ in model.named_children()])
    if both := [name for name in found if any(name == each or name.startswith(f"{each}.") for each in kept)]:
        raise ValueError(f"{both[0]} is in targets and in trained; it can be one of them")
    generator = torch.Generator().manual_seed(seed)
    model.requires_grad_(False)
    for name in found:
        _put(model, name, LoraLinear(linear[name], rank, alpha, generator))
    for name in kept:
        others[name].requires_grad_()
    return found


def merge_lora(model: nn.Module) -> None:
    """Put plain linear layers, with what was learned added to their weights, in the place of LoRA's; in place."""
    for name, each in list(model.named_modules()):
        if isinstance(each, LoraLinear):
            _put(model, name, each.merged())


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)


def _found(
    modules: Mapping[str, nn.Module], wanted: str | Sequence[str], what: str, shown: Sequence[str] | None = None
) -> list[str]:
    """Full names of those that are meant; a one-line ValueError that says what there is where one is missing."""
    wanted = (wanted,) if isinstance(wanted, str) else wanted
    meant = {each: [name for name in modules if f".{name}".endswith(f".{each}")] for each in wanted}
    if missing := [each for each, names in meant.items() if not names]:
        last = shown or list(dict.fromkeys(name.rpartition(".")[2] for name in modules))
        there = f"there are {', '.join(last)}" if modules else "there is none at all"
        raise ValueError(f"the model has no {what} named {' or '.join(missing)}; {there}")
    named = {name for names in meant.values() for name in names}
    return [name for name in modules if name in named]
