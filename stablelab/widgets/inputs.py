"""Numbers that a learner may drag or type."""

from __future__ import annotations

import math
from collections.abc import Callable

import ipywidgets as w

from .._formatting import format_number
from .entries import Note, look

STEP = 0.05  # of a logarithmic slider, in powers of ten: a step is a factor of 1.12
_DIGITS = 6  # after the point, of what a plain slider says: 0.3, not 0.30000000000000004


class Number:
    """A slider, a field to type into, and where the number may be absent a switch "off".

    Arguments:
        slider: without a readout; its description names the number.
        value: the number it starts at; ``absent`` for switched off.
        publish: called with the new number (or ``absent``) when the learner changes it; raises ValueError in one line
            where that cannot be, and the old number stays.
        note: called with one line for the learner, or with an empty one when all is well.
        css: class of the slider; that of the field ends in ``-entry``, that of the switch in ``-off``.
        absent: what "off" publishes; no switch if it is not given.
        resting: where the slider stands as long as the number is absent.
    """

    kind = "a number, such as 0.1"

    def __init__(
        self,
        slider: w.FloatSlider | w.FloatLogSlider,
        value: float | None,
        publish: Callable[[float | None], None],
        note: Note,
        css: str,
        absent: tuple[float | None] | None = None,
        resting: float = 1.0,
    ) -> None:
        self.label, self._publish, self._note, self._absent = slider.description, publish, note, absent
        self.slider, self._number, self._syncing = slider, resting, False
        self.entry = w.Text(continuous_update=False, tooltip=f"{self.label}: type, then Enter")
        self.off = w.ToggleButton(description="off", tooltip=f"{self.label}: switch off and on")
        self.show(value)
        for widget, suffix in ((self.slider, "slider"), (self.entry, "entry"), (self.off, "off")):
            widget.add_class(f"{css}-{suffix}")
        self.slider.observe(self._dragged, "value")
        self.entry.observe(self._typed, "value")
        self.off.observe(self._switched, "value")

    @property
    def widgets(self) -> tuple[w.Widget, ...]:
        """Slider and field, and the switch if there is one."""
        return (self.slider, self.entry) if self._absent is None else (self.slider, self.entry, self.off)

    def show(self, value: float | None) -> None:
        """Show this number, or ``absent``, from now on; nothing is published."""
        off = self._absent is not None and value == self._absent[0]
        self.value = value
        if not off and value is not None:
            self._number = value
        self._grey(off)
        self._show(self.slider, self.entry, self.off)

    def _nearest(self) -> float:
        """Where the slider can stand that is nearest to the number."""
        raise NotImplementedError

    def _is_new(self, value: float) -> bool:
        """Whether the slider has been moved, rather than rounded by the page to a stop of its own and sent back."""
        raise NotImplementedError

    def _dragged(self, change: dict[str, float]) -> None:
        value = self._rounded(change["new"])
        if not self._syncing and self._is_new(change["new"]) and self._offer(value):
            # The slider itself is left alone: the learner may have moved it on, an answer would pull it back.
            self._number = value
            self._show(self.entry)

    def _rounded(self, value: float) -> float:
        return value

    def _fits(self, value: float) -> bool:
        return math.isfinite(value)

    def _typed(self, change: dict[str, str]) -> None:
        if self._syncing:
            return
        try:
            value = float(change["new"].replace(",", "."))
        except ValueError:
            value = math.nan
        if self._fits(value):
            self._number = value if self._offer(value) else self._number
            self._show(self.slider, self.entry)
        else:
            self._refuse(f"{self.label}: “{change['new']}” is not {self.kind}")

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
        self._note(f"{why}; it stays at {format_number(self._number)}")
        self._show(self.entry)

    def _show(self, *widgets: w.Widget) -> None:
        """Let these follow the number. A typed one beyond the slider's ends is kept, the slider rests at its end."""
        self._syncing = True
        try:
            for widget in widgets:
                if widget is self.off:
                    self.off.value = self._absent is not None and self.value == self._absent[0]
                else:
                    widget.value = self._nearest() if widget is self.slider else format_number(self._number)
        finally:
            self._syncing = False

    def _grey(self, off: bool) -> None:
        self.slider.disabled = self.entry.disabled = off


class LogNumber(Number):
    """A number above 0 on a slider over powers of ten, from 10^``low`` to 10^``high``. The rest as of ``Number``."""

    kind = "a number above 0, such as 3e-4"

    def __init__(
        self,
        label: str,
        value: float | None,
        publish: Callable[[float | None], None],
        note: Note,
        *,
        css: str,
        tooltip: str,
        absent: tuple[float | None] | None = None,
        low: float = -6,
        high: float = 0,
        resting: float = 1.0,
    ) -> None:
        slider = w.FloatLogSlider(value=resting, min=low, max=high, step=STEP, readout=False, **look(label, tooltip))
        super().__init__(slider, value, publish, note, css, absent, resting)

    def _nearest(self) -> float:
        exponent = round(math.log10(self._number) / STEP) * STEP
        return 10 ** min(max(exponent, self.slider.min), self.slider.max)

    def _is_new(self, value: float) -> bool:
        return abs(math.log10(value) - math.log10(self._nearest())) > 1e-6

    def _fits(self, value: float) -> bool:
        return math.isfinite(value) and value > 0


class PlainNumber(Number):
    """A number on a slider of equal steps, from ``low`` to ``high``. The rest as of ``Number``."""

    def __init__(
        self,
        label: str,
        value: float,
        publish: Callable[[float | None], None],
        note: Note,
        *,
        css: str,
        tooltip: str,
        low: float,
        high: float,
        step: float,
    ) -> None:
        slider = w.FloatSlider(value=low, min=low, max=high, step=step, readout=False, **look(label, tooltip))
        super().__init__(slider, value, publish, note, css)

    def _nearest(self) -> float:
        stop = self.slider.min + round((self._number - self.slider.min) / self.slider.step) * self.slider.step
        return round(min(max(stop, self.slider.min), self.slider.max), _DIGITS)

    def _is_new(self, value: float) -> bool:
        return abs(value - self._nearest()) > 10**-_DIGITS

    def _rounded(self, value: float) -> float:
        return round(value, _DIGITS)
