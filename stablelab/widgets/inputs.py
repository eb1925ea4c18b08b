"""Inputs for one value each: a learner drags, types or chooses it, and it is published; it can be shown another one."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import ipywidgets as w

from .._formatting import format_number, one_line

LABEL_WIDTH = "104px"
LOG_STEP = 0.05  # of a logarithmic slider, in powers of ten: a step is a factor of 1.12
_DIGITS = 6  # after the point, of what a linear slider publishes: 0.3, not 0.30000000000000004
Publish = Callable[[Any], None]
Note = Callable[[str], None]


class Input(Protocol):
    """One value on the page."""

    label: str
    value: Any
    mark: w.HTML  # a word on whether its value still waits for a step; see ``InputColumn``
    box: w.Box  # all of it, as wide as the column that it stands in

    @property
    def widgets(self) -> tuple[w.Widget, ...]:
        """What a learner can touch, in the order of the Tab key."""

    def show(self, value: Any) -> None:
        """Show this value from now on; nothing is published."""


class NumberInput:
    """A slider, a field to type into, and where the number may be absent a box to tick: on or off.

    What it is called stands above the slider, so that a narrow column leaves the slider its length.

    Args:
        slider: without a readout; its description names the number.
        value: the number it starts at; ``absent`` for switched off.
        publish: called with the new number (or ``absent``) when the learner changes it; raises ValueError in one line
            where that cannot be, and the old number stays.
        note: called with one line for the learner where what was typed cannot be.
        css: class of the slider; that of the field ends in ``-entry``, that of the box to tick in ``-switch``.
        absent: what "off" publishes, in a tuple; nothing to tick if it is not given.
        resting: where the slider stands as long as the number is absent.
    """

    kind = "a number, such as 0.1"

    def __init__(
        self,
        slider: w.FloatSlider | w.FloatLogSlider,
        value: float | None,
        publish: Publish,
        note: Note,
        css: str,
        absent: tuple[float | None] | None = None,
        resting: float = 1.0,
    ) -> None:
        self.label, self._publish, self._note, self._absent = slider.description, publish, note, absent
        self.slider, self._number, self._syncing = slider, resting, False
        # The page's messages and the refresher come on threads of their own: a drag waits until all parts are shown.
        self._one_at_a_time = threading.RLock()
        tooltip = f"{self.label}: type, then Enter"
        # Its name has no width: the eye reads it once, above; a screen reader says it of the field too.
        self.field = w.Text(description=self.label, continuous_update=False, tooltip=tooltip, **_unlabelled("72px"))
        self.switch = None
        if absent is not None:
            tooltip = f"{self.label}: tick to switch it on"
            self.switch = w.Checkbox(indent=False, tooltip=tooltip, layout={"width": "auto", "margin": "0 2px"})
        self.mark = _mark()
        self.show(value)
        self.slider.add_class(f"{css}-slider").observe(self._dragged, "value")
        answer_to(self.field.add_class(f"{css}-entry"), self._typed, note)
        if self.switch is not None:
            self.switch.add_class(f"{css}-switch").observe(self._switched, "value")
        name = w.Label(self.label, layout={"flex": "1 1 auto", "width": "auto"})
        above = w.HBox([name, self.mark, *([] if self.switch is None else [self.switch])])
        self.box = w.VBox([above, w.HBox([self.slider, self.field])])
        self.box.add_class("stablelab-number")

    @property
    def widgets(self) -> tuple[w.Widget, ...]:
        """The box to tick if there is one, slider and field."""
        return (self.slider, self.field) if self.switch is None else (self.switch, self.slider, self.field)

    def show(self, value: float | None) -> None:
        """Show this number, or ``absent``, from now on; nothing is published."""
        off = self._absent is not None and value == self._absent[0]
        with self._one_at_a_time:
            self.value = value
            if not off and value is not None:
                self._number = value
            self._grey(off)
            self._bring_up_to_date(*self.widgets)

    def _nearest(self) -> float:
        """Where the slider can stand that is nearest to the number."""
        raise NotImplementedError

    def _is_new(self, value: float) -> bool:
        """Whether the slider has been moved, rather than rounded by the page to a stop of its own and sent back."""
        raise NotImplementedError

    def _rounded(self, value: float) -> float:
        return value

    def _fits(self, value: float) -> bool:
        return math.isfinite(value)

    def _dragged(self, change: dict[str, float]) -> None:
        value = self._rounded(change["new"])
        with self._one_at_a_time:
            if not self._syncing and self._is_new(change["new"]) and self._offer(value):
                self._number = value
                # The slider itself is left alone: the learner may have moved it on, an answer would pull it back.
                # Unless it was shown another value while this one waited.
                self._bring_up_to_date(self.field, *([self.slider] if self.slider.value != change["new"] else []))

    def _typed(self, change: dict[str, str]) -> None:
        with self._one_at_a_time:
            if not self._syncing:
                self._take(change)

    def _take(self, change: dict[str, str]) -> None:
        text = change["new"].strip().replace(",", ".")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if self.switch is not None and self._absent is not None and (text == "off" or value == self._absent[0]):
            self.switch.value = False
            self._bring_up_to_date(self.field)
        elif self._fits(value):
            self._number = value if self._offer(value) else self._number
            self._bring_up_to_date(self.slider, self.field)
        else:
            self._refuse(f"{self.label}: “{change['new']}” is not {self.kind}")

    def _switched(self, change: dict[str, bool]) -> None:
        with self._one_at_a_time:
            if not self._syncing and self._absent is not None:
                self._offer(self._number if change["new"] else self._absent[0])

    def _offer(self, value: float | None) -> bool:
        try:
            self._publish(value)
        except ValueError as error:
            self._refuse(str(error))
            return False
        self.value = value
        # What was dragged or typed a moment before it was switched off from elsewhere switches it on again.
        self._grey(self._absent is not None and value == self._absent[0])
        if self.switch is not None:
            self._bring_up_to_date(self.switch)
        return True

    def _refuse(self, why: str) -> None:
        self._note(f"{why}; it stays at {format_number(self._number)}")
        self._bring_up_to_date(self.field)

    def _bring_up_to_date(self, *widgets: w.Widget) -> None:
        """Let these follow the number. A typed one beyond the slider's ends is kept, the slider rests at its end."""
        self._syncing = True
        try:
            for widget in widgets:
                if widget is self.slider:
                    self.slider.value = self._nearest()
                elif widget is self.field:
                    self.field.value = format_number(self._number)
                else:
                    widget.value = self._absent is None or self.value != self._absent[0]
        finally:
            self._syncing = False

    def _grey(self, off: bool) -> None:
        self.slider.disabled = self.field.disabled = off
        if self.switch is not None:
            self.switch.description = "off" if off else "on"  # beside the box: a tick alone can be read either way


