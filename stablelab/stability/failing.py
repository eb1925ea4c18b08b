"""Which runs failed, and how often runs do."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from .._validation import number
from ._inputs import array
from .estimates import Estimate, without_interval
from .members import true_classes


def failed_rate(failed: ArrayLike | Tensor, *, level: float = 0.95) -> Estimate:
    """The share of runs that failed, with Wilson's interval.

    Args:
        failed: (R,) True for each run that failed; see `is_failed`.
        level: of the interval, between 0 and 1.

    Raises:
        ValueError: no runs, or something other than True and False.

    Source:
        Wilson 1927, "Probable inference, the law of succession, and statistical inference", by
        scipy.stats.binomtest. Unlike p ± 1.96 √(p (1 - p) / n) it is no point where no run failed.
    """
    from scipy.stats import binomtest

    number("level", level, above=0, below=1)
    found = array("failed", failed, 1)
    if not np.isin(found, (0, 1)).all():
        raise ValueError("failed must hold True or False, one for each run; is_failed(accuracy, targets) says which")
    n = len(found)
    if n == 1:
        return without_interval(found[0], n, "one run: no interval", level=level)
    test = binomtest(int(found.sum()), n)
    interval = test.proportion_ci(level, method="wilson")
    return Estimate(float(found.mean()), float(interval.low), float(interval.high), level, n, "Wilson")


def is_failed(accuracy: ArrayLike | Tensor, targets: ArrayLike | Tensor) -> np.ndarray:
    """Whether runs failed: an accuracy at or below that of always guessing the most frequent class, or none (nan).

    Args:
        accuracy: () or (R,) accuracies in [0, 1] on the examples of `targets`; nan for a run that diverged.
        targets: (N,) their class numbers.

    Returns:
        bool, of the shape of `accuracy`.

    Raises:
        ValueError: an accuracy outside [0, 1], or targets that are no class numbers.

    Source:
        Mosbach, Andriushchenko & Klakow 2021, "On the stability of fine-tuning BERT", Section 3.
    """
    found = array("accuracy", accuracy, 0, 1)
    if (found < 0).any() or (found > 1).any():
        raise ValueError("accuracy must be a share from 0 to 1")
    right = true_classes(targets)
    # An accuracy in single precision may lie a hair above the share it is equal to.
    return ~(found > np.bincount(right).max() / len(right) + 1e-6)
