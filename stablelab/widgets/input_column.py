"""Inputs in a narrow column: what they publish, what of it still waits for a step, and how a gesture is undone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as w

from ..training.control import Control
from ..training.records import FINAL, Gesture
from .inputs import Input, Note

_WAITS = "<span class='stablelab-waits' role='status' title='{1}'>{0}</span>"


class InputColumn:
    """The inputs of what steers a run.

    Args:
        control: called for the control to publish to (a run that is reset has a new one).
        note: called with one line for the learner, or an empty one when all is well.
        state: of the run.

    Attributes:
        inputs: by the name of the setting, in the order of the Tab key.
        box: all, laid out.
    """

    inputs: Mapping[str, Input]
    box: w.Box
    over = "the run is over: branch or reset to use this"

    def __init__(self, control: Callable[[], Control[Any]], note: Note, state: str) -> None:
        self._control, self._note, self._over = control, note, state in FINAL

    def show(self, settings: Any) -> None:
        """Show these settings from now on; nothing is published."""
        raise NotImplementedError

    def look(self, state: str) -> None:
        """Mark the values that no step of the run, which is in this state, has used yet. Refresher only."""
        self._over = state in FINAL
        said = _WAITS.format(*(("unused", self.over) if self._over else ("waits", "waits for the next step")))
        unused = self._control().unused()
        for name, each in self.inputs.items():
            each.mark.value = said if name in unused else ""

    def undo(self, gesture: Gesture) -> None:
        """Set back what a gesture changed, as a gesture of its own, and show it."""
        self.apply(gesture.before)

    def apply(self, changes: Mapping[str, Any]) -> None:
        """Change these settings, by name, as a gesture of its own, and show it."""
        control = self._control()
        self.show(control.change(gesture=control.new_gesture(), **changes))
        self._say()

    def _say(self, note: str = "") -> None:
        """Something was published; where the run is over that comes first."""
        self._note(self.over if self._over else note)


def in_a_column(inputs: Sequence[Input]) -> w.Box:
    """The inputs below each other, each as wide as the column."""
    column = w.VBox([each.box for each in inputs], layout={"width": "100%", "flex_flow": "column nowrap"})
    column.add_class("stablelab-column")
    return column


def all_widgets(inputs: Sequence[Input]) -> tuple[w.Widget, ...]:
    """What a learner can touch of them, in the order of the Tab key."""
    return tuple(widget for each in inputs for widget in each.widgets)
