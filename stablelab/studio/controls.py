"""Everything a learner can change while a model trains. A change publishes settings, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as w

from ..training.control import Control
from ..training.settings import TITLES, Settings
from .entries import LABEL_WIDTH, LogNumber, WholeNumber, answer_anywhere

_OPTIMIZERS = tuple((title, name) for name, title in TITLES.items())
_CLIPS = (("whole gradient", "norm"), ("each tensor", "tensor"), ("each value", "value"))
_SCHEDULES = (("constant", "constant"), ("exponential", "exponential"), ("cosine", "cosine"), ("plateau", "plateau"))


class Controls:
    """The widgets of the settings.

    Arguments:
        settings: what they show at first.
        control: called for the control to publish to (a run that is reset has a new one).
        note: called with one line for the learner, or an empty one.

    Attributes:
        box: all of them, laid out; widgets: all of them, flat.
    """

    def __init__(self, settings: Settings, control: Callable[[], Control], note: Callable[[str], None]) -> None:
        self._control, self._note = control, note
        self.learning_rate = LogNumber(
            "learning rate",
            settings.learning_rate,
            lambda value: self._change(learning_rate=value),
            note,
            css="lr",
            tooltip="η: how far one step goes; the schedule multiplies it. An arrow key moves it by a factor of 1.12.",
        )
        self.max_norm = LogNumber(
            "clip threshold",
            settings.max_norm,
            lambda value: self._change(max_norm=value),
            note,
            css="clip",
            tooltip="The largest gradient that is let through unshortened.",
            absent=(None,),
            low=-3,
            high=3,
        )
        self.weight_decay = LogNumber(
            "weight decay",
            settings.weight_decay,
            lambda value: self._change(weight_decay=value),
            note,
            css="decay",
            tooltip="λ: how strongly each step pulls the weights towards 0.",
            absent=(0.0,),
            resting=0.01,
        )
        bounds = "What the threshold bounds: the norm of all gradients together, that of each tensor, or each value."
        self.clip = self._choice("clipping", "clip", _CLIPS, settings, bounds)
        self.optimizer = self._choice(
            "optimizer", "optimizer", _OPTIMIZERS, settings, "Another optimizer starts with fresh state."
        )
        self.implementation = self._choice(
            "run by",
            "implementation",
            (("torch fused", "torch"), ("workbook", "workbook")),
            settings,
            "The same arithmetic by torch's fused code or by the workbook's own; a change starts with fresh state.",
        )
        self.schedule = self._choice(
            "schedule", "schedule", _SCHEDULES, settings, "How the learning rate changes by itself as training goes on."
        )
        self.warmup = WholeNumber(
            "warm-up steps",
            settings.warmup_steps,
            lambda value: self._change(warmup_steps=value),
            note,
            css="warmup",
            tooltip="The learning rate grows from 0 over this many first steps.",
        )
        self.box = self._lay_out()
        answer_anywhere(*self.widgets)

    @property
    def widgets(self) -> tuple[w.Widget, ...]:
        """All of them, in the order of the Tab key."""
        sliders = (*self.learning_rate.widgets, *self.max_norm.widgets, *self.weight_decay.widgets)
        return (*sliders, self.optimizer, self.implementation, self.schedule, self.warmup.entry, self.clip)

    def _change(self, **changes: Any) -> None:
        self._control().change(**changes)

    def _choice(
        self, label: str, name: str, options: tuple[tuple[str, str], ...], settings: Settings, tooltip: str
    ) -> w.Dropdown:
        value, style = getattr(settings, name), {"description_width": LABEL_WIDTH}
        box = w.Dropdown(options=options, value=value, description=label, tooltip=tooltip, style=style)
        box.add_class(f"{name}-choice")
        box.observe(lambda change: self._chosen(name, label, change["new"]), "value")
        return box

    def _chosen(self, name: str, label: str, value: str) -> None:
        self._change(**{name: value})
        fresh = name in ("optimizer", "implementation")
        self._note(f"{label}: {value} from the next step on, with fresh optimizer state" if fresh else "")

    def _lay_out(self) -> w.Box:
        rows = [w.HBox(number.widgets) for number in (self.learning_rate, self.max_norm, self.weight_decay)]
        left = w.VBox(rows)
        right = w.VBox([self.optimizer, self.implementation])
        far = w.VBox([self.schedule, self.warmup.entry])
        left.add_class("stablelab-numbers")
        middle = w.HBox([w.VBox([right, self.clip]), far])
        middle.add_class("stablelab-choices")
        box = w.HBox([left, middle])
        box.add_class("stablelab-controls")
        return box
