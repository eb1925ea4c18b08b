"""Curves of a known shape as the log of a run, for the tests of the doctor's rules."""

from __future__ import annotations

from typing import Any

import numpy as np

from stablelab.doctor.training_log import TrainingLog


def noisy(values: Any, scatter: float = 0.0, seed: int = 0) -> np.ndarray:
    """The values, each with normal noise of this standard deviation."""
    array = np.asarray(values, dtype=float)
    return array + scatter * np.random.default_rng(seed).normal(size=array.shape)


def falling(rows: int = 200, start: float = 2.3, end: float = 0.2, scatter: float = 0.03, seed: int = 0) -> np.ndarray:
    """An exponential decline, as of a run that learns."""
    return noisy(end + (start - end) * np.exp(-6 * np.arange(rows) / rows), scatter, seed)


def log_of(losses: Any, **known: Any) -> TrainingLog:
    """A log with a line per step; columns may be given as one number."""
    values = np.asarray(losses, dtype=float)
    columns = {
        name: np.full(len(values), value, dtype=float) if np.isscalar(value) else np.asarray(value, dtype=float)
        for name, value in known.items()
        if name in ("learning_rates", "norms", "max_norms")
    }
    return TrainingLog(
        **{"source": "a curve", "steps": np.arange(1.0, len(values) + 1), "losses": values} | known | columns
    )
