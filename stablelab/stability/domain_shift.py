"""Error rates of one or more models, and how they change on examples of other kinds than those that were learned from.

Each has an interval over the examples and a spread over the models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from .._validation import number
from ..training.error_analysis import diagnose
from ..training.protocols import Split

if TYPE_CHECKING:
    from pandas import DataFrame

Models = nn.Module | Sequence[nn.Module]  # one, or several that differ in their seed
LEVEL = 0.95


def across(models: Models, splits: Mapping[str, Split], level: float = LEVEL) -> DataFrame:
    """The error of models on examples of several kinds, such as of the domain they learned from and of others.

    Args:
        models: a classifier, or several (of several seeds).
        splits: kind and examples, with the same classes.
        level: of the interval (Wilson's, over examples, the models as they are), between 0 and 1.

    Returns:
        A row for each kind; columns: examples, error, low, high, and std, the standard deviation of the error over the
        models (nan for one).

    Raises:
        ValueError: in one line: no model, no split, splits of different classes, or as ``diagnose``.

    Source:
        Other domains as a test of sentiment models: Blitzer, Dredze and Pereira 2007, "Biographies, Bollywood,
        boom-boxes and blenders", Section 5. The interval: Wilson 1927, "Probable inference, the law of succession, and
        statistical inference".
    """
    from pandas import DataFrame, Index

    group = as_group(models)
    if not splits:
        raise ValueError("splits is empty; give at least one kind of examples, as {name: split}")
    classes = {name: getattr(split, "classes", None) for name, split in splits.items()}
    first = next(iter(classes))
    for name, own in classes.items():
        if own != classes[first]:
            raise ValueError(f"{name!r} has the classes {own}, {first!r} {classes[first]}; they must be the same")
    errors = np.stack([mistakes(group, split).mean(axis=1) for split in splits.values()])  # (D, M)
    sizes = np.array([len(split) for split in splits.values()])
    return DataFrame(
        {"examples": sizes, **error_columns(errors, sizes, level)}, index=Index(list(splits), name="domain")
    )


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
