"""A task with other training examples: some of them, or some of them twice."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from torch import Tensor

from .tasks import Inputs, Split, Store, Task


class Chosen:
    """Some examples of a store, in the order of their positions.

    Args:
        store: all examples.
        positions: (M,) int64; one position may stand there several times.
    """

    def __init__(self, store: Store, positions: Tensor) -> None:
        self.store, self.positions = store, positions

    @property
    def lengths(self) -> Tensor | None:
        lengths = self.store.lengths
        return None if lengths is None else lengths[self.positions]

    def __len__(self) -> int:
        return len(self.positions)

    def take(self, positions: Tensor) -> Inputs:
        return self.store.take(self.positions[positions])

    def raw(self, i: int) -> Any:
        return self.store.raw(int(self.positions[i]))

    def digest(self) -> bytes:
        return hashlib.sha256(self.store.digest() + self.positions.numpy().tobytes()).digest()


def subset(task: Task, positions: Tensor) -> Task:
    """The same task, learning from some of its training examples only.

    Validation and test stay as they are.

    Args:
        task: the task.
        positions: (M,) int64, positions in the training split; one may stand there several times.

    Raises:
        ValueError: no position, or one that does not exist.
    """
    n = len(task.train)
    if not len(positions) or int(positions.min()) < 0 or int(positions.max()) >= n:
        raise ValueError(f"positions must be from 0 to {n - 1}, the training examples of {task.name}, and at least one")
    store = Chosen(task.train.store, positions)
    train = Split(store, task.train.targets[positions], task.train.classes)
    fingerprint = hashlib.sha256(task.fingerprint.encode() + store.digest()).hexdigest()
    return replace(task, fingerprint=fingerprint, train=train)
