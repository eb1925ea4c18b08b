"""LoRA by peft, with one clear line where a model has no such layers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from .._validation import number, seed_number, whole


def lora(
    model: nn.Module,
    targets: str | Sequence[str] = ("query", "value"),
    *,
    rank: int = 8,
    alpha: float = 16.0,
    trained: str | Sequence[str] = "classifier",
    seed: int = 0,
) -> nn.Module:
    """The model with a change of low rank beside some linear layers (``formulas.lora``), and all else frozen.

    It is a model of ``peft``: ``merge_and_unload()`` adds what was learned to the weights.

    Args:
        model: changed in place, and wrapped.
        targets: names of linear layers, the last part of the full name being enough: ``query`` is in every layer of a
            BERT.
        rank: r, at least 1.
        alpha: α, above 0.
        trained: names of modules that are trained as they are, such as a new head; ``()`` for none.
        seed: of the random matrices.

    Raises:
        ValueError: no linear layer, or no module, has such a name (the line says which there are), or a number is
            outside its range. The model is as it was.

    Source:
        Hu et al. 2022, "LoRA: low-rank adaptation of large language models", Section 4.1; that queries and values are
        a good choice: Section 7.1.
    """
    whole("rank", rank, 1)
    number("alpha", alpha, above=0)
    seed_number("seed", seed)
    targets, trained = ([each] if isinstance(each, str) else list(each) for each in (targets, trained))
    if not targets:
        raise ValueError("targets is empty; it must name at least one linear layer, such as query")
    modules = {name: each for name, each in model.named_modules() if name}
    linear = {name: each for name, each in modules.items() if isinstance(each, nn.Linear)}
    _check("linear layer", targets, linear, dict.fromkeys(name.rpartition(".")[2] for name in linear))
    _check("module", trained, modules, [name for name, _ in model.named_children()])
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets, modules_to_save=trained or None)
    wrapped: Any = model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        wrapped = get_peft_model(wrapped, config)
    result: nn.Module = wrapped
    return result


def _check(what: str, wanted: Sequence[str], modules: Mapping[str, nn.Module], shown: Collection[str]) -> None:
    missing = [each for each in wanted if not any(f".{name}".endswith(f".{each}") for name in modules)]
    if missing:
        there = f"there are {', '.join(shown)}" if shown else "there is none at all"
        raise ValueError(f"the model has no {what} named {' or '.join(missing)}; {there}")
