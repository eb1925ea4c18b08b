"""Numbers that a learner may drag or type."""

from __future__ import annotations

import math
from collections.abc import Callable

import ipywidgets as w

from ..training.record import number

STEP = 0.05  # of a slider, in powers of ten: a step is a factor of 1.12
LABEL_WIDTH = "104px"


def answer_anywhere(*widgets: w.Widget) -> None:
    """Let messages of the page reach these widgets while a cell executes.

    ipykernel 7.4 handles a page's message on the thread that last sent on that channel, which may be the one that a
    cell keeps busy; without this private routing it takes the thread the page asked for.
    """
    for widget in widgets:
        if hasattr(widget.comm, "_reply_subshell_for"):
            widget.comm._reply_subshell_for = None


class LogNumber:
    """A slider over powers of ten, a field to type into, and where the number may be absent a switch "off".

    Arguments:
        label: what the learner reads in front of it.
        value: the number it starts at; ``absent`` for switched off.
        publish: called with the new number (or ``absent``) when the learner changes it; raises ValueError in one line
            where that cannot be, and the old number stays.
        note: called with one line for the learner, or with an empty one when all is well.
        css: class of the slider; that of the field ends in ``-entry``, that of the switch in ``-off``.
        tooltip: what the number does.
        absent: what "off" publishes; no switch if it is not given.
        low, high: ends of the slider, as powers of ten.
        resting: where the slider stands as long as the number is absent.
    """

    def __init__(
        self,
        label: str,
        value: float | None,
        publish: Callable[[float | None], None],
        note: Callable[[str], None],
        *,
        css: str,
        tooltip: str,
        absent: tuple[float | None] | None = None,
        low: float = -6,
        high: float = 0,
        resting: float = 1.0,
    ) -> None:
        self.label, self._publish, self._note, self._absent = label, publish, note, absent
        off = absent is not None and value == absent[0]
        self.value: float | None = value
        self._number: float = resting if off or value is None else value
        self._syncing = False
        look = {"description": label, "tooltip": tooltip, "style": {"description_width": LABEL_WIDTH}}
        self.slider = w.FloatLogSlider(value=self._number, min=low, max=high, step=STEP, readout=False, **look)
        self.entry = w.Text(value=number(self._number), continuous_update=False, tooltip=f"{label}: type, then Enter")
        self.off = w.ToggleButton(value=off, description="off", tooltip=f"{label}: switch off and on")
        self._grey(off)
        for widget, suffix in ((self.slider, "slider"), (self.entry, "entry"), (self.off, "off")):
            widget.add_class(f"{css}-{suffix}")
        self.slider.observe(self._dragged, "value")
        self.entry.observe(self._typed, "value")
        self.off.observe(self._switched, "value")

    @property
    def widgets(self) -> tuple[w.Widget, ...]:
        """Slider and field, and the switch if there is one."""
        return (self.slider, self.entry) if self._absent is None else (self.slider, self.entry, self.off)

    def _dragged(self, change: dict[str, float]) -> None:
        # The page rounds what the slider is given to the slider's steps and sends that back: not a move of the learner.
        moved = abs(math.log10(change["new"]) - math.log10(self._nearest())) > 1e-6
        if moved and not self._syncing and self._offer(change["new"]):
            # The slider itself is left alone: the learner may have moved it on, an answer would pull it back.
            self._number = change["new"]
            self._show(self.entry)

    def _nearest(self) -> float:
        """Where the slider can stand that is nearest to the number."""
        exponent = round(math.log10(self._number) / STEP) * STEP
        return 10 ** min(max(exponent, self.slider.min), self.slider.max)

    def _typed(self, change: dict[str, str]) -> None:
        if self._syncing:
            return
        try:
            value = float(change["new"].replace(",", "."))
        except ValueError:
            value = math.nan
        if math.isfinite(value) and value > 0:
            self._number = value if self._offer(value) else self._number
            self._show(self.slider, self.entry)
        else:
            self._refuse(f"“{change['new']}” is not a number above 0, such as 3e-4")

    def _switched(self, change: dict[str, bool]) -> None:
        if self._syncing or self._absent is None:
            return
        self._grey(change["new"])
        self._offer(self._absent[0] if change["new"] else self._number)

    def _offer(self, value: float | None) -> bool:
        try:
            self._publish(value)
        except ValueError as error:
            self._refuse(str(error))
            return False
        self.value = value
        self._note("")
        return True

    def _refuse(self, why: str) -> None:
        self._note(f"{self.label}: {why}; it stays at {number(self._number)}")
        self._show(self.entry)

    def _show(self, *widgets: w.Widget) -> None:
        """Let these follow the number. A typed one beyond the slider's ends is kept, the slider rests at its end."""
        self._syncing = True
        try:
            for widget in widgets:
                widget.value = self._nearest() if widget is self.slider else number(self._number)
        finally:
            self._syncing = False

    def _grey(self, off: bool) -> None:
        self.slider.disabled = self.entry.disabled = off


class WholeNumber:
    """A field for a whole number, 0 or more. Arguments as of ``LogNumber``."""

    def __init__(
        self,
        label: str,
        value: int,
        publish: Callable[[int], None],
        note: Callable[[str], None],
        *,
        css: str,
        tooltip: str,
    ) -> None:
        self.label, self.value, self._publish, self._note = label, value, publish, note
        look = {"description": label, "tooltip": tooltip, "style": {"description_width": LABEL_WIDTH}}
        self.entry = w.Text(value=str(value), continuous_update=False, **look)
        self.entry.add_class(f"{css}-entry")
        self.entry.observe(self._typed, "value")

    def _typed(self, change: dict[str, str]) -> None:
        text = change["new"].strip()
        if text == str(self.value):
            return
        if text.isascii() and text.isdigit():
            self.value = int(text)
            self._publish(self.value)
            self._note("")
        else:
            self._note(f"{self.label}: “{change['new']}” is not a whole number, 0 or more; it stays at {self.value}")
        self.entry.value = str(self.value)
