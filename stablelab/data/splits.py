"""Deterministic stratified splits: the same seed and data give the same three sets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .batching import generator_for

Size = int | float | None


def split_sizes(n: int, train: Size, validation: Size, test: Size) -> dict[str, int]:
    """How many of ``n`` examples each split gets.

    Args:
        n: number of examples.
        train, validation, test: a number of examples (int, at least 1), a share (float between 0 and 1),
            or, for ``train`` alone, None for all that the others leave.

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
    if isinstance(size, int) and not isinstance(size, bool) and size >= 1:
        return size
    if isinstance(size, float) and 0.0 < size < 1.0:
        return max(1, round(size * n))
    raise ValueError(f"{split} is {size!r}; it must be a number of examples (1 or more) or a share between 0 and 1")


def stratified_split(
    targets: Tensor, sizes: dict[str, int], classes: Sequence[str], seed: int, balanced: bool = False
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

    Returns:
        The positions of each split, in random order.

    Raises:
        ValueError: only one class, a class with no training example, or too few examples of a class to balance.
    """
    counts = torch.bincount(targets, minlength=len(classes))
    if int((counts > 0).sum()) < 2:
        raise ValueError(f"all {len(targets)} examples are of one class, {classes[int(targets[0])]!r}; two are needed")
    generator = generator_for(seed)
    pools = []
    for c in range(len(classes)):
        members = (targets == c).nonzero().flatten()
        pools.append(members[torch.randperm(len(members), generator=generator)])
    splits = {}
    for split, size in sizes.items():
        quotas = _equal_shares(size, pools, classes) if balanced else _proportional_shares(size, pools)
        chosen = torch.cat([pool[:quota] for pool, quota in zip(pools, quotas, strict=True)])
        pools = [pool[quota:] for pool, quota in zip(pools, quotas, strict=True)]
        splits[split] = chosen[torch.randperm(len(chosen), generator=generator)]
    absent = set(range(len(classes))) - set(targets[splits["train"]].tolist())
    if absent:
        c = min(absent)
        raise ValueError(f"class {classes[c]!r} has {int(counts[c])} examples in the data and none is left to train on")
    return splits


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
