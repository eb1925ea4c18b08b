"""What a learner can drag, type or choose. Each entry publishes one value, and can be shown another one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import ipywidgets as w

LABEL_WIDTH = "104px"
Note = Callable[[str], None]


class Entry(Protocol):
    """One value on the page."""

    @property
    def widgets(self) -> tuple[w.Widget, ...]:
        """What it is made of, in the order of the Tab key."""

    def show(self, value: Any) -> None:
        """Show this value from now on; nothing is published."""


def answer_anywhere(*widgets: w.Widget) -> None:
    """Let messages of the page reach these widgets while a cell executes.

    ipykernel 7.4 handles a page's message on the thread that last sent on that channel, which may be the one that a
    cell keeps busy; without this private routing it takes the thread the page asked for.
    """
    for widget in widgets:
        if hasattr(widget.comm, "_reply_subshell_for"):
            widget.comm._reply_subshell_for = None


def look(label: str, tooltip: str) -> dict[str, Any]:
    """What every labelled widget is given."""
    return {"description": label, "tooltip": tooltip, "style": {"description_width": LABEL_WIDTH}}


class WholeNumber:
    """A field for a whole number, 0 or more.

    Arguments:
        label: what the learner reads in front of it.
        value: the number it starts at.
        publish: called with the new number when the learner changes it; raises ValueError in one line where that cannot
            be, and the old number stays.
        note: called with one line for the learner, or with an empty one when all is well.
        css: class of the field, with ``-entry`` at its end.
        tooltip: what the number does.
    """

    def __init__(
        self, label: str, value: int, publish: Callable[[int], None], note: Note, *, css: str, tooltip: str
    ) -> None:
        self.label, self.value, self._publish, self._note = label, value, publish, note
        self.entry = w.Text(value=str(value), continuous_update=False, **look(label, tooltip))
        self.entry.add_class(f"{css}-entry")
        self.entry.observe(self._typed, "value")

    @property
    def widgets(self) -> tuple[w.Widget, ...]:
        """The field."""
        return (self.entry,)

    def show(self, value: int) -> None:
        """Show this number from now on; nothing is published."""
        self.value = value
        self.entry.value = str(value)

    def _typed(self, change: dict[str, str]) -> None:
        text = change["new"].strip()
        if text != str(self.value):
            self._note(self._taken(text))
        self.entry.value = str(self.value)

    def _taken(self, text: str) -> str:
        """Publish what was typed; what there is to say about it."""
        if not (text.isascii() and text.isdigit()):
            return f"{self.label}: “{text}” is not a whole number, 0 or more; it stays at {self.value}"
        try:
            value = int(text)
            self._publish(value)
        except ValueError as error:
            return f"{self.label}: {error}; it stays at {self.value}"
        self.value = value
        return ""


class Choice:
    """A list to choose from.

    Arguments:
        label: what the learner reads in front of it.
        options: (what is read, value) of each.
        value: what it starts at.
        publish: called with the new value when the learner chooses.
        css: class of the list, with ``-choice`` at its end.
        tooltip: what is chosen.
    """

    def __init__(
        self,
        label: str,
        options: Sequence[tuple[str, Any]],
        value: Any,
        publish: Callable[[Any], None],
        *,
        css: str,
        tooltip: str,
    ) -> None:
        self.value, self._publish = value, publish
        self.box = w.Dropdown(options=tuple(options), value=value, **look(label, tooltip))
        self.box.add_class(f"{css}-choice")
        self.box.observe(self._chosen, "value")

    @property
    def widgets(self) -> tuple[w.Widget, ...]:
        """The list."""
        return (self.box,)

    def show(self, value: Any) -> None:
        """Show this value from now on; nothing is published."""
        self.value = value
        self.box.value = value

    def _chosen(self, change: dict[str, Any]) -> None:
        if change["new"] != self.value:
            self.value = change["new"]
            self._publish(self.value)
