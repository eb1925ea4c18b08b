"""What every rule is: a pure function of a log that finds something, finds nothing, or says why it cannot know."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from .._formatting import format_number
from .findings import Cause, Finding
from .training_log import FEWEST, TrainingLog

Function: TypeAlias = Callable[[TrainingLog], Finding | None]


class UnknownError(Exception):
    """The log does not say; why, in one line."""


@dataclass(frozen=True)
class Rule:
    """A rule and what it looks for, as it stands in a list of what was not found or could not be checked."""

    function: Function
    looks_for: str

    @property
    def name(self) -> str:
        return self.function.__name__


def need_rows(log: TrainingLog, rows: int = FEWEST) -> None:
    """Raise UnknownError where a log has too few finite losses."""
    there = int(np.isfinite(log.losses).sum())
    if there < rows:
        are = f"{log.unit} is" if there == 1 else f"{log.unit}s are"
        lost = "" if there == len(log) else " with a finite loss"
        raise UnknownError(f"{there} {are} too few{lost}; it takes {rows}")


def need_classes(log: TrainingLog) -> tuple[int, float]:
    """C, and the loss of guessing with the label shares. Raises UnknownError where C is not known."""
    if log.classes is None or log.guessing is None:
        raise UnknownError(log.why_no_classes)
    return log.classes, log.guessing


def need_beginning(log: TrainingLog) -> float:
    """The loss of the very first step."""
    if not log.begins:
        if log.unit != "step":
            raise UnknownError(f"the log has a line per {log.unit}, and no loss of the first step")
        if log.averaged > 1:
            raise UnknownError(f"each line is the mean of {log.averaged:g} steps: log every step (logging_steps=1)")
        raise UnknownError(f"the log begins at step {log.steps[0]:g}")
    first = float(log.losses[0])
    if not math.isfinite(first):
        raise UnknownError("the first loss is not finite")
    return first


def made(
    function: Callable[..., Finding | None],
    symptom: str,
    evidence: str,
    causes: tuple[Cause, ...],
    *,
    steps: tuple[float, float] = (0, 0),
    numbers: Mapping[str, float] | None = None,
    cure: str = "",
    confidence: str = "likely",
    alarm: bool = True,
) -> Finding:
    """A finding of a rule or of a probe's judge; its source is the last paragraph of that function's docstring."""
    source = (function.__doc__ or "").partition("Source:")[2]
    return Finding(
        rule=function.__name__,
        symptom=symptom,
        evidence=evidence,
        numbers=dict(numbers or {}),
        steps=(int(steps[0]), int(steps[1])),
        causes=causes,
        cure=cure,
        confidence=confidence,
        source=" ".join(source.split()),
        alarm=alarm,
    )


write = format_number
