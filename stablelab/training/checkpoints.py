"""What it takes to go back: the state of training after some steps, a ring of such states, and the memory for all."""

from __future__ import annotations

import itertools
import math
import threading
import weakref
from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor, nn

from .._validation import whole
from .precision import LossScale
from .settings import Settings

# Copying weights and optimizer state costs about as much as reading them twice: nothing for a small model, a fifth of a
# step for BERT, a whole step for a ResNet on small pictures. So the next copy waits until it costs 2 per cent at most.
SHARE_OF_TIME = 0.02
# A divergence goes back to a copy whose step is a function of the model alone, so that a replay goes back to the same.
PARAMETERS_PER_STEP = 500_000
SHORTEST_INTERVAL, LONGEST_INTERVAL = 10, 50
MOST = 64  # checkpoints of one run: closer together they would save less replaying than they cost to look through
SHARE_OF_MEMORY = 1 / 16  # of the machine's, for the checkpoints of all runs of this process


@dataclass(frozen=True, eq=False)
class Best:
    """The weights with the lowest validation loss so far, and the number of steps after which they were taken."""

    step: int
    loss: float
    weights: dict[str, Tensor]

    @cached_property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return sum(t.nbytes for t in self.weights.values())


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
        loss_scale: in fp16, of the loss of the next step.
    """

    step: int
    settings: Settings | None
    weights: dict[str, Tensor]
    optimizer: dict[str, Any] | None
    validation_losses: tuple[float, ...] = ()
    best: Best | None = None
    safe_step: int = 0
    loss_scale: LossScale = field(default_factory=LossScale)

    @property
    def safe(self) -> bool:
        """Whether a divergence may go back to it."""
        return self.safe_step == self.step

    @cached_property
    def nbytes(self) -> int:
        """Bytes of memory; ``best``, which several checkpoints may share, is left out."""
        return sum(t.nbytes for t in [*self.weights.values(), *tensors(self.optimizer or {})])


_rings: weakref.WeakSet[Checkpoints] = weakref.WeakSet()  # of all runs of this process that are still there
_lock = threading.RLock()  # one for all of them: where memory is short, a new checkpoint costs another run an old one
_clock = itertools.count()


class Checkpoints:
    """The checkpoints of a run, oldest first: appended by its thread, read by any.

    All runs of a process share one budget of memory; see ``memory_in_use``. Over it, checkpoints are thinned out, first
    in the run that has gained none for the longest time: those whose neighbours stand closest together go first, then
    those at the ends, and those in front of a change by hand after all others. What stays are the newest of a run that
    is not over, the newest safe one of every run, and the first of a run that could not begin again without it. A run
    that nobody holds any more gives its share back.

    Args:
        memory: bytes for this run alone, beside what all runs share; 0 keeps only the first, the newest, the newest
            safe one and the newest in front of a change by hand. As much as there is if not given.
        kept: to begin with, such as those that a branch shares with its parent.

    Attributes:
        over: whether the run is over, so that its newest is not what it goes on from.
        keep_first: whether the run could not begin again without its first checkpoint.
    """

    def __init__(self, memory: int | None = None, kept: Sequence[Checkpoint] = ()) -> None:
        self.memory = None if memory is None else whole("checkpoint_memory", memory, of=" of bytes")
        self.over = self.keep_first = False
        self._kept = list(kept)
        self._marked: list[int] = []  # steps of those that stand in front of a change by hand
        self._touched = next(_clock)
        with _lock:
            _rings.add(self)

    def add(self, checkpoint: Checkpoint, marked: bool = False) -> None:
        """Take one in; ``marked`` if it stands before a change by hand. A replay may come by here again."""
        with _lock:
            self._touched = next(_clock)
            if marked:
                self._marked.append(checkpoint.step)
            if any(each.step == checkpoint.step for each in self._kept):
                return
            insort(self._kept, checkpoint, key=lambda each: each.step)
            while len(self._kept) > MOST or (self.memory is not None and _nbytes(self._kept) > self.memory):
                least = self._least_missed(self._always())
                if least is None:
                    break
                self._kept.remove(least)
            _make_room()

    def at_or_before(self, step: int) -> Checkpoint | None:
        """The newest after at most ``step`` steps from which all can be done again, a divergence included."""
        with _lock:
            there = {each.step for each in self._kept}
            usable = (each for each in reversed(self._kept) if each.step <= step and each.safe_step in there)
            return next(usable, None)

    def until(self, step: int) -> tuple[Checkpoint, ...]:
        """All after at most ``step`` steps."""
        return tuple(each for each in self if each.step <= step)

    def safe(self, step: float = math.inf) -> Checkpoint | None:
        """The newest, after at most ``step`` steps, that a divergence may go back to."""
        with _lock:
            return next((each for each in reversed(self._kept) if each.safe and each.step <= step), None)

    @property
    def newest(self) -> Checkpoint | None:
        """The last one, None where there is none."""
        with _lock:
            return self._kept[-1] if self._kept else None

    def __iter__(self) -> Iterator[Checkpoint]:
        with _lock:
            return iter(tuple(self._kept))

    def __len__(self) -> int:
        return len(self._kept)

    def _always(self) -> set[int]:
        """The steps of those that stay within a budget of the run's own."""
        marked = self._marked[-1:]
        stay = {*marked, *(each.safe_step for each in self._kept if each.step in marked)}
        stay |= {each.step for each in (*self._kept[:1], *self._kept[-1:])}
        safe = self.safe()
        return stay if safe is None else stay | {safe.step}

    def _needed(self) -> list[Checkpoint]:
        """Those that stay however little memory there is."""
        first, last = self._kept[:1] if self.keep_first else [], [] if self.over else self._kept[-1:]
        safe = self.safe()
        return [*first, *last] if safe is None else [*first, *last, safe]

    def _in_front_of_changes(self) -> list[Checkpoint]:
        """Those that a learner may want to take a change back to, and what these need."""
        marked = [each for each in self._kept if each.step in self._marked]
        steps = {each.safe_step for each in marked}
        return [*marked, *(each for each in self._kept if each.step in steps)]

    def _least_missed(self, stay: set[int]) -> Checkpoint | None:
        """That whose neighbours stand closest together, marks after others; None where all of them stay."""
        marked = {each.step for each in self._in_front_of_changes()}
        steps = [-math.inf, *(each.step for each in self._kept), math.inf]
        gaps = {id(each): steps[i + 2] - steps[i] for i, each in enumerate(self._kept)}
        free = [each for each in self._kept if each.step not in stay]
        return min(free, key=lambda each: (each.step in marked, gaps[id(each)]), default=None)


