"""What a measure is given, checked and as an array: scores, logits of several members, classes, weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..formulas import log_softmax


def array(name: str, values: ArrayLike | Tensor, *dimensions: int) -> np.ndarray:
    """The values as a float64 array.

    Args:
        name: what the caller calls them; it opens the complaint.
        values: an array, a tensor on any device, or nested sequences. None counts as nan.
        dimensions: how many the array may have.

    Raises:
        ValueError: not numbers, no number at all, or another number of dimensions.
    """
    given: Any = values.detach().cpu() if isinstance(values, Tensor) else values
    try:
        found = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be numbers in an array, tensor or sequence, with rows of one length") from None
    if found.ndim not in dimensions:
        wanted = " or ".join(map(str, dimensions))
        raise ValueError(f"{name} must have {wanted} dimensions, not {found.ndim}: its shape is {found.shape}")
    if not found.size:
        raise ValueError(f"{name} is empty: there is nothing to measure")
    return found


def finite(name: str, values: ArrayLike | Tensor) -> tuple[np.ndarray, int]:
    """The finite ones of scores (R,), and how many are not: those of runs that diverged."""
    found = array(name, values, 1)
    kept = found[np.isfinite(found)]
    return kept, len(found) - len(kept)


def log_probabilities(logits: Any, name: str = "logits") -> np.ndarray:
    """log p of each member, example and class, from the logits of all members.

    Args:
        logits: (M, N, C), numpy or torch, or a sequence of M arrays (N, C); M at least 2, C at least 2.
        name: what a complaint calls them.

    Returns:
        (M, N, C) float64; the exponentials of a row sum to 1.

    Raises:
        ValueError: in one line: members of different shapes, fewer than two of them, or one whose logits are not
            finite, which is what a diverged one leaves.
    """
    if len(logits) < 2:
        raise ValueError(f"{name} holds {len(logits)} member; an ensemble needs two or more, as (M, N, C)")
    parts = [array(f"member {i} of {name}", part, 2) for i, part in enumerate(logits)]
    N, C = parts[0].shape
    if C < 2:
        raise ValueError(f"the members of {name} have {C} class; there must be two or more, as (M, N, C)")
    for i, part in enumerate(parts):
        if part.shape != (N, C):
            raise ValueError(f"member {i} of {name} has shape {part.shape}, but member 0 has {(N, C)}; use one split")
        if not np.isfinite(part).all():
            raise ValueError(f"member {i} of {name} is not finite: it diverged, so leave it out")
    return log_softmax(torch.from_numpy(np.stack(parts))).numpy()


def true_classes(targets: Any, N: int | None = None, C: int | None = None) -> np.ndarray:
    """The targets as (N,) int64.

    Args:
        targets: (N,) integers, numpy, torch or a list.
        N: how many there must be; None for any number but 0.
        C: number of classes; None for as many as it takes.

    Raises:
        ValueError: in one line: they are not N integers from 0 to C - 1.
    """
    found = targets.detach().cpu().numpy() if isinstance(targets, Tensor) else np.asarray(targets)
    if found.ndim != 1 or found.dtype.kind not in "iu" or not len(found) or len(found) != (N or len(found)):
        wanted = f"{N or 'N'} integers, one for each example"
        raise ValueError(f"targets must be {wanted}, not {found.dtype} of shape {found.shape}")
    low, high = int(found.min()), int(found.max())
    if low < 0 or high >= (C or high + 1):
        raise ValueError(f"targets must lie in 0..{(C or high + 1) - 1}, the classes, but they span {low}..{high}")
    return found.astype(np.int64)


def normalized_weights(weights: Sequence[float] | np.ndarray | None, M: int) -> np.ndarray:
    """One weight for each of M members, (M,) float64, scaled to sum to 1; equal ones for None.

    Raises:
        ValueError: in one line: not M of them, one negative or not finite, or all of them 0.
    """
    if weights is None:
        return np.full(M, 1 / M)
    found = array("weights", weights, 1)
    if found.shape != (M,):
        raise ValueError(f"weights has shape {found.shape}; it must be ({M},), one for each member")
    for i, weight in enumerate(found):
        if not (np.isfinite(weight) and weight >= 0):
            raise ValueError(f"the weight of member {i} is {weight:g}; it must be a finite number at least 0")
    if not found.sum() > 0:
        raise ValueError("all weights are 0; at least one must be above 0")
    return found / found.sum()
