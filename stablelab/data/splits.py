"""Which examples a task trains on: stratified splits, the same for the same seed and data, and subsets of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from .._validation import plain, seed_number, switch
from .tasks import Inputs, Split, Store, Task, generator_for

Size: TypeAlias = int | float | None


def check_draw(seed: int, balanced: bool) -> int:
    """The seed of a split; raises ValueError in one line where it, or ``balanced``, cannot be."""
    switch("balanced", balanced)
    return seed_number("seed", seed)


def split_sizes(n: int, train: Size, validation: Size, test: Size) -> dict[str, int]:
    """How many of ``n`` examples each split gets.

    Args:
        n: number of examples.
        train: a number of examples (int, at least 1), a share (float between 0 and 1), or None for all that the others
            leave.
        validation: a number of examples, or a share.
        test: a number of examples, or a share.

    Raises:
        ValueError: a size is no such number, or together they ask for more than there is.
    """
    sizes = {"test": _size(n, "test", test), "validation": _size(n, "validation", validation)}
    left = n - sum(sizes.values())
    sizes["train"] = max(1, left) if train is None else _size(n, "train", train)
    asked = sum(sizes.values())
    if asked > n:
        raise ValueError(f"train, validation and test ask for {asked} examples, but there are {n}; ask for fewer")
    return sizes


def _size(n: int, split: str, size: Size) -> int:
    size = plain(size)
    if isinstance(size, int) and not isinstance(size, bool) and size >= 1:
        return size
    if isinstance(size, float) and 0.0 < size < 1.0:
        return max(1, round(size * n))
    raise ValueError(f"{split} is {size!r}; it must be a number of examples (1 or more) or a share between 0 and 1")


def stratified_split(
    targets: Tensor,
    sizes: dict[str, int],
    classes: Sequence[str],
    seed: int,
    balanced: bool = False,
    first: Tensor | None = None,
) -> dict[str, Tensor]:
    """Positions of each split, with every class in the share it has in the data (or in equal shares).

    The test set is drawn first and the training set last: more or fewer training examples leave the other two
    as they are, and a smaller training set lies inside a larger one.

    Args:
        targets: (N,) int64.
        sizes: examples in "test", "validation" and "train".
        classes: names, for the messages.
        seed: seed of the draw.
        balanced: equal numbers of every class instead of the data's shares.
        first: (N,) of each example the position of the first one that equals it. Equal examples then stand in one
            split, so that validation and test are as large as that allows; where no two are equal, the split is the
            same as without.

    Returns:
        The positions of each split, in random order.

    Raises:
        ValueError: only one class, a class with no training example, too few examples of a class to balance, or too
            few different examples for three splits.
    """
    counts = torch.bincount(targets, minlength=len(classes))
    if int((counts > 0).sum()) < 2:
        raise ValueError(f"all {len(targets)} examples are of one class, {classes[int(targets[0])]!r}; two are needed")
    generator = generator_for(seed)
    home = targets if first is None else targets[first]  # equal examples of two classes stay together
    groups = None if first is None or len(first.unique()) == len(first) else first
    if groups is not None:
        stratified_split(targets, sizes, classes, seed, balanced)  # what cannot be had without groups cannot with them
    pools = []
    for c in range(len(classes)):
        members = (home == c).nonzero().flatten()
        pools.append(members[torch.randperm(len(members), generator=generator)])
    splits = {}
    for split, size in sizes.items():
        there = [len(pool) for pool in pools]
        if groups is None:
            quotas = _equal_shares(size, pools, classes) if balanced else _proportional_shares(size, pools)
        elif balanced:
            quotas = [min(size // len(pools) + (c < size % len(pools)), n) for c, n in enumerate(there)]
        else:  # whole groups may have taken more or less than was asked for
            all_else = split == "train" and sum(sizes.values()) == len(targets)
            size = sum(there) if all_else else min(size, sum(there))
            quotas = _proportional_shares(size, pools) if size else there
        whole = None if split == "train" else groups  # what it leaves is in no other split
        parts = [_taken(pool, quota, whole) for pool, quota in zip(pools, quotas, strict=True)]
        chosen, pools = torch.cat([part for part, _ in parts]), [rest for _, rest in parts]
        if not len(chosen):
            raise ValueError(f"equal examples stay in one split, and so none is left for {split}; ask for other sizes")
        splits[split] = chosen[torch.randperm(len(chosen), generator=generator)]
    absent = set(range(len(classes))) - set(targets[splits["train"]].tolist())
    if absent:
        c = min(absent)
        raise ValueError(f"class {classes[c]!r} has {int(counts[c])} examples in the data and none is left to train on")
    return splits


def _taken(pool: Tensor, quota: int, groups: Tensor | None) -> tuple[Tensor, Tensor]:
    """The first ``quota`` of a pool, and the rest; with ``groups`` no group of equals is torn apart."""
    if groups is None:
        return pool[:quota], pool[quota:]
    members: dict[int, list[int]] = {}
    for i, group in zip(pool.tolist(), groups[pool].tolist(), strict=True):
        members.setdefault(group, []).append(i)
    chosen: list[int] = []
    left: list[list[int]] = []
    for equals in members.values():
        if len(chosen) + len(equals) <= quota:
            chosen += equals
        else:
            left.append(equals)
    if len(chosen) < quota and len(left) > 1:  # rather more than was asked for than none; but the last group stays
        least = min(left, key=len)
        if not chosen or len(least) <= 2 * (quota - len(chosen)):
            left.remove(least)
            chosen += least
    rest = [i for equals in left for i in equals]
    return torch.tensor(chosen, dtype=torch.long), torch.tensor(rest, dtype=torch.long)


def _equal_shares(size: int, pools: Sequence[Tensor], classes: Sequence[str]) -> list[int]:
    share, rest = divmod(size, len(pools))
    quotas = [share + (c < rest) for c in range(len(pools))]
    for pool, quota, name in zip(pools, quotas, classes, strict=True):
        if quota > len(pool):
            raise ValueError(f"{quota} more examples of class {name!r} are asked for, but only {len(pool)} are left")
    return quotas


def _proportional_shares(size: int, pools: Sequence[Tensor]) -> list[int]:
    """Largest remainders; no class is asked for more than it has, since size <= all that is left."""
    left = sum(len(pool) for pool in pools)
    exact = [size * len(pool) / left for pool in pools]
    quotas = [int(share) for share in exact]
    by_remainder = sorted(range(len(pools)), key=lambda c: quotas[c] - exact[c])
    for c in by_remainder[: size - sum(quotas)]:
        quotas[c] += 1
    return quotas


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
    store = SubsetStore(task.train.store, positions)
    train = Split(store, task.train.targets[positions], task.train.classes)
    fingerprint = hashlib.sha256(task.fingerprint.encode() + store.digest()).hexdigest()
    return replace(task, fingerprint=fingerprint, train=train)


class SubsetStore:
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
