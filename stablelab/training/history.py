"""The append-only record of a run: one thread writes, any number of views read."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .records import Evaluation, Intervention, Step

if TYPE_CHECKING:
    import pandas


class History:
    """All steps of a run, in order. Views read ``since(n)`` and never touch the model."""

    def __init__(self, steps: tuple[Step, ...] = ()) -> None:
        self._steps: list[Step] = list(steps)
        self._lock = threading.Lock()

    def append(self, step: Step) -> None:
        """Add the next step. Records are never changed or taken back."""
        with self._lock:
            self._steps.append(step)

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, index: int) -> Step:
        return self._steps[index]

    def __iter__(self) -> Iterator[Step]:
        return iter(self.since(0))

    def since(self, n: int) -> tuple[Step, ...]:
        """The steps from the n-th (counted from 0) to the latest."""
        with self._lock:
            return tuple(self._steps[n:])

    def evaluations(self) -> tuple[Evaluation, ...]:
        """Every validation, in order."""
        return tuple(s.evaluation for s in self if s.evaluation is not None)

    def interventions(self) -> tuple[Intervention, ...]:
        """Every change made by hand, in order."""
        return tuple(change for s in self for change in s.interventions)

    def frame(self) -> pandas.DataFrame:
        """One row per step; validation columns (``validation_loss``, ``accuracy`` …) are NaN where none was due."""
        import pandas

        return pandas.DataFrame([_row(step) for step in self])

    def write(self, file: Path) -> None:
        """As JSON lines, one step a line."""
        with file.open("w", encoding="utf-8") as out:
            out.writelines(json.dumps(step.to_dict()) + "\n" for step in self)

    @classmethod
    def read(cls, file: Path) -> History:
        """What ``write`` wrote. Raises ValueError, KeyError or TypeError where a line is damaged."""
        with file.open(encoding="utf-8") as lines:
            return cls(tuple(Step.from_dict(json.loads(line)) for line in lines))


def _row(step: Step) -> dict[str, object]:
    e = step.evaluation
    nan = float("nan")
    return {
        "step": step.step,
        "epoch": step.epoch,
        "loss": step.loss,
        "learning_rate": step.learning_rates[0],
        "max_norm": nan if step.max_norm is None else step.max_norm,
        "norm_before": step.norm_before,
        "norm_after": step.norm_after,
        "clipped": step.clipped,
        "validation_loss": e.loss if e else nan,
        "accuracy": e.accuracy if e else nan,
        "precision": e.precision if e else nan,
        "recall": e.recall if e else nan,
        "f1": e.f1 if e else nan,
        "examples_per_second": step.examples_per_second,
        "tokens_per_second": nan if step.tokens_per_second is None else step.tokens_per_second,
        "seconds": step.seconds,
        "optimizer": step.optimizer,
        "diverged": step.diverged,
    }
