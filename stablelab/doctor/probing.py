"""What every probe is: it measures numbers on a model and its data, leaves no trace, and judges the numbers alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .findings import Finding
from .setup import TrainingSetup


@dataclass(frozen=True)
class Probe:
    """A question to a model and its data.

    Args:
        measure: looks at the setup, takes at most a few steps' time, puts everything back, and returns numbers. Raises
            ``UnknownError`` where it cannot know.
        judge: a pure function of these numbers: a finding, or None.
        looks_for: as it stands in a list of what was not found or could not be checked.
    """

    measure: Callable[[TrainingSetup], dict[str, float]]
    judge: Callable[[Mapping[str, float]], Finding | None]
    looks_for: str

    @property
    def name(self) -> str:
        return self.judge.__name__
