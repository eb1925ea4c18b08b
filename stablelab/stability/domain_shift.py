"""Errors on examples of other kinds than those that were learned from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..training.protocols import Split
from .error_rates import LEVEL, Models, as_group, error_columns, mistakes

if TYPE_CHECKING:
    from pandas import DataFrame


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
