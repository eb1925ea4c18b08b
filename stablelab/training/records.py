"""What happened: frozen records of a step, a validation and an intervention."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .._files import as_declared
from .._formatting import format_setting, setting_label

FINAL = ("finished", "stopped", "failed")  # states of a run that is over


@dataclass(frozen=True)
class Evaluation:
    """Scores on the validation split after ``step`` optimizer steps.

    ``loss`` is the mean over examples (nats for cross-entropy); ``precision``, ``recall`` and ``f1`` are macro averages
    over the classes, as scikit-learn defines them, and like ``accuracy`` in [0, 1]. ``seconds`` is what it took. NaN
    stands for what is not known.
    """

    step: int
    loss: float = math.nan
    accuracy: float = math.nan
    precision: float = math.nan
    recall: float = math.nan
    f1: float = math.nan
    seconds: float = math.nan


@dataclass(frozen=True)
class Intervention:
    """One field of the settings, changed by hand: ``step`` is the first optimizer step that used ``new``.

    ``gesture`` is the number of the gesture that it is part of, such as one drag of a slider; 0 where that is not
    known, as in a run that was saved before gestures were counted.
    """

    step: int
    name: str
    old: Any
    new: Any
    gesture: int = 0

    def __str__(self) -> str:
        return f"step {self.step}: {change_in_words(self.name, self.old, self.new)}"


@dataclass(frozen=True)
class Gesture:
    """What one gesture changed in all: a drag of a slider over many steps, or several settings at once.

    Args:
        number: of the gesture; 0 where it is not known.
        first, last: the first step that used one of its values, and the first that used the last of them.
        changes: (name, value before, value after) of each setting that ended up another than it was.
    """

    number: int
    first: int
    last: int
    changes: tuple[tuple[str, Any, Any], ...]

    @property
    def before(self) -> dict[str, Any]:
        """By name, the values that undo it."""
        return {name: old for name, old, _ in self.changes}

    @property
    def words(self) -> str:
        """What it changed: ``learning rate 1e-4 → 1e-3``."""
        return ", ".join(change_in_words(*each) for each in self.changes)

    def __str__(self) -> str:
        steps = f"step {self.first}" if self.first == self.last else f"steps {self.first}–{self.last}"
        return f"{steps}: {self.words}"


def change_in_words(name: str, old: Any, new: Any) -> str:
    """Such as ``clip threshold off → 0.5``."""
    return f"{setting_label(name)} {format_setting(name, old)} → {format_setting(name, new)}"


def gestures_in(interventions: Iterable[Intervention]) -> tuple[Gesture, ...]:
    """The interventions of each gesture folded into one, oldest first; one that led back to where it began is none."""
    together: dict[tuple[int, int], list[Intervention]] = {}
    for each in interventions:
        together.setdefault((each.gesture, 0 if each.gesture else each.step), []).append(each)
    folded = []
    for (number, _), parts in together.items():
        old: dict[str, Any] = {}
        for each in parts:
            old.setdefault(each.name, each.old)
        new = {each.name: each.new for each in parts}
        changes = tuple((name, old[name], new[name]) for name in old if old[name] != new[name])
        if changes:
            folded.append(Gesture(number, parts[0].step, parts[-1].step, changes))
    return tuple(sorted(folded, key=lambda each: (each.first, each.number)))


@dataclass(frozen=True)
class Step:
    """One optimizer step, as it was done. Of a loop that is not the workbook's, numbers that are not known are NaN.

    Args:
        step: number of steps done after this one; the first is 1.
        epoch: passes over the training split so far, as a fraction (step / steps per epoch).
        loss: mean training loss of this batch, before the update.
        learning_rates: learning rate of each parameter group, schedule included; none where it is not known.
        max_norm: the clip threshold that was used, None if off.
        clip: what it bounded: ``norm``, ``tensor`` or ``value``.
        norm_before, norm_after: global L2 norm of the gradient before and after clipping.
        clipped: whether clipping changed any gradient.
        examples_per_second: training speed of this step; tokens_per_second: the same in tokens, None for images.
        seconds: duration of the step, validation not included.
        optimizer: who did the arithmetic, such as ``AdamW · torch fused``.
        interventions: settings that changed by hand right before this step.
        evaluation: validation right after this step, if it was due.
        diverged: the loss or the gradient was not finite; no update was made.
        kept: where earlier weights were put back (after a divergence, or because early stopping keeps the best ones),
            the number of steps after which they were taken.
        stopped_early: training ended here, because the validation loss had not fallen for long enough.
        disturbed: another cell used torch's random numbers meanwhile; see ``SharedGenerator``.
        scalars: further numbers by name: what a watched loop recorded, such as ``sharpness``; in fp16 ``loss_scale``,
            and a step whose ``norm_before`` is not finite was left out because of it.
    """

    step: int
    epoch: float
    loss: float
    learning_rates: tuple[float, ...]
    max_norm: float | None
    clip: str
    norm_before: float
    norm_after: float
    clipped: bool
    examples_per_second: float
    tokens_per_second: float | None
    seconds: float
    optimizer: str
    interventions: tuple[Intervention, ...] = ()
    evaluation: Evaluation | None = None
    diverged: bool = False
    kept: int | None = None
    stopped_early: bool = False
    disturbed: bool = False
    scalars: Mapping[str, float] = field(default_factory=dict, hash=False)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Step:
        """The record that ``to_dict`` wrote; raises ValueError in one line where it is not that."""
        return as_declared(cls, values, "step")
