"""Mean corruption error: how a model's errors on corrupted examples compare with those of a reference model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def corruption_errors(
    errors: Any,
    reference: Any,
    clean: float | None = None,
    reference_clean: float | None = None,
    names: Sequence[str] = (),
) -> np.ndarray:
    """The error under each corruption, summed over severities, as a multiple of the reference model's.

    CE_c = Σ_s E_sc / Σ_s E^ref_sc, and where both clean errors are given, the relative one,
    Σ_s (E_sc - E_clean) / Σ_s (E^ref_sc - E^ref_clean): how much worse the corruption makes it.

    Args:
        errors: (K, S) error rates, 0 to 1, of the model under K corruptions at S severities.
        reference: (K, S) those of the reference model on the same examples.
        clean, reference_clean: their error rates without corruption; both or neither.
        names: of the K corruptions, for complaints.

    Returns:
        (K,) float64. Below 1: better than the reference model.

    Raises:
        ValueError: in one line: other shapes, no error rates, one clean error alone, or a corruption under which the
            reference model makes no mistake (or, for the relative one, no more than without), so that there is nothing
            to divide by.

    Source:
        Hendrycks and Dietterich 2019, "Benchmarking neural network robustness to common corruptions and perturbations",
        Section 4.2.
    """
    E, E_ref = _rates("errors", errors), _rates("reference", reference)
    if E.shape != E_ref.shape or E.ndim != 2:
        raise ValueError(f"errors {E.shape} and reference {E_ref.shape} must both be (corruptions, severities)")
    if (clean is None) != (reference_clean is None):
        raise ValueError("give both clean and reference_clean, for the relative corruption error, or neither")
    relative = clean is not None
    above = E - _rates("clean", clean or 0.0), E_ref - _rates("reference_clean", reference_clean or 0.0)
    numerator, denominator = (each.sum(axis=1) for each in above)  # (K,)
    nothing = np.flatnonzero(denominator <= 1e-12)
    if len(nothing):
        name = repr(names[nothing[0]]) if len(names) else f"corruption {nothing[0]}"
        what = "is no worse under it than without" if relative else "makes no mistake under it"
        raise ValueError(f"{name} has no corruption error: the reference model {what}; leave it out")
    return numerator / denominator


def mean_corruption_error(
    errors: Any, reference: Any, clean: float | None = None, reference_clean: float | None = None
) -> float:
    """mCE, the mean of the corruption errors over the corruptions; with both clean errors the relative mCE.

    Args, raises and source: as for ``corruption_errors``. The paper gives it in percent, 100 for the reference model
    itself; here it is a multiple, and 1.
    """
    return float(corruption_errors(errors, reference, clean, reference_clean).mean())


def _rates(name: str, value: Any) -> np.ndarray:
    rates = np.asarray(value, dtype=np.float64)
    if not rates.size or not np.all((rates >= 0) & (rates <= 1)):  # nan is neither
        raise ValueError(f"{name} must hold error rates from 0 to 1")
    return rates
