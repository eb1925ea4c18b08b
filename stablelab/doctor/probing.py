"""What every probe is: it measures numbers on a model and its data, leaves no trace, and judges the numbers alone."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from ..training.evaluation import forward, mode, to_device
from ..training.protocols import Inputs
from ..training.reproducibility import restored
from .findings import Finding
from .judging import UnknownError
from .setup import Examples, TrainingSetup

Numbers: TypeAlias = Mapping[str, float]

BLOCK = 32  # examples that are taken side by side
ROWS = 128  # examples at a time that a model is asked


@dataclass(frozen=True)
class Probe:
    """A question to a model and its data.

    Args:
        measure: looks at the setup, takes at most a few steps' time, puts everything back, and returns numbers. Raises
            ``UnknownError`` where it cannot know. Several probes may share one.
        judge: a pure function of these numbers: a finding, or None. Raises ``UnknownError`` where they do not say.
        looks_for: as it stands in a list of what was not found or could not be checked.
    """

    measure: Callable[[TrainingSetup], dict[str, float]]
    judge: Callable[[Numbers], Finding | None]
    looks_for: str

    @property
    def name(self) -> str:
        return self.judge.__name__


def need(numbers: Numbers, name: str, why: str) -> float:
    """The number of this name; raises UnknownError with ``why`` where it is not there, or no number."""
    value = numbers.get(name, math.nan)
    if math.isnan(value):
        raise UnknownError(why)
    return value


def guessing_of(setup: TrainingSetup) -> float:
    """ln C; NaN where the number of classes is not known."""
    return math.log(setup.classes) if setup.classes is not None and setup.classes > 1 else math.nan


# -- no trace ----------------------------------------------------------------------------------------------------------


@contextmanager
def restoring(setup: TrainingSetup, weights: bool = True) -> Iterator[None]:
    """Whatever happens to the setup inside, after it everything is as before, bit for bit; also after an exception.

    Put back are the model's parameters, buffers, gradients, ``requires_grad``, modes and hooks; the optimizer's state
    and settings; the random states of torch, numpy and Python; and torch's global settings. Runs of this process wait
    at their next step meanwhile.

    Args:
        setup: the training as it stands.
        weights: whether parameters, gradients and the optimizer's state are kept; not needed where nothing inside
            writes to them, and on a large model most of the cost.
    """
    model, optimizer = setup.model, setup.optimizer if weights else None
    needed = [(p, p.requires_grad) for p in model.parameters()]
    hooks = [(kept, dict(kept)) for module in model.modules() for kept in _hooks(module)]
    groups = [(group, {**group, "params": list(group["params"])}) for group in _groups(optimizer)]
    state = {} if optimizer is None else {p: _remembered(held) for p, held in optimizer.state.items()}
    python, numbers = random.getstate(), np.random.get_state()
    settings = [(put, get()) for get, put in _GLOBAL]
    try:
        with restored(model, weights):
            yield
    finally:
        for put, value in settings:
            put(value)
        random.setstate(python)
        np.random.set_state(numbers)
        if optimizer is not None:
            for p in [p for p in optimizer.state if p not in state]:
                del optimizer.state[p]
            for p, held in state.items():
                optimizer.state[p] = _put_back(held)
            optimizer.param_groups[:] = [group for group, _ in groups]
        for group, values in groups:
            params = group["params"]
            params[:] = values["params"]
            group.clear()
            group.update(values, params=params)
        for kept, before in hooks:
            kept.clear()
            kept.update(before)
        for p, was in needed:
            p.requires_grad_(was)


_GLOBAL: tuple[tuple[Callable[[], Any], Callable[[Any], Any]], ...] = (
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_num_threads, lambda n: None if n == torch.get_num_threads() else torch.set_num_threads(n)),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
)


def _hooks(module: nn.Module) -> Iterator[dict[int, Any]]:
    """Whatever a module calls beside its forward pass, as it keeps it."""
    return (kept for name, kept in vars(module).items() if name.startswith("_") and "_hooks" in name)


def _groups(optimizer: torch.optim.Optimizer | None) -> list[dict[str, Any]]:
    return [] if optimizer is None else optimizer.param_groups


def _remembered(held: Any) -> Any:
    """A state dict of one parameter: the very objects, and of each tensor a copy."""
    if not isinstance(held, dict):
        return held, None
    tensors = {name: value.clone() for name, value in held.items() if isinstance(value, Tensor)}
    return held, (dict(held), tensors)


def _put_back(kept: Any) -> Any:
    held, before = kept
    if before is None:
        return held
    values, tensors = before
    held.clear()
    held.update(values)
    with torch.no_grad():
        for name, copy in tensors.items():
            held[name].copy_(copy)
    return held


# -- looking -----------------------------------------------------------------------------------------------------------


def spread(examples: Examples, most: int) -> Tensor:
    """Positions of at most so many examples: blocks of neighbours, evenly over all of them; no random number drawn."""
    n = len(examples)
    if n <= most:
        return torch.arange(n)
    blocks = max(1, most // BLOCK)
    starts = torch.linspace(0, n - BLOCK, blocks).long() if n > BLOCK else torch.zeros(1, dtype=torch.long)
    return (starts[:, None] + torch.arange(min(BLOCK, most, n))).flatten().unique()


def batch(setup: TrainingSetup, examples: Examples, size: int | None = None) -> tuple[Inputs, Tensor]:
    """So many examples evenly over all of them, one batch if not given, where the model is."""
    n, size = len(examples), setup.batch_size if size is None else size
    if n == 0:
        raise UnknownError("there are no examples")
    positions = torch.linspace(0, n - 1, min(n, size)).long().unique()
    return on_device(setup, examples.collate(positions))


def on_device(setup: TrainingSetup, pair: tuple[Inputs, Tensor]) -> tuple[Inputs, Tensor]:
    """Inputs and targets where the model is."""
    device = next(setup.model.parameters()).device
    return to_device(pair[0], device), pair[1].to(device)


def logits_of(setup: TrainingSetup, examples: Examples, positions: Tensor, training: bool = False) -> Tensor:
    """(N, C) float32 logits on the CPU, in evaluation mode, or as in training: in its batches and its mode."""
    rows = max(2, setup.batch_size) if training else ROWS
    parts: list[Tensor] = []
    with torch.no_grad(), mode(setup.model, training):
        for chosen in positions.split(rows):
            if training and len(chosen) < 2 and parts:
                break  # batch norm needs two
            inputs, _ = on_device(setup, examples.collate(chosen))
            parts.append(forward(setup.model, inputs).float().cpu())
    return torch.cat(parts)


def in_turns(examples: Examples, most: int) -> Tensor:
    """Positions of at most so many examples, far apart ones side by side, as shuffling would have them."""
    positions = spread(examples, most)
    rows = -(-len(positions) // BLOCK)
    padded = torch.full((rows * BLOCK,), -1)
    padded[: len(positions)] = positions
    mixed = padded.view(rows, BLOCK).T.flatten()
    return mixed[mixed >= 0]


def padding_of(setup: TrainingSetup) -> int | None:
    """The token that pads, of the tokenizer or of the embeddings; None where neither says."""
    token = getattr(setup.tokenizer, "pad_token_id", None)
    if token is not None:
        return int(token)
    for module in setup.model.modules():
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            return module.padding_idx
    return None
