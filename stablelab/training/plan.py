"""What a plain training script must do to come to the numbers of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .settings import Settings


@dataclass(frozen=True)
class Plan:
    """What a script must do.

    Arguments:
        title: one line on the run.
        build: lines that make ``model``.
        inputs: names of the model's inputs; ``["inputs"]`` for one tensor.
        logits: the attribute of the model's output that holds the logits; empty where it is the output itself.
        settings: those from each of these steps on, counted from 1.
        steps, total_steps: steps to do, and those that the schedules count on.
        seed: of the randomness inside a step.
        layers: from the head down, the names of their parts; None for a model that is one layer.
        plateau: (step, factor): from which step on the plateau schedule multiplies by what.
        kept: the step whose weights are the result; None for the last.
    """

    title: str
    build: str
    inputs: list[str]
    logits: str
    settings: dict[int, Settings]
    steps: int
    total_steps: int
    seed: int
    layers: list[list[str]] | None
    plateau: list[tuple[int, float]]
    kept: int | None

    def ever(self, name: str) -> set[Any]:
        """Every value that a setting ever had."""
        return {getattr(each, name) for each in self.settings.values()}

    @property
    def by_layer(self) -> bool:
        """Whether it matters which layer a parameter is in. (To clipping it does: the norm adds up in that order.)"""
        acting = self.ever("layer_decay") != {1.0} or self.held or self.ever("max_norm") != {None}
        return acting and self.layers is not None and len(self.layers) > 1

    @property
    def held(self) -> bool:
        """Whether layers ever stand still."""
        return self.ever("unfrozen") != {None}
