"""Fewer points that look the same: what a long curve is sent and drawn as."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

LIMIT = 4000  # points; about twice the pixels of a wide chart, and 128 kB on the wire


def keep(rows: np.ndarray, limit: int = LIMIT, columns: Sequence[int] = (1, 3)) -> np.ndarray:
    """Indices of the rows to keep so that every bump of the given columns survives.

    The rows are cut into equal stretches; of each, the rows that hold the smallest and the largest value of each column
    stay, as do the very first and the very last row.

    Arguments:
        rows: (N, C), oldest first; NaN where there is no value.
        limit: the most indices that come back, at least 2 + 2 per column.
        columns: which columns' bumps count.

    Returns:
        Ascending indices (K,), K ≤ limit; all N of them where N ≤ limit.

    Raises:
        ValueError: where the limit is too small to hold one stretch.
    """
    least = 2 + 2 * len(columns)
    if limit < least:
        raise ValueError(f"limit is {limit}; it must be at least {least} to keep the bumps of {len(columns)} columns")
    count = len(rows)
    if count <= limit:
        return np.arange(count)
    stretches = (limit - 2) // (2 * len(columns))
    edges = np.linspace(0, count, stretches + 1).astype(np.int64)
    chosen = [np.array([0, count - 1])]
    for column in columns:
        chosen += _bumps(rows[:, column], edges)
    return np.unique(np.concatenate(chosen))


def _bumps(values: np.ndarray, edges: np.ndarray) -> list[np.ndarray]:
    """Per stretch, the index of its smallest and of its largest finite value (its first row where there is none)."""
    finite = np.isfinite(values)
    low, high = np.where(finite, values, np.inf), np.where(finite, values, -np.inf)
    pairs = list(itertools.pairwise(edges))
    lowest = np.array([a + int(np.argmin(low[a:b])) for a, b in pairs])
    highest = np.array([a + int(np.argmax(high[a:b])) for a, b in pairs])
    return [lowest, highest]
