"""Error rates of one or more models, with an interval over the examples and a spread over the models."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from torch import nn

from .._validation import number
from ..training.error_analysis import diagnose
from ..training.protocols import Split

Models = nn.Module | Sequence[nn.Module]  # one, or several that differ in their seed
LEVEL = 0.95


def as_group(models: Models) -> tuple[nn.Module, ...]:
    """The models one by one.

    Raises:
        ValueError: there is none, or one is not a model.
    """
    group = (models,) if isinstance(models, nn.Module) else tuple(models)
    if not group or not all(isinstance(model, nn.Module) for model in group):
        raise ValueError("models must be a model, or a list of at least one")
    return group


def mistakes(models: Sequence[nn.Module], split: Split) -> np.ndarray:
    """(M, N) bool, whether model m is wrong on example n, in the order of the split, however its batches come.

    Raises:
        ValueError: as ``diagnose``.
    """
    found = [diagnose(model, split) for model in models]
    return np.stack([(each.predicted != each.targets).numpy() for each in found])


def error_columns(errors: np.ndarray, n: int | np.ndarray, level: float = LEVEL) -> dict[str, np.ndarray]:
    """Columns of a table of error rates.

    Args:
        errors: (R, M) the error rates of M models in R rows.
        n: how many examples they rest on, one number or (R,).
        level: of the interval, between 0 and 1.

    Returns:
        error: the mean over the models. low, high: Wilson's interval over the examples, the models as they are; with
        several models it is wider than need be, since their mean on an example varies less than one model's. std: the
        standard deviation over the models, nan for one, which has no spread.

    Raises:
        ValueError: the level is out of its range.

    Source:
        Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    number("level", level, above=0, below=1)
    mean = errors.mean(axis=1)
    z = NormalDist().inv_cdf((1 + level) / 2)
    middle = (mean + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(mean * (1 - mean) / n + z**2 / (4 * n**2))
    std = errors.std(axis=1, ddof=1) if errors.shape[1] > 1 else np.full(len(errors), np.nan)
    return {"error": mean, "low": np.maximum(0, middle - half), "high": np.minimum(1, middle + half), "std": std}
