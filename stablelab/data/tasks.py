"""A task: training, validation and test examples, their classes, and which of them make up batch k."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import Dataset

from .._validation import whole
from .report import DataReport

Inputs: TypeAlias = Tensor | dict[str, Tensor]
Kind: TypeAlias = Literal["image", "text", "sound"]
SPLITS = ("train", "validation", "test")
POOL_BATCHES = 50  # batches of similar lengths are cut from pools of at most so many


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
        whole("batch_size", batch_size, 1, " of examples")
        for positions in self.order().split(batch_size):
            yield self.collate(positions)

    def order(self) -> Tensor:
        """The fixed order of ``batches`` as positions: sentences of one length together need no padding."""
        lengths = self.store.lengths
        return torch.arange(len(self)) if lengths is None else lengths.argsort(stable=True)

    def raw(self, i: int) -> Any:
        """Example ``i`` as a person looks at it: a sentence, or a uint8 picture (H, W, 3), of a sound too."""
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
        kind: "image" (inputs are a float32 tensor (B, 3, H, W)), "text" (inputs are a dict of (B, T) tensors) or
            "sound" (inputs are a float32 tensor (B, T)).
        classes: the names of the classes; targets are indices into them.
        fingerprint: sha256 (hex) of the examples, their classes and how they are split.
        train, validation, test: the splits.
        report: what was read and what about it is suspicious, of texts and pictures of one's own; None for others.
    """

    name: str
    kind: Kind
    classes: tuple[str, ...]
    fingerprint: str
    train: Split
    validation: Split
    test: Split
    report: DataReport | None = None

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
    parts = splits["train"], splits["validation"], splits["test"]
    return Task(name, kind, names, digest.hexdigest(), *parts)


def generator_for(*key: int) -> torch.Generator:
    """A generator that depends on every number of ``key``; neighbouring keys give unrelated streams."""
    digest = hashlib.sha256(repr([int(part) for part in key]).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def epoch_plan(n: int, batch_size: int, seed: int, epoch: int, lengths: Tensor | None = None) -> tuple[Tensor, ...]:
    """The batches of one epoch, as positions into the training split.

    Without ``lengths``: a shuffle, cut into batches. With ``lengths``: the shuffle is cut into pools, each pool is
    sorted by length before it is cut into batches, and the order of the batches is shuffled; so a batch holds
    sentences of similar length (little padding) and the composition still changes from epoch to epoch.

    Args:
        n: number of training examples.
        batch_size: examples per batch; the last ``n % batch_size`` examples of the shuffle form one smaller batch.
        seed: seed of the run.
        epoch: from 0.
        lengths: (N,) tokens of each example, or None.

    Returns:
        ``ceil(n / batch_size)`` tensors of positions; together they hold every position once.
    """
    generator = generator_for(seed, epoch)
    order = torch.randperm(n, generator=generator)
    if lengths is None:
        return order.split(batch_size)
    # At least four pools where the data allows it: one pool alone would repeat nearly the same batches every epoch.
    pool = batch_size * max(1, min(POOL_BATCHES, n // (4 * batch_size)))
    whole = n - n % batch_size
    batches: list[Tensor] = []
    for members in order[:whole].split(pool):
        batches.extend(members[lengths[members].argsort(stable=True)].split(batch_size))
    if whole < n:  # a random remainder; the remainder of the sort would always be the longest sentences
        batches.append(order[whole:])
    return tuple(batches[i] for i in torch.randperm(len(batches), generator=generator).tolist())


class Batches:
    """An endless sequence of reshuffled epochs over a split: ``batches(k)`` is batch k, from 0.

    Args:
        split: the training split.
        seed: seed of the run; batch k is a pure function of (seed, k).
        batch_size: from 1 to ``len(split)``.

    Raises:
        ValueError: ``batch_size`` is below 1 or larger than the split.
    """

    def __init__(self, split: Split, seed: int, batch_size: int) -> None:
        batch_size = whole("batch_size", batch_size, 1, " of examples")
        if batch_size > len(split):
            raise ValueError(f"batch_size is {batch_size}, but there are only {len(split)} training examples")
        self.split = split
        self.seed = seed
        self.batch_size = batch_size
        self.per_epoch = -(-len(split) // batch_size)
        self._plan: tuple[int, tuple[Tensor, ...]] = (-1, ())

    def positions(self, k: int) -> Tensor:
        """Positions, in the training split, of the examples of batch ``k``."""
        epoch, place = divmod(k, self.per_epoch)
        known, plan = self._plan  # one read: another thread may replace the pair, never half of it
        if known != epoch:
            plan = epoch_plan(len(self.split), self.batch_size, self.seed, epoch, self.split.store.lengths)
            self._plan = (epoch, plan)
        return plan[place]

    def __call__(self, k: int) -> tuple[Inputs, Tensor]:
        return self.split.collate(self.positions(k))


def as_dataset(split: Split, inputs: str = "pixel_values") -> Dataset[dict[str, Any]]:
    """The examples of a split one by one, as the keywords that a Hugging Face model is called with.

    A sentence is ``{"input_ids": (T,), "attention_mask": (T,), "labels": int}``, not padded: give ``Trainer`` the
    tokenizer as its ``processing_class`` and it pads each batch. A picture is ``{"pixel_values": (3, H, W), "labels":
    int}``. No example is copied before it is asked for.

    Args:
        split: ``task.train``, ``task.validation`` or ``task.test``.
        inputs: the keyword for inputs that are one tensor, such as pictures.

    Returns:
        A ``Dataset`` with a length, in the order of the split; position ``i`` is example ``i``.

    Raises:
        ValueError: ``split`` is no split.

    Source:
        transformers, ``Trainer(train_dataset=...)``: items are dicts, the target under ``labels``.
    """
    if not isinstance(split, Split):
        raise ValueError(f"as_dataset takes a split, not {type(split).__name__}; give task.train or task.validation")
    return _SplitDataset(split, inputs)


class _SplitDataset(Dataset[dict[str, Any]]):
    def __init__(self, split: Split, inputs: str) -> None:
        self.split = split
        self.inputs = inputs

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, i: int) -> dict[str, Any]:
        # Counts from the end where i is negative, and raises the IndexError that ends a loop over the data set.
        position = range(len(self))[i]
        inputs, targets = self.split.collate(torch.tensor([position]))
        columns = inputs if isinstance(inputs, dict) else {self.inputs: inputs}
        return {**{name: column[0] for name, column in columns.items()}, "labels": int(targets[0])}
