"""The inputs of the knobs of a loop that is not the workbook's. A change publishes their values, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import ipywidgets as w

from .._formatting import format_number
from ..training.knobs import Choice, Knob, Knobs, Slider, Switch
from .input_column import InputColumn, all_widgets, in_a_column
from .inputs import ChoiceInput, Input, LinearNumberInput, LogNumberInput, Note, SwitchInput, WholeNumberInput

_SHORT = {"learning_rate": "lr", "max_norm": "clip", "weight_decay": "decay"}  # CSS classes, as of the settings


class KnobControls(InputColumn):
    """An input for each knob, in the order in which they were given, in one narrow column.

    Args:
        run: what is steered; the values of its knobs are shown at first.
        control: called for the control to publish to.
        note: called with one line for the learner, or an empty one when all is well.

    Attributes:
        inputs: by the name of the knob.
        box: all, laid out.
    """

    over = "the run is over: run its cell again to use this"

    def __init__(self, run: Any, control: Callable[[], Any], note: Note) -> None:
        super().__init__(control, note, run.state)
        knobs: Knobs = run.control.settings
        self.inputs = {name: self._input(knobs, name) for name in knobs.knobs}
        self.box = in_a_column(list(self.inputs.values())).add_class("stablelab-steering")

    @property
    def widgets(self) -> tuple[w.Widget, ...]:
        """All that a learner can touch."""
        return all_widgets(list(self.inputs.values()))

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
        self._say()


def _reach(knob: Knob) -> str:
    """What it can be, in words."""
    if isinstance(knob, Slider):
        off = ", or off" if knob.off else ""
        return f"from {format_number(knob.low)} to {format_number(knob.high)}{off}; others can be typed"
    if isinstance(knob, Switch):
        return "on or off"
    return "one of the list" if isinstance(knob, Choice) else "a whole number, 0 or more"
