"""Robustness: the errors of models on examples made worse, beside those on the same examples as they were."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..training.protocols import Split
from .domain_shift import LEVEL, Models, as_group, error_columns, mistakes
from .estimates import Estimate, bootstrapped, without_interval

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, eq=False, repr=False)
class Robustness:
    """On which examples one or more models (such as of several seeds) are wrong, clean and corrupted.

    Attributes:
        name: what the models are called.
        corruptions: K names.
        severities: S numbers, from mild to harsh.
        clean: (M, N) bool, whether model m is wrong on example n as it is.
        corrupted: (M, K, S, N) bool, the same under each corruption at each severity.
    """

    name: str
    corruptions: tuple[str, ...]
    severities: tuple[int, ...]
    clean: np.ndarray
    corrupted: np.ndarray

    @property
    def clean_error(self) -> float:
        """The error rate without corruption, the mean over the models."""
        return float(self.clean.mean())

    @property
    def errors(self) -> np.ndarray:
        """(K, S): the error rate under each corruption at each severity, the mean over the models."""
        return self.corrupted.mean(axis=(0, 3))

    def frame(self) -> DataFrame:
        """A row for the clean examples (severity 0) and for each corruption and severity.

        Its columns: corruption, severity, error, low and high (95 %, over examples, the models as they are), and std,
        the standard deviation of the error over the models (nan for one: a single model has no spread).
        """
        from pandas import DataFrame

        places = [("clean", 0), *((name, s) for name in self.corruptions for s in self.severities)]
        M, _, _, N = self.corrupted.shape
        wrong = np.concatenate([self.clean[:, None], self.corrupted.reshape(M, -1, N)], axis=1)  # (M, 1 + K S, N)
        table = DataFrame(places, columns=["corruption", "severity"])
        return table.assign(**error_columns(wrong.mean(axis=2).T, N, LEVEL))

    def corruption_errors(self, reference: Robustness, relative: bool = False) -> dict[str, float]:
        """CE of each corruption: the error, summed over severities, as a multiple of the reference's.

        Args, raises and source: as for ``mce``.
        """
        return dict(zip(self.corruptions, self._against(reference, relative).tolist(), strict=True))

    def mce(self, reference: Robustness, relative: bool = False, level: float = LEVEL, seed: int = 0) -> Estimate:
        """Mean corruption error: the mean of CE over the corruptions, and its bootstrap interval over the examples.

        Args:
            reference: of the reference model, on the same examples, corruptions and severities.
            relative: take the clean errors off first: how much worse, not how bad.
            level: of the interval, between 0 and 1. The models are held as they are; it says nothing of other seeds.
            seed: of the resampling.

        Returns:
            The estimate; without an interval, and it says so, where the reference makes so few mistakes that among the
            examples drawn anew there may be none to divide by.

        Raises:
            ValueError: in one line: measured on other examples, corruptions or severities, or a corruption under which
                the reference makes no mistake (no more than without, for the relative one).

        Source:
            Hendrycks and Dietterich 2019, "Benchmarking neural network robustness to common corruptions and
            perturbations", Section 4.2 (mCE and relative mCE).
        """
        self._against(reference, relative)  # its complaints
        above, below = self._wrong(relative), reference._wrong(relative)  # (K, N)
        too_few: set[str] = set()

        def statistic(positions: np.ndarray) -> np.ndarray:  # (..., N) -> (...)
            divisor = below[:, positions].sum(axis=-1)  # (K, ...)
            too_few.update(name for name, one in zip(self.corruptions, divisor, strict=True) if (one <= 1e-9).any())
            return (above[:, positions].sum(axis=-1) / divisor).mean(axis=0)

        n = above.shape[1]
        found = bootstrapped(statistic, n, level=level, seed=seed, of="example")
        if not too_few:
            return found
        why = f"too few mistakes of the reference under {', '.join(sorted(too_few))}: no interval"
        return without_interval(found.value, n, why, level=level, of="example")

    def _wrong(self, relative: bool) -> np.ndarray:
        """(K, N): how often each example is wrong, over the severities, as a mean over the models."""
        wrong = self.corrupted.sum(axis=2).mean(axis=0)
        return wrong - len(self.severities) * self.clean.mean(axis=0) if relative else wrong

    def _against(self, reference: Robustness, relative: bool) -> np.ndarray:
        for what in ("corruptions", "severities"):
            ours, theirs = getattr(self, what), getattr(reference, what)
            if ours != theirs:
                raise ValueError(f"the {what} are {_listed(ours)}, those of the reference {_listed(theirs)}")
        if self.clean.shape[1] != reference.clean.shape[1]:
            n, m = self.clean.shape[1], reference.clean.shape[1]
            raise ValueError(f"measured on {n} examples, the reference on {m}; give both the same split")
        clean, other = (self.clean_error, reference.clean_error) if relative else (None, None)
        return corruption_errors(self.errors, reference.errors, clean, other, self.corruptions)

    def __repr__(self) -> str:
        worst = self.errors.mean(axis=1).argmax()
        return (
            f"{self.name}: clean error {self.clean_error:.3f}, corrupted {self.errors.mean():.3f}; "
            f"worst under {self.corruptions[worst]}, {self.errors[worst].mean():.3f}"
        )


def robustness(
    models: Models,
    clean: Split,
    corrupt: Callable[[str, int], Split],
    corruptions: Sequence[str],
    severities: Sequence[int] = (1, 2, 3, 4, 5),
    name: str = "model",
) -> Robustness:
    """Ask models for their answers on examples as they are and under each corruption at each severity.

    Args:
        models: a classifier, or several (of several seeds); their weights and modes stay as they are.
        clean: the examples as they are.
        corrupt: gives the same examples, in the same order, under a corruption (name, severity).
        corruptions: which; each once.
        severities: which; each once.
        name: what to call the models.

    Raises:
        ValueError: in one line: no model, corruption or severity, or one twice; or what ``corrupt`` gave has other
            targets than the clean examples; or as ``diagnose``.
    """
    group = as_group(models)
    for what, given in (("corruptions", corruptions), ("severities", severities)):
        if isinstance(given, str) or not len(given) or len(set(given)) < len(given):
            raise ValueError(f"{what} is {given!r}; give at least one, and each once")
    splits = (corrupt(each, severity) for each in corruptions for severity in severities)
    wrong = np.stack([mistakes(group, _same(clean, split)) for split in splits], axis=1)  # (M, K S, N)
    shape = (len(group), len(corruptions), len(severities), len(clean))
    return Robustness(name, tuple(corruptions), tuple(severities), mistakes(group, clean), wrong.reshape(shape))


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
        clean: the model's error rate without corruption; given together with ``reference_clean``, or not at all.
        reference_clean: that of the reference model.
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


def _same(clean: Split, changed: Split) -> Split:
    if len(changed) != len(clean) or bool((changed.targets != clean.targets).any()):
        raise ValueError(
            "what corrupt gave has other targets than the clean examples; it must keep them and their order"
        )
    return changed


def _listed(names: Sequence[object]) -> str:
    return ", ".join(map(str, names))


def _rates(name: str, value: Any) -> np.ndarray:
    rates = np.asarray(value, dtype=np.float64)
    if not rates.size or not np.all((rates >= 0) & (rates <= 1)):  # nan is neither
        raise ValueError(f"{name} must hold error rates from 0 to 1")
    return rates
