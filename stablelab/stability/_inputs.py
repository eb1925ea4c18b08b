"""What a measure is given, as an array: tensors, sequences and columns of a table alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor


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