class LogNumberInput(NumberInput):
    """A number above 0 on a slider over powers of ten, from 10^``low`` to 10^``high``. The rest as of NumberInput."""

    kind = "a number above 0, such as 3e-4"

    def __init__(
        self,
        label: str,
        value: float | None,
        publish: Publish,
        note: Note,
        *,
        css: str,
        tooltip: str,
        absent: tuple[float | None] | None = None,
        low: float = -6,
        high: float = 0,
        resting: float = 1.0,
    ) -> None:
        look = {"description": label, "tooltip": tooltip, **_unlabelled("auto")}
        slider = w.FloatLogSlider(value=resting, min=low, max=high, step=LOG_STEP, readout=False, **look)
        super().__init__(slider, value, publish, note, css, absent, resting)

    def _nearest(self) -> float:
        exponent = round(math.log10(self._number) / LOG_STEP) * LOG_STEP
        return 10 ** min(max(exponent, self.slider.min), self.slider.max)

    def _is_new(self, value: float) -> bool:
        return abs(math.log10(value) - math.log10(self._nearest())) > 1e-6

    def _fits(self, value: float) -> bool:
        return math.isfinite(value) and value > 0


class LinearNumberInput(NumberInput):
    """A number on a slider of equal steps, from ``low`` to ``high``. The rest as of NumberInput."""

    def __init__(
        self,
        label: str,
        value: float | None,
        publish: Publish,
        note: Note,
        *,
        css: str,
        tooltip: str,
        low: float,
        high: float,
        step: float,
        absent: tuple[float | None] | None = None,
    ) -> None:
        look = {"description": label, "tooltip": tooltip, **_unlabelled("auto")}
        slider = w.FloatSlider(value=low, min=low, max=high, step=step, readout=False, **look)
        super().__init__(slider, value, publish, note, css, absent, low)

    def _nearest(self) -> float:
        stop = self.slider.min + round((self._number - self.slider.min) / self.slider.step) * self.slider.step
        return round(min(max(stop, self.slider.min), self.slider.max), _DIGITS)

    def _is_new(self, value: float) -> bool:
        return abs(value - self._nearest()) > 10**-_DIGITS

    def _rounded(self, value: float) -> float:
        return round(value, _DIGITS)


