"""The append-only record of a run: one thread writes, any number of views read. And what was done by hand in it."""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._files import as_declared
from .records import Evaluation, Gesture, Intervention, Step, gestures_in
from .settings import Settings

if TYPE_CHECKING:
    import pandas


class History:
    """All steps of a run, in order. Views read ``since(n)`` and never touch the model."""

    def __init__(self, steps: tuple[Step, ...] = ()) -> None:
        self._steps: list[Step] = list(steps)
        self._lock = threading.Lock()

    def append(self, step: Step) -> None:
        """Add the next step. Records are never taken back."""
        with self._lock:
            self._steps.append(step)

    def add_evaluation(self, evaluation: Evaluation) -> None:
        """Let a validation that came after its step was appended join it: the newest, and there has to be one."""
        with self._lock:
            self._steps[-1] = replace(self._steps[-1], evaluation=evaluation)

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

    def gestures(self) -> tuple[Gesture, ...]:
        """What was changed by hand, in order: all changes of one gesture, such as a drag of a slider, as one."""
        return gestures_in(self.interventions())

    def frame(self) -> pandas.DataFrame:
        """One row per step, with a column per further scalar.

        Validation columns (``validation_loss``, ``accuracy`` …) are NaN where none was due. ``changed`` says in words
        what a gesture changed, in the row of the first step that used it; empty elsewhere.
        """
        import pandas

        steps = self.since(0)
        words: dict[int, list[str]] = {}
        for each in gestures_in(change for step in steps for change in step.interventions):
            words.setdefault(each.first, []).append(each.words)
        return pandas.DataFrame([{**_row(step), "changed": "; ".join(words.get(step.step, ()))} for step in steps])

    def to_csv(self, file: str | os.PathLike[str]) -> None:
        """Write ``frame()`` as a table of comma-separated values."""
        self.frame().to_csv(file, index=False)

    def write(self, file: Path) -> None:
        """As JSON lines, one step a line."""
        with file.open("w", encoding="utf-8") as out:
            out.writelines(json.dumps(step.to_dict()) + "\n" for step in self)

    @classmethod
    def read(cls, file: Path) -> History:
        """What ``write`` wrote. Raises ValueError where a line is damaged."""
        with file.open(encoding="utf-8") as lines:
            return cls(tuple(Step.from_dict(json.loads(line)) for line in lines))


@dataclass(frozen=True)
class Log:
    """A run in the order of its settings: what it started from, and every change made by hand.

    Args:
        name: of the run.
        task, fingerprint: the data's name and fingerprint.
        seed, batch_size, total_steps, evaluate_every: as of ``Run``; without an end ``total_steps`` is None.
        steps: how many steps the run has done.
        parameters: how many numbers it trains: tells a head from a whole model.
        settings: those of the first step.
        interventions: every change, in order.
    """

    name: str
    task: str
    fingerprint: str
    seed: int
    batch_size: int
    total_steps: int | None
    evaluate_every: int
    steps: int
    parameters: int
    settings: Settings
    interventions: tuple[Intervention, ...]

    def at(self, step: int) -> Settings:
        """The settings of a step, counted from 1."""
        return settings_at(self.settings, self.interventions, step)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Log:
        """What ``to_dict`` wrote. Raises ValueError in one line where it is not that."""
        try:
            return as_declared(cls, values, "log")
        except ValueError as error:
            raise ValueError(f"this is not the log of a run: {error}") from error

    def __str__(self) -> str:
        steps = f"{self.steps} steps" if self.total_steps is None else f"{self.steps} of {self.total_steps} steps"
        rows = [f"{self.name}: seed {self.seed}, {steps}, {self.settings.label}"]
        return "\n".join([*rows, *map(str, gestures_in(self.interventions))])


def settings_at(first: Settings, interventions: Sequence[Intervention], step: int) -> Settings:
    """The settings of a step, counted from 1, from those of the first step and the changes since."""
    changes = {each.name: each.new for each in interventions if each.step <= step}
    return first.replace(**changes) if changes else first


def last_gesture(history: History) -> int | None:
    """The first step that the last change by hand acted on; None where there was none."""
    gestures = history.gestures()
    return gestures[-1].first if gestures else None


def _row(step: Step) -> dict[str, object]:
    e = step.evaluation
    nan = math.nan
    known = {
        "step": step.step,
        "epoch": step.epoch,
        "loss": step.loss,
        "learning_rate": step.learning_rates[0] if step.learning_rates else nan,
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
    return known | {name: value for name, value in step.scalars.items() if name not in known}
