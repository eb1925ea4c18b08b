"""What a step really keeps in memory, counted: tensors saved for the backward pass, and all that are alive."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass
class Saved:
    """Bytes of the tensors that were saved for the backward pass, each memory counted once.

    Attributes:
        activations: all but what follows.
        half_copies: weights that autocast cast to half precision.
    """

    activations: int = 0
    half_copies: int = 0


@contextmanager
def saved_bytes(model: nn.Module) -> Iterator[Saved]:
    """Count what a forward pass inside it saves, the model's own parameters and buffers left out.

    What a checkpointed part (``torch.utils.checkpoint``) computes again is not seen: that is ``LiveBytes``' to count.

    Args:
        model: the one that runs inside.

    Yields:
        The counts, which grow.
    """
    own = {each.untyped_storage().data_ptr() for each in (*model.parameters(), *model.buffers())}
    seen: dict[int, Tensor] = {}  # held, so that no address is used twice
    saved = Saved()

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and storage.data_ptr() not in seen:
            seen[storage.data_ptr()] = tensor.detach()
            if _is_cast_weight(tensor):
                saved.half_copies += storage.nbytes()
            else:
                saved.activations += storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved


def _is_cast_weight(tensor: Tensor) -> bool:
    """Whether nothing but casts and views lies between a leaf, such as a weight, and this tensor."""
    node = tensor.grad_fn
    while node is not None and node.name() in ("ToCopyBackward0", "TBackward0", "ViewBackward0", "TransposeBackward0"):
        node = node.next_functions[0][0]
    return node is not None and node.name().endswith("AccumulateGrad")


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors made inside it and not freed yet: ``now``, and ``peak`` at their most.

    Scratch space inside an operation is not seen. It costs time: measure seconds without it. On a GPU
    ``torch.cuda.max_memory_allocated`` says it at no cost.

    Args:
        model: its parameters, buffers and gradients were there before, and are left out.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.now = self.peak = 0
        there = [*model.parameters(), *model.buffers(), *(p.grad for p in model.parameters() if p.grad is not None)]
        self._there = [each.untyped_storage() for each in there]
        self._sizes = {storage._cdata: 0 for storage in self._there}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, Tensor):
                self._count(each.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata not in self._sizes:
            self._sizes[storage._cdata] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._freed, storage._cdata)

    def _freed(self, key: int) -> None:
        self.now -= self._sizes.pop(key)
