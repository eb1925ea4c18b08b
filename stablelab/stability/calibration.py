"""Whether a model is right as often as it is sure."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from .._validation import whole
from ._inputs import array, true_classes
from .estimates import Estimate, bootstrapped

BINS = 15


@dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence and accuracy, bin by bin: what a reliability diagram shows.

    Attributes:
        edges: (M + 1,) bounds of the bins; bin m holds confidences above edges[m], up to and with edges[m + 1].
        counts: (M,) examples in each bin.
        confidence, accuracy: (M,) their means in each bin, 0 to 1; nan where it is empty.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: the mean of |accuracy - confidence| over bins, each weighed by its examples."""
        gaps = np.abs(np.nan_to_num(self.accuracy - self.confidence))
        return float((self.counts * gaps).sum() / self.counts.sum())


def reliability(probabilities: ArrayLike | Tensor, targets: ArrayLike | Tensor, bins: int = BINS) -> Reliability:
    """Confidence against accuracy in bins of equal width.

    Args:
        probabilities: (N, C) each row at least 0 and summing to 1. Confidence is the largest of a row.
        targets: (N,) class numbers.
        bins: M, 1 or more.

    Raises:
        ValueError: rows that are no probabilities, or targets that do not fit.

    Source:
        Guo et al. 2017, "On calibration of modern neural networks", Section 2.
    """
    edges, place, confidence, right = _binned(probabilities, targets, bins)
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0 / 0 in an empty bin is nan, as promised
        means = [np.bincount(place, weights=x, minlength=bins) / counts for x in (confidence, right)]
    return Reliability(edges, counts, *means)


def expected_calibration_error(
    probabilities: ArrayLike | Tensor,
    targets: ArrayLike | Tensor,
    bins: int = BINS,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """ECE = Σ over bins of (examples in it / N) · |accuracy - confidence|, in bins of equal width.

    With few examples the estimate is too high: chance alone parts accuracy from confidence, and all gaps count as
    positive. The interval allows for that by the bootstrap's own bias, so it may lie below the estimate; near perfect
    calibration it still does not reach low enough as often as it says.

    Args:
        probabilities: (N, C) each row at least 0 and summing to 1.
        targets: (N,) class numbers.
        bins: M, 1 or more. Errors are comparable only with the same M.
        level: of the interval, between 0 and 1.
        seed: of the bootstrap.

    Returns:
        The estimate, 0 to 1, with a basic bootstrap interval over the examples, cut at 0. It is about this one model;
        over seeds, take the `mean` of their errors.

    Raises:
        ValueError: rows that are no probabilities, or targets that do not fit.

    Source:
        Naeini, Cooper & Hauskrecht 2015, "Obtaining well calibrated probabilities using Bayesian binning"; Guo et al.
        2017, "On calibration of modern neural networks", eq. 3.
    """
    _, place, confidence, right = _binned(probabilities, targets, bins)
    gaps = right - confidence

    def error(examples: np.ndarray) -> np.ndarray:
        drawn = examples.reshape(-1, examples.shape[-1])
        cells = place[drawn] + bins * np.arange(len(drawn))[:, None]
        sums = np.bincount(cells.ravel(), weights=gaps[drawn].ravel(), minlength=bins * len(drawn))
        return np.abs(sums.reshape(*examples.shape[:-1], bins)).sum(axis=-1) / examples.shape[-1]

    found = bootstrapped(error, len(gaps), level=level, seed=seed, method="basic", of="example", resamples=999)
    return found if found.low is None else replace(found, low=max(found.low, 0.0), high=max(found.high or 0.0, 0.0))


def _binned(
    probabilities: ArrayLike | Tensor, targets: ArrayLike | Tensor, bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Edges, and for each example its bin, its confidence, and 1 where it is right, else 0."""
    whole("bins", bins, at_least=1)
    found = array("probabilities", probabilities, 2)
    if not (np.isfinite(found).all() and (found >= 0).all() and np.allclose(found.sum(axis=1), 1, atol=1e-4)):
        raise ValueError("each row of probabilities must be 0 or more and sum to 1; of logits take the softmax first")
    right = true_classes(targets, *found.shape)
    confidence = np.minimum(found.max(axis=1), 1.0)
    edges = np.linspace(0, 1, bins + 1)
    place = np.searchsorted(edges[1:-1], confidence, side="left")
    return edges, place, confidence, (found.argmax(axis=1) == right).astype(float)
