"""What was done by hand to a run, so that it can be done again: the intervention log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .history import History
from .records import Intervention
from .settings import Settings

GESTURE = 1.5  # seconds of training between two changes of one setting that still count as one drag of its slider


@dataclass(frozen=True)
class Log:
    """A run in the order of its settings: what it started from, and every change made by hand.

    Arguments:
        name: of the run.
        task, fingerprint: the data's name and fingerprint.
        seed, batch_size, total_steps, evaluate_every: as of ``Run``.
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
    total_steps: int
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
            settings = Settings.from_dict(values["settings"])
            interventions = tuple(Intervention(**each) for each in values["interventions"])
            return cls(**{**values, "settings": settings, "interventions": interventions})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this is not the log of a run: {type(error).__name__}: {error}") from error

    def __str__(self) -> str:
        rows = [f"{self.name}: seed {self.seed}, {self.steps} of {self.total_steps} steps, {self.settings.label}"]
        return "\n".join([*rows, *map(str, self.interventions)])


def settings_at(first: Settings, interventions: Sequence[Intervention], step: int) -> Settings:
    """The settings of a step, counted from 1, from those of the first step and the changes since."""
    changes = {each.name: each.new for each in interventions if each.step <= step}
    return first.replace(**changes) if changes else first


def last_gesture(history: History) -> int | None:
    """The first step that the last change by hand acted on; None where there was none.

    Changes of one setting that follow each other within a moment of training are one drag of its slider.
    """
    changes = history.interventions()
    if not changes:
        return None
    names = {each.name for each in changes if each.step == changes[-1].step}
    first = changes[-1].step
    for each in reversed(changes):
        between = sum(step.seconds for step in history.since(each.step - 1)[: first - each.step])
        if each.name not in names or between > GESTURE:
            break
        first = each.step
    return first
