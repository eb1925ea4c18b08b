"""What was changed by hand in a run, newest first, and the buttons that undo it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ipywidgets as w

from .._formatting import one_line
from ..training.records import Gesture
from . import wording

LINES = 6  # with a button; those before them are said


class ChangeLog:
    """One line for each gesture, newest first, and beside the newest a button that undoes it.

    A line keeps its widgets as long as it has them, so that a press undoes what the learner read beside the button.

    Args:
        undo: called with the gesture to undo, on the thread that the press arrives on.

    Attributes:
        lines: those with a button, as far as they are in use; newest first.
        rest: those without; box: all.
    """

    def __init__(self, undo: Callable[[Gesture], object]) -> None:
        self._all = [ChangeLine(undo) for _ in range(LINES)]
        self.lines: list[ChangeLine] = []
        self.rest = w.HTML()
        self.box = w.VBox([self.rest])
        self.box.add_class("lab-log")
        self.show(())

    def show(self, gestures: Sequence[Gesture]) -> None:
        """Show these, oldest first as they come, from now on. Refresher only."""
        newest = gestures[-LINES:]
        keys = [key(each) for each in newest]
        known = {line.key: line for line in self._all if line.key in keys}
        free = [line for line in self._all if line.key not in keys]
        self.lines = [known.get(each) or free.pop() for each in reversed(keys)]
        for line, each in zip(self.lines, reversed(newest), strict=True):
            line.show(each)
        older = gestures[:-LINES]
        self.rest.value = wording.log(older) if older or not gestures else ""
        children = (*(line.box for line in self.lines), self.rest)
        if self.box.children != children:
            self.box.children = children


class ChangeLine:
    """What a gesture changed, and the button."""

    def __init__(self, undo: Callable[[Gesture], object]) -> None:
        self._undo = undo
        self.key: tuple[int, int] | None = None
        self.text = w.HTML(layout={"width": "auto", "margin": "0 2px"})
        self.button = w.Button(description="undo", layout={"width": "auto", "height": "22px", "margin": "0 2px"})
        self.button.add_class("lab-undo").on_click(lambda _: self._undo(self._gesture))
        self.box = w.HBox([self.text, self.button])

    def show(self, gesture: Gesture) -> None:
        """Show this one from now on. Refresher only."""
        self._gesture, self.key = gesture, key(gesture)
        self.text.value = wording.change(gesture)
        self.button.tooltip = f"set back, for the steps to come: {one_line(gesture.words, wording.LONGEST)}"


def key(gesture: Gesture) -> tuple[int, int]:
    """What stays the same of a gesture that goes on."""
    return gesture.number, gesture.first
