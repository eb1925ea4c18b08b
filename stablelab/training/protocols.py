"""What training asks of data and of a loss: protocols and types that others fit without importing them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

from torch import Tensor

from .settings import Settings

# A batch is (inputs, targets): inputs a tensor (B, ...) or a mapping of tensors (B, T); targets (B,) class numbers.
Inputs: TypeAlias = Tensor | Mapping[str, Tensor]
Batch: TypeAlias = tuple[Inputs, Tensor]
Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]  # (logits (B, C), targets (B,)) -> mean loss ()
Augment: TypeAlias = Callable[[Any, Settings], Any]  # (inputs, settings) -> inputs, drawing from torch's generator


class Batches(Protocol):
    """An endless sequence of reshuffled epochs. Batch k depends on the seed and k alone."""

    @property
    def per_epoch(self) -> int:
        """Batches in one pass over the data."""

    def __call__(self, k: int) -> Batch:
        """Batch k, counted from 0."""


class Split(Protocol):
    """A part of the data in a fixed order."""

    def __len__(self) -> int: ...

    @property
    def targets(self) -> Tensor:
        """(N,) class numbers."""

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Every item once, in an order that never changes: that of ``targets``, or the one that ``Ordered`` says."""


@runtime_checkable
class Ordered(Protocol):
    """A split whose batches come in an order of their own, such as from short to long."""

    def order(self) -> Tensor:
        """(N,) the positions of the items as ``batches`` gives them."""


class Task(Protocol):
    """Data to learn from and to judge by. The test split is looked at once, at the end, never to choose."""

    @property
    def name(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def train(self) -> Any: ...

    @property
    def validation(self) -> Any: ...

    @property
    def test(self) -> Any: ...

    def batches(self, seed: int, batch_size: int) -> Batches:
        """The training batches of one seed."""
