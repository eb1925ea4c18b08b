"""Which examples make up batch k: a pure function of (seed, k), so that a replay needs one integer."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .tasks import Inputs, Split

POOL_BATCHES = 50


def check_batch_size(batch_size: int) -> None:
    """Raise a ``ValueError`` unless ``batch_size`` is a whole number of at least 1."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size is {batch_size!r}; it must be a whole number of at least 1")


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
        check_batch_size(batch_size)
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