def memory_in_use() -> tuple[int, int]:
    """Bytes that the checkpoints of all runs of this process take up, and the bytes that they may.

    A checkpoint that a branch shares with its parent counts once. What must stay may be more than the budget.
    """
    with _lock:
        return _nbytes(each for ring in _rings for each in ring._kept), default_memory()


def _make_room() -> None:
    """Bring all checkpoints of the process within the budget, as far as that goes; the lock is held."""
    budget = default_memory()
    used = _nbytes(each for ring in _rings for each in ring._kept)
    while used > budget:
        rings = sorted(_rings, key=lambda ring: ring._touched)
        needed = {id(each) for ring in rings for each in ring._needed()}
        marked = {id(each) for ring in rings for each in ring._in_front_of_changes()}
        least = next((each for stay in (needed | marked, needed) for each in _expendable(rings, stay)), None)
        if least is None:
            return
        for ring in rings:  # a branch shares some with its parent, and they take up memory until the last lets go
            ring._kept = [each for each in ring._kept if each is not least]
        used = _nbytes(each for ring in rings for each in ring._kept)


def _expendable(rings: Iterable[Checkpoints], needed: set[int]) -> Iterator[Checkpoint]:
    """Of each run the one that is missed least, as far as it is not needed by any."""
    for ring in rings:
        least = ring._least_missed({each.step for each in ring._kept if id(each) in needed})
        if least is not None:
            yield least


def _nbytes(checkpoints: Iterable[Checkpoint]) -> int:
    once = {id(each): each for each in checkpoints}.values()
    best = {id(each.best): each.best for each in once if each.best is not None}
    return sum(each.nbytes for each in once) + sum(each.nbytes for each in best.values())


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


@cache
def default_memory() -> int:
    """Bytes for the checkpoints of all runs on this machine."""
    import psutil

    return int(psutil.virtual_memory().total * SHARE_OF_MEMORY)
