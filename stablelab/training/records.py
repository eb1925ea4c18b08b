"""What happened: frozen records of a step, a validation and an intervention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .._formatting import format_setting, setting_label

FINAL = ("finished", "stopped", "failed")  # states of a run that is over


@dataclass(frozen=True)
class Evaluation:
    """Scores on the validation split after ``step`` optimizer steps.

    ``loss`` is the mean over examples (nats for cross-entropy); ``precision``, ``recall`` and ``f1`` are macro averages
    over the classes, as scikit-learn defines them, and like ``accuracy`` in [0, 1]. ``seconds`` is what it took.
    """

    step: int
    loss: float
    accuracy: float
    precision: float
    recall: float
    f1: float
    seconds: float


@dataclass(frozen=True)
class Intervention:
    """One field of the settings, changed by hand: ``step`` is the first optimizer step that used ``new``."""

    step: int
    name: str
    old: Any
    new: Any

    def __str__(self) -> str:
        old, new = format_setting(self.name, self.old), format_setting(self.name, self.new)
        return f"step {self.step}: {setting_label(self.name)} {old} → {new}"


@dataclass(frozen=True)
class Step:
    """One optimizer step, as it was done.

    Args:
        step: number of steps done after this one; the first is 1.
        epoch: passes over the training split so far, as a fraction (step / steps per epoch).
        loss: mean training loss of this batch, before the update.
        learning_rates: learning rate of each parameter group, schedule included.
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
        scalars: further numbers that a loop of the learner's recorded, by name.
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
    scalars: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Step:
        """The record that ``to_dict`` wrote."""
        values = dict(values)
        values["learning_rates"] = tuple(values["learning_rates"])
        values["interventions"] = tuple(Intervention(**each) for each in values["interventions"])
        if values["evaluation"] is not None:
            values["evaluation"] = Evaluation(**values["evaluation"])
        return cls(**values)
