"""What it takes to go back: the state of training after some steps, and a ring of such states."""

from __future__ import annotations

import math
import threading
import time
from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from .._validation import whole
from .history import GESTURE
from .settings import Settings

# Copying weights and optimizer state costs about as much as reading them twice: nothing for a small model, a fifth of a
# step for BERT, a whole step for a ResNet on small pictures. So the next copy waits until it costs 2 per cent at most.
SHARE_OF_TIME = 0.02
# A divergence goes back to a copy whose step is a function of the model alone, so that a replay goes back to the same.
PARAMETERS_PER_STEP = 500_000
SHORTEST_INTERVAL, LONGEST_INTERVAL = 10, 50
MOST = 64  # checkpoints of one run: closer together they would save less replaying than they cost to look through
SHARE_OF_MEMORY = 1 / 16  # of the machine's, for the checkpoints of one run


@dataclass(frozen=True, eq=False)
class Best:
    """The weights with the lowest validation loss so far, and the number of steps after which they were taken."""

    step: int
    loss: float
    weights: dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All that training knows after ``step`` steps. Its tensors are copies that nothing writes to.

    Data order and randomness inside a step are functions of the seed and the step, so the one number stands for both.

    Args:
        step: steps done.
        settings: those of the last of these steps, None before the first.
        weights: by name, all parameters that may be trained and all buffers.
        optimizer: its ``state_dict``, None where there is none yet.
        validation_losses: of all validations so far.
        best: the best weights so far, None before the first validation.
        safe_step: the steps done at the copy that a divergence right after this one goes back to; its own where it may
            be that copy itself.
    """

    step: int
    settings: Settings | None
    weights: dict[str, Tensor]
    optimizer: dict[str, Any] | None
    validation_losses: tuple[float, ...] = ()
    best: Best | None = None
    safe_step: int = 0

    @property
    def safe(self) -> bool:
        """Whether a divergence may go back to it."""
        return self.safe_step == self.step

    @cached_property
    def nbytes(self) -> int:
        """Bytes of memory; ``best``, which several checkpoints may share, is left out."""
        return sum(t.nbytes for t in [*self.weights.values(), *tensors(self.optimizer or {})])


class Checkpoints:
    """The checkpoints of a run, oldest first: appended by its thread, read by any.

    Over the budget, the one that is missed least goes: the one whose neighbours stand closest together. The first, the
    newest, the newest safe one and the newest that stands before a change by hand stay.

    Args:
        memory: bytes; about a sixteenth of the machine's memory if not given. 0 keeps only those that always stay.
        kept: to begin with, such as those that a branch shares with its parent.
    """

    def __init__(self, memory: int | None = None, kept: Sequence[Checkpoint] = ()) -> None:
        self.memory = default_memory() if memory is None else whole("checkpoint_memory", memory, of=" of bytes")
        self._kept = list(kept)
        self._marked = -1  # step of the newest that stands before a change by hand
        self._marked_at = -math.inf  # by the clock
        self._lock = threading.Lock()

    def add(self, checkpoint: Checkpoint, marked: bool = False) -> None:
        """Take one in; ``marked`` if it stands before a change by hand. A replay may come by here again."""
        now = time.monotonic()
        with self._lock:
            if marked:
                if now - self._marked_at > GESTURE:  # of one drag of a slider, the one before it
                    self._marked = checkpoint.step
                self._marked_at = now
            if any(each.step == checkpoint.step for each in self._kept):
                return
            insort(self._kept, checkpoint, key=lambda each: each.step)
            while len(self._kept) > MOST or self._nbytes() > self.memory:
                least = self._least_missed()
                if least is None:
                    return
                del self._kept[least]

    def at_or_before(self, step: int) -> Checkpoint | None:
        """The newest after at most ``step`` steps from which all can be done again, a divergence included."""
        with self._lock:
            there = {each.step for each in self._kept}
            usable = (each for each in reversed(self._kept) if each.step <= step and each.safe_step in there)
            return next(usable, None)

    def until(self, step: int) -> tuple[Checkpoint, ...]:
        """All after at most ``step`` steps."""
        return tuple(each for each in self if each.step <= step)

    def safe(self, step: float = math.inf) -> Checkpoint | None:
        """The newest, after at most ``step`` steps, that a divergence may go back to."""
        with self._lock:
            return next((each for each in reversed(self._kept) if each.safe and each.step <= step), None)

    @property
    def newest(self) -> Checkpoint | None:
        """The last one, None where there is none."""
        with self._lock:
            return self._kept[-1] if self._kept else None

    def __iter__(self) -> Iterator[Checkpoint]:
        with self._lock:
            return iter(tuple(self._kept))

    def __len__(self) -> int:
        return len(self._kept)

    def _nbytes(self) -> int:
        best = {id(each.best): each.best for each in self._kept if each.best is not None}
        weights = sum(t.nbytes for each in best.values() for t in each.weights.values())
        return weights + sum(each.nbytes for each in self._kept)

    def _least_missed(self) -> int | None:
        steps = [each.step for each in self._kept]
        stay = {self._marked, next((each.step for each in reversed(self._kept) if each.safe), -1)}
        stay |= {each.safe_step for each in self._kept if each.step == self._marked}
        inner = [i for i in range(1, len(steps) - 1) if steps[i] not in stay]
        return min(inner, key=lambda i: steps[i + 1] - steps[i - 1], default=None)


def memory_in_use() -> tuple[int, int]:
    """Bytes that the checkpoints of all runs of this process take up, and the bytes that they may."""
    return 0, default_memory()


def safe_interval(weights: dict[str, Tensor]) -> int:
    """Steps between two safe checkpoints of a model with these weights."""
    count = sum(t.numel() for t in weights.values())
    return min(max(SHORTEST_INTERVAL, count // PARAMETERS_PER_STEP), LONGEST_INTERVAL)


def trainable_names(model: nn.Module) -> set[str]:
    """The names of the parameters that may be trained."""
    return {name for name, p in model.named_parameters() if p.requires_grad}


def changing_tensors(model: nn.Module, trainable: set[str]) -> dict[str, Tensor]:
    """What training changes, by name: the parameters named, and all buffers."""
    parameters = {name: p.detach() for name, p in model.named_parameters() if name in trainable}
    return parameters | dict(model.named_buffers())


@torch.no_grad()
def copied(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """A copy of each."""
    return {name: tensor.detach().clone() for name, tensor in values.items()}


@torch.no_grad()
def put_back(kept: dict[str, Tensor], into: dict[str, Tensor]) -> None:
    """Write kept values into the tensors of the same names."""
    for name, tensor in into.items():
        tensor.copy_(kept[name])


def state_copied(state: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's ``state_dict`` with tensors of its own; ``load_state_dict`` would train on the given ones."""
    per_parameter = {
        i: {name: value.clone() if isinstance(value, Tensor) else value for name, value in values.items()}
        for i, values in state["state"].items()
    }
    return {"state": per_parameter, "param_groups": [dict(group) for group in state["param_groups"]]}


def tensors(state: dict[str, Any]) -> Iterator[Tensor]:
    """The tensors in an optimizer's ``state_dict``."""
    for values in state.get("state", {}).values():
        yield from (value for value in values.values() if isinstance(value, Tensor))


def default_memory() -> int:
    """Bytes for the checkpoints of one run on this machine."""
    import psutil

    return int(psutil.virtual_memory().total * SHARE_OF_MEMORY)
