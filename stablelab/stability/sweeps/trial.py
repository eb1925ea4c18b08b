"""A trial, which is one run of a sweep: what it is run with, what it came to, and how both are kept."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..._files import as_declared
from ...training.settings import Settings

FLOATS = frozenset(f.name for f in fields(Settings) if str(f.type).startswith("float"))
ADDED = ("precision", "accumulation")  # settings that came later: at their default, runs kept before keep their keys
ARRAYS = {  # name: type and number of axes
    "losses": (np.float32, 1),
    "norms": (np.float32, 1),
    "clipped": (np.bool_, 1),
    "logits": (np.float32, 2),
    "targets": (np.int64, 1),
}


@dataclass(frozen=True)
class Trial:
    """One run of a sweep: what decides its numbers besides the data and the model, which all trials share.

    Attributes:
        settings: what it is trained with.
        init: seed of the new weights, ≥ 0.
        order: seed of the order of the data and of the randomness inside each step, ≥ 0.
        subset: number of the training subset; None for the whole training split.
    """

    settings: Settings
    init: int
    order: int
    subset: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; equal trials have equal ones, whether a rate was written 1 or 1.0."""
        plain = Settings()
        given = {n: v for n, v in self.settings.to_dict().items() if n not in ADDED or v != getattr(plain, n)}
        settings = {n: float(v) if n in FLOATS and v is not None else v for n, v in given.items()}
        return {"settings": settings, "init": self.init, "order": self.order, "subset": self.subset}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Trial:
        """The trial that ``to_dict`` wrote; raises ValueError in one line where it is not that."""
        return as_declared(cls, values, "run")


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a trial came to.

    A run diverges at the first loss or gradient that is not finite; it ends there, without predictions.

    Attributes:
        losses: (T,) float32, training loss of each step, before its update (nats).
        norms: (T,) float32, norm of all gradients of each step, before clipping.
        clipped: (T,) bool, whether clipping changed them and they were used.
        start_loss: validation loss before the first step.
        validation_loss: after the last step; inf where it diverged.
        logits: (N, C) float32 on the validation split, after the last step; nan where it diverged.
        targets: (N,) int64, class numbers, in the order of ``logits``.
        diverged: the step at which it diverged, from 1; None if it did not.
        sharpness: λ_max of the training loss at the end; None where it was not asked for, or the run diverged.
        seconds: duration, building and judging the model included.
    """

    losses: np.ndarray
    norms: np.ndarray
    clipped: np.ndarray
    start_loss: float
    validation_loss: float
    logits: np.ndarray
    targets: np.ndarray
    diverged: int | None
    sharpness: float | None
    seconds: float

    @property
    def predictions(self) -> np.ndarray:
        """(N,) int64, the class with the largest logit; -1 where the run diverged."""
        return np.full(len(self.targets), -1) if self.diverged is not None else self.logits.argmax(axis=1)

    @property
    def accuracy(self) -> float:
        """Share of the validation split that is predicted right; nan where the run diverged."""
        return float("nan") if self.diverged is not None else float((self.predictions == self.targets).mean())

    @property
    def majority(self) -> float:
        """Share of the largest class of the validation split: what always guessing it would score."""
        return float(np.bincount(self.targets).max() / len(self.targets))

    @property
    def failed(self) -> bool:
        """Whether it diverged, or ended at or below the majority class; see ``is_failed``."""
        return self.diverged is not None or self.accuracy <= self.majority

    @property
    def clipped_share(self) -> float:
        """Share of the steps whose gradient was clipped."""
        return float(self.clipped.mean()) if len(self.clipped) else 0.0

    def numbers(self) -> dict[str, Any]:
        """All that is no array, as JSON values."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ARRAYS}
        return values | {"validation_loss": None if self.diverged is not None else self.validation_loss}

    def arrays(self) -> bytes:
        """The arrays, in numpy's own format."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{name: getattr(self, name) for name in ARRAYS})
        return buffer.getvalue()

    @classmethod
    def of(cls, numbers: dict[str, Any], arrays: bytes) -> Outcome:
        """What ``numbers`` and ``arrays`` kept; raises ValueError in one line where they are not that."""
        try:
            with np.load(io.BytesIO(arrays), allow_pickle=False) as kept:
                found = {name: kept[name] for name in ARRAYS}
        except Exception as error:  # of many kinds, as many as there are ways of being damaged
            raise ValueError("the arrays of a run cannot be read") from error
        odd = [name for name, (kind, axes) in ARRAYS.items() if (found[name].dtype, found[name].ndim) != (kind, axes)]
        if odd:
            raise ValueError(f"the {odd[0]} of a run are of another kind")
        if not isinstance(numbers, dict):
            raise ValueError("the numbers of a run cannot be read")
        over = {"validation_loss": float("inf")} if numbers.get("validation_loss", ...) is None else {}
        return as_declared(cls, found | numbers | over, "run")
