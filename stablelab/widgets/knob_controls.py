"""The inputs of the knobs of a loop that is not the workbook's. A change publishes their values, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import ipywidgets as w

from .._formatting import format_number
from ..training.knobs import Choice, Knob, Knobs, Slider, Switch
from .inputs import (
    LABEL_WIDTH,
    ChoiceInput,
    Input,
    LinearNumberInput,
    LogNumberInput,
    Note,
    Publish,
    WholeNumberInput,
)

_SHORT = {"learning_rate": "lr", "max_norm": "clip", "weight_decay": "decay"}  # CSS classes, as of the settings


class KnobControls:
    """An input for each knob, in the order in which they were given.

    Args:
        run: what is steered; the values of its knobs are shown at first.
        control: called for the control to publish to.
        note: called with one line for the learner, or an empty one when all is well.

    Attributes:
        inputs: by the name of the knob.
        box: all, laid out.
    """

    def __init__(self, run: Any, control: Callable[[], Any], note: Note) -> None:
        self._control, self._note = control, note
        knobs: Knobs = run.control.settings
        self.inputs = {name: self._input(knobs, name) for name in knobs.knobs}
        sliding = [each for each in self.inputs.values() if isinstance(each, LogNumberInput | LinearNumberInput)]
        others = [each for each in self.inputs.values() if each not in sliding]
        numbers = w.VBox([w.HBox(each.widgets) for each in sliding]).add_class("stablelab-numbers")
        lists = w.VBox([widget for each in others for widget in each.widgets])
        beside = w.HBox([lists] if others else []).add_class("stablelab-choices")
        self.box = w.HBox([part for part in (numbers, beside) if part.children]).add_class("stablelab-controls")

    @property
    def widgets(self) -> tuple[w.Widget, ...]:
        """All that a learner can touch."""
        return tuple(widget for each in self.inputs.values() for widget in each.widgets)

    def show(self, knobs: Knobs) -> None:
        """Show these values from now on; nothing is published."""
        for name, each in self.inputs.items():
            if each.value != knobs.values[name]:
                each.show(knobs.values[name])

    def _input(self, knobs: Knobs, name: str) -> Input:
        knob, value, publish = knobs.knobs[name], knobs.values[name], partial(self._change, name)
        label = knobs.label_of(name)
        css = _SHORT.get(name, f"knob-{name.replace('_', '-')}")
        look: dict[str, Any] = {"css": css, "tooltip": f"live.{name}: {_reach(knob)}"}
        if isinstance(knob, Choice):
            options = [(str(each), each) for each in knob.options]
            return ChoiceInput(label, value, publish, self._note, options=options, **look)
        if isinstance(knob, Switch):
            return SwitchInput(label, value, publish, self._note, **look)
        if isinstance(knob, Slider):
            resting = knob.value if knob.value else math.sqrt(knob.low * knob.high) if knob.log else knob.low
            if knob.log:
                ends: dict[str, Any] = {"low": math.log10(knob.low), "high": math.log10(knob.high)}
                return LogNumberInput(
                    label, value, publish, self._note, absent=knob.off, resting=resting, **ends, **look
                )
            step = (knob.high - knob.low) / knob.steps
            reach: dict[str, Any] = {"low": float(knob.low), "high": float(knob.high), "step": step}
            return LinearNumberInput(label, value, publish, self._note, absent=knob.off, **reach, **look)
        return WholeNumberInput(label, value, publish, self._note, **look)

    def _change(self, name: str, value: Any) -> None:
        self._control().change(**{name: value})
        self._note("")


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
        style = {"description_width": LABEL_WIDTH}
        self.box = w.Checkbox(value=value, description=label, tooltip=tooltip, style=style)
        self.box.add_class(f"{css}-switch").observe(self._switched, "value")

    @property
    def widgets(self) -> tuple[w.Widget, ...]:
        """The box to tick."""
        return (self.box,)

    def show(self, value: bool) -> None:
        """Show this from now on; nothing is published."""
        self.value = value
        self.box.value = value

    def _switched(self, change: dict[str, bool]) -> None:
        if change["new"] != self.value:
            self.value = change["new"]
            self._publish(self.value)


def _reach(knob: Knob) -> str:
    """What it can be, in words."""
    if isinstance(knob, Slider):
        off = ", or off" if knob.off else ""
        return f"from {format_number(knob.low)} to {format_number(knob.high)}{off}; others can be typed"
    if isinstance(knob, Switch):
        return "on or off"
    return "one of the list" if isinstance(knob, Choice) else "a whole number, 0 or more"