class WholeNumberInput:
    """A field for a whole number, 0 or more.

    Args:
        label: what the learner reads in front of it.
        value: the number it starts at.
        publish: called with the new number when the learner changes it; raises ValueError in one line where that cannot
            be, and the old number stays.
        note: called with one line for the learner where what was typed cannot be.
        css: class of the field, with ``-entry`` at its end.
        tooltip: what the number does.
    """

    def __init__(self, label: str, value: int, publish: Publish, note: Note, *, css: str, tooltip: str) -> None:
        self.label, self.value, self._publish, self._note = label, value, publish, note
        self.field = w.Text(value=str(value), continuous_update=False, **_labels(label, tooltip))
        answer_to(self.field.add_class(f"{css}-entry"), self._typed, note)
        self.mark = _mark()
        self.box = w.HBox([self.field, self.mark])

    @property
    def widgets(self) -> tuple[w.Widget, ...]:
        """The field."""
        return (self.field,)

    def show(self, value: int) -> None:
        """Show this number from now on; nothing is published."""
        self.value = value
        self.field.value = str(value)

    def _typed(self, change: dict[str, str]) -> None:
        text = change["new"].strip()
        if text != str(self.value):
            self._take(text)
        self.field.value = str(self.value)

    def _take(self, text: str) -> None:
        try:
            number = float(text)  # 1e5 and 20.0 are whole as well
        except ValueError:
            number = math.nan
        if not (number >= 0 and number.is_integer()):
            self._note(f"{self.label}: “{one_line(text)}” is not a whole number, 0 or more; it stays at {self.value}")
            return
        try:
            value = int(number)
            self._publish(value)
        except ValueError as error:
            self._note(f"{self.label}: {error}; it stays at {self.value}")
        else:
            self.value = value


class ChoiceInput:
    """A list to choose from.

    Args:
        label: what the learner reads in front of it.
        value: what it starts at.
        publish: called with the new value when the learner chooses.
        note: called with one line for the learner where what was chosen cannot be; what it was before stays.
        options: (what is read, value) of each.
        css: class of the list, with ``-choice`` at its end.
        tooltip: what is chosen.
    """

    def __init__(
        self,
        label: str,
        value: Any,
        publish: Publish,
        note: Note,
        *,
        options: Sequence[tuple[str, Any]],
        css: str,
        tooltip: str,
    ) -> None:
        self.label, self.value, self._publish, self._note = label, value, publish, note
        self.dropdown = w.Dropdown(options=tuple(options), value=value, **_labels(label, tooltip))
        self.dropdown.add_class(f"{css}-choice").observe(self._chosen, "value")
        self.mark = _mark()
        self.box = w.HBox([self.dropdown, self.mark])

    @property
    def widgets(self) -> tuple[w.Widget, ...]:
        """The list."""
        return (self.dropdown,)

    def show(self, value: Any) -> None:
        """Show this value from now on; nothing is published."""
        self.value = value
        self.dropdown.value = value

    def _chosen(self, change: dict[str, Any]) -> None:
        if change["new"] == self.value:
            return
        before, self.value = self.value, change["new"]
        try:
            self._publish(self.value)
        except ValueError as error:
            self._note(f"{error}; it stays as it was")
            ChoiceInput.show(self, before)


