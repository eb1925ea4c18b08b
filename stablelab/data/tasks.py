"""A task: training, validation and test examples, their classes, and how to batch them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import torch
from torch import Tensor

from .batching import Batches, check_batch_size

Inputs: TypeAlias = Tensor | dict[str, Tensor]
Kind: TypeAlias = Literal["image", "text"]
SPLITS = ("train", "validation", "test")


class Store(Protocol):
    """What a split keeps its examples in."""

    @property
    def lengths(self) -> Tensor | None:
        """(N,) tokens of each example; None where all examples have one size."""

    def __len__(self) -> int: ...

    def take(self, positions: Tensor) -> Inputs:
        """The model's inputs for these positions, padded to the longest of them."""

    def raw(self, i: int) -> Any:
        """Example ``i`` as a person looks at it."""

    def digest(self) -> bytes:
        """A digest of all that the model can see."""


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Examples of one purpose.

    Attributes:
        store: the examples.
        targets: (N,) int64, the index of each example's class.
        classes: the names of the classes.
    """

    store: Store
    targets: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.targets)

    def collate(self, positions: Tensor) -> tuple[Inputs, Tensor]:
        """Inputs and targets of the examples at ``positions`` ((B,) int64)."""
        return self.store.take(positions), self.targets.index_select(0, positions)

    def batches(self, batch_size: int) -> Iterator[tuple[Inputs, Tensor]]:
        """Every example once, in a fixed order: as stored, or from short to long."""
        check_batch_size(batch_size)
        for positions in self.order().split(batch_size):
            yield self.collate(positions)

    def order(self) -> Tensor:
        """The fixed order of ``batches`` as positions: sentences of one length together need no padding."""
        lengths = self.store.lengths
        return torch.arange(len(self)) if lengths is None else lengths.argsort(stable=True)

    def raw(self, i: int) -> Any:
        """Example ``i`` as a person looks at it: a sentence, or a uint8 picture (H, W, 3)."""
        return self.store.raw(i)

    def example(self, i: int) -> tuple[Any, str]:
        """Example ``i`` as a person looks at it, and the name of its class."""
        return self.store.raw(i), self.classes[int(self.targets[i])]

    def counts(self) -> dict[str, int]:
        """How many examples each class has."""
        found = torch.bincount(self.targets, minlength=len(self.classes)).tolist()
        return dict(zip(self.classes, found, strict=True))

    def __repr__(self) -> str:
        return f"{len(self)} examples: " + ", ".join(f"{n} {name}" for name, n in self.counts().items())


@dataclass(frozen=True, eq=False, repr=False)
class Task:
    """A classification task.

    Attributes:
        name: what the learner calls it.
        kind: "image" (inputs are a float32 tensor (B, 3, H, W)) or "text" (inputs are a dict of (B, T) tensors).
        classes: the names of the classes; targets are indices into them.
        fingerprint: sha256 (hex) of the examples, their classes and how they are split.
        train, validation, test: the splits.
    """

    name: str
    kind: Kind
    classes: tuple[str, ...]
    fingerprint: str
    train: Split
    validation: Split
    test: Split

    def batches(self, seed: int, batch_size: int) -> Batches:
        """The training batches: an endless sequence of epochs, reshuffled by ``seed``; see ``Batches``."""
        return Batches(self.train, seed, batch_size)

    def collate(self, positions: Tensor) -> tuple[Inputs, Tensor]:
        """Inputs and targets of the training examples at ``positions``."""
        return self.train.collate(positions)

    def example(self, i: int) -> tuple[Any, str]:
        """Training example ``i`` as a person looks at it, and the name of its class."""
        return self.train.example(i)

    def __repr__(self) -> str:
        sizes = " · ".join(f"{len(getattr(self, split))} {split}" for split in SPLITS)
        names = ", ".join(self.classes[:12]) + (f", … ({len(self.classes)})" if len(self.classes) > 12 else "")
        return f"{self.name}: {sizes}, classes {names}"


def make_task(
    name: str, kind: Kind, classes: Sequence[str], stores: Mapping[str, Store], targets: Mapping[str, Tensor]
) -> Task:
    """Put a task together from a store and the targets ((N,) int64) of each of the three splits."""
    names = tuple(classes)
    digest = hashlib.sha256(repr(names).encode())
    splits = {}
    for split in SPLITS:
        digest.update(split.encode() + stores[split].digest() + targets[split].numpy().tobytes())
        splits[split] = Split(stores[split], targets[split], names)
    return Task(name, kind, names, digest.hexdigest(), **splits)
