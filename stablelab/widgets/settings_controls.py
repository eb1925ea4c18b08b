"""Everything a learner can change while a model trains. A change publishes settings, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as w

from ..training.control import Control
from ..training.run import Run
from ..training.settings import TITLES, Settings
from .entries import Choice, Entry, WholeNumber, answer_anywhere
from .inputs import LogNumber
from .more_controls import MoreControls

_NUMBERS: dict[str, tuple[str, str, str, dict[str, Any]]] = {  # name: (label, css, tooltip, what else the slider needs)
    "learning_rate": (
        "learning rate",
        "lr",
        "η: how far one step goes; the schedule multiplies it. An arrow key moves it by a factor of 1.12.",
        {},
    ),
    "max_norm": (
        "clip threshold",
        "clip",
        "The largest gradient that is let through unshortened.",
        {"absent": (None,), "low": -3, "high": 3},
    ),
    "weight_decay": (
        "weight decay",
        "decay",
        "λ: how strongly each step pulls the weights towards 0.",
        {"absent": (0.0,), "resting": 0.01},
    ),
}
_CHOICES = {  # name: (label, options, tooltip)
    "clip": (
        "clipping",
        (("whole gradient", "norm"), ("each tensor", "tensor"), ("each value", "value")),
        "What the threshold bounds: the norm of all gradients together, that of each tensor, or each value.",
    ),
    "optimizer": (
        "optimizer",
        tuple((title, name) for name, title in TITLES.items()),
        "Another optimizer starts with fresh state.",
    ),
    "implementation": (
        "run by",
        (("torch fused", "torch"), ("workbook", "workbook")),
        "The same arithmetic by torch's fused code or by the workbook's own; a change starts with fresh state.",
    ),
    "schedule": (
        "schedule",
        tuple((name, name) for name in ("constant", "exponential", "cosine", "plateau")),
        "How the learning rate changes by itself as training goes on.",
    ),
}


class Controls:
    """The widgets of the settings.

    Arguments:
        run: what is steered: they show its settings at first, and only what can act on it is there.
        control: called for the control to publish to (a run that is reset has a new one).
        note: called with one line for the learner, or an empty one.

    Attributes:
        each: by the name of the setting; more: those folded away; box: all, laid out; widgets: all, flat.
    """

    def __init__(self, run: Run, control: Callable[[], Control], note: Callable[[str], None]) -> None:
        self._control, self._note = control, note
        settings = run.control.settings
        self.learning_rate, self.max_norm, self.weight_decay = (self._number(name, settings) for name in _NUMBERS)
        choices = {name: self._choice(name, settings) for name in _CHOICES}
        self.clip, self.optimizer, self.implementation, self.schedule = (each.box for each in choices.values())
        self.warmup = WholeNumber(
            "warm-up steps",
            settings.warmup_steps,
            lambda value: self._change(warmup_steps=value),
            note,
            css="warmup",
            tooltip="The learning rate grows from 0 over this many first steps.",
        )
        self.more = MoreControls(run, self._change, note)
        numbers = {"learning_rate": self.learning_rate, "max_norm": self.max_norm, "weight_decay": self.weight_decay}
        self.each: dict[str, Entry] = {**numbers, **choices, "warmup_steps": self.warmup, **self.more.each}
        self.box = self._lay_out()
        answer_anywhere(*self.widgets)

    @property
    def widgets(self) -> tuple[w.Widget, ...]:
        """All of them, in the order of the Tab key."""
        sliders = (*self.learning_rate.widgets, *self.max_norm.widgets, *self.weight_decay.widgets)
        choices = (self.optimizer, self.implementation, self.clip, self.schedule, self.warmup.entry)
        return (*sliders, *choices, *self.more.widgets)

    def show(self, settings: Settings) -> None:
        """Show these settings from now on; nothing is published."""
        for name, entry in self.each.items():
            entry.show(getattr(settings, name))
        self.more.adapt(settings)

    def _change(self, **changes: Any) -> None:
        self._control().change(**changes)

    def _number(self, name: str, settings: Settings) -> LogNumber:
        label, css, tooltip, rest = _NUMBERS[name]
        value, publish = getattr(settings, name), lambda new: self._change(**{name: new})
        return LogNumber(label, value, publish, self._note, css=css, tooltip=tooltip, **rest)

    def _choice(self, name: str, settings: Settings) -> Choice:
        label, options, tooltip = _CHOICES[name]
        value = getattr(settings, name)
        return Choice(label, options, value, lambda new: self._chosen(name, label, new), css=name, tooltip=tooltip)

    def _chosen(self, name: str, label: str, value: str) -> None:
        self._change(**{name: value})
        fresh = name in ("optimizer", "implementation")
        self._note(f"{label}: {value} from the next step on, with fresh optimizer state" if fresh else "")

    def _lay_out(self) -> w.Box:
        rows = [w.HBox(number.widgets) for number in (self.learning_rate, self.max_norm, self.weight_decay)]
        left = w.VBox(rows)
        near = w.VBox([self.optimizer, self.implementation, self.clip])
        far = w.VBox([self.schedule, self.warmup.entry])
        left.add_class("stablelab-numbers")
        right = w.HBox([near, far])
        right.add_class("stablelab-choices")
        first = w.HBox([left, right])
        first.add_class("stablelab-controls")
        return w.VBox([first, self.more.box])