class SwitchInput:
    """On or off.

    Args:
        label: what the learner reads beside it.
        value: how it starts.
        publish: called with the new value when the learner switches.
        note: not needed: it can be either.
        css: class of the box to tick, with ``-switch`` at its end.
        tooltip: what is switched.
    """

    def __init__(self, label: str, value: bool, publish: Publish, note: Note, *, css: str, tooltip: str) -> None:
        self.label, self.value, self._publish = label, value, publish
        self.tick = w.Checkbox(value=value, indent=False, **_labels(label, tooltip))  # in line with the labels
        self.tick.add_class(f"{css}-switch").observe(self._switched, "value")
        self.mark = _mark()
        self.box = w.HBox([self.tick, self.mark])

    @property
    def widgets(self) -> tuple[w.Widget, ...]:
        """The box to tick."""
        return (self.tick,)

    def show(self, value: bool) -> None:
        """Show this from now on; nothing is published."""
        self.value = value
        self.tick.value = value

    def _switched(self, change: dict[str, bool]) -> None:
        if change["new"] != self.value:
            self.value = change["new"]
            self._publish(self.value)


class TrainedLayersInput(ChoiceInput):
    """Which layers train, from the head down: all of them, the head only, or down to one of them.

    Args:
        names: of the layers, from the head down; at least two.
        value: how many train, None for all.
        publish: called with that number when the learner chooses.
        note: not needed.
    """

    def __init__(self, names: Sequence[str], value: int | None, publish: Publish, note: Note) -> None:
        self._all = len(names)
        options = [("all layers", self._all), (f"{names[0]} only", 1)]
        options += [(f"down to {name}", count) for count, name in enumerate(names[1:-1], start=2)]
        super().__init__(
            "trains",
            self._count(value),
            lambda count: publish(None if count == self._all else count),
            note,
            options=options,
            css="unfrozen",
            tooltip="Which layers train, from the head down; the others stand still, their batch-norm statistics too.",
        )

    def show(self, value: int | None) -> None:
        """Show this number of layers, None for all, from now on; nothing is published."""
        super().show(self._count(value))

    def _count(self, value: int | None) -> int:
        return self._all if value is None else min(value, self._all)


def answer_to(field: w.Text, typed: Callable[[dict[str, str]], None], note: Note) -> None:
    """Call ``typed`` when something else is typed into the field; Enter takes an earlier note back in any case."""
    field.on_msg(lambda _field, content, _buffers: note("") if content.get("event") == "submit" else None)
    field.observe(typed, "value")


def _mark() -> w.HTML:
    return w.HTML(layout={"width": "auto", "margin": "0", "flex": "0 0 auto"})


def _labels(label: str, tooltip: str) -> dict[str, Any]:
    """What a widget is given that stands behind its label."""
    layout = {"width": "auto", "flex": "1 1 auto", "min_width": "0"}
    return {"description": label, "tooltip": tooltip, "style": {"description_width": LABEL_WIDTH}, "layout": layout}


def _unlabelled(width: str) -> dict[str, Any]:
    """What a widget is given whose description is not to take up room."""
    grows = "1 1 auto" if width == "auto" else "0 0 auto"
    layout = {"width": width, "flex": grows, "min_width": "0"}
    return {"style": {"description_width": "0px"}, "layout": layout}
