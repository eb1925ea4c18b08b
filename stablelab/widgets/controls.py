"""Everything a learner can change while a model trains. A change publishes settings, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import ipywidgets as w

from ..formulas import SCHEDULES
from ..training.control import Control
from ..training.precision import precisions_of, slower_here
from ..training.presets import presets
from ..training.run import Run
from ..training.settings import AUGMENTATIONS, TITLES, Settings
from .input_column import InputColumn, all_widgets, in_a_column
from .inputs import ChoiceInput, Input, LinearNumberInput, LogNumberInput, Note, TrainedLayersInput, WholeNumberInput

_DEFAULTS = Settings()
_FRESH = ("optimizer", "implementation")  # a change of these starts with fresh optimizer state
_CLIPS = (("whole gradient", "norm"), ("each tensor", "tensor"), ("each value", "value"))
_IMPLEMENTATIONS = (("torch fused", "torch"), ("workbook", "workbook"))
_OPTIMIZERS = tuple((title, name) for name, title in TITLES.items())
_SCHEDULES = tuple((name, name) for name in SCHEDULES)
_INPUTS: dict[str, tuple[Callable[..., Input], str, str, dict[str, Any]]] = {  # (kind, label, CSS class, the rest)
    "learning_rate": (LogNumberInput, "learning rate", "lr", {}),
    "max_norm": (LogNumberInput, "clip threshold", "clip", {"absent": (None,), "low": -3, "high": 3}),
    "weight_decay": (LogNumberInput, "weight decay", "decay", {"absent": (0.0,), "resting": 0.01}),
    "optimizer": (ChoiceInput, "optimizer", "optimizer", {"options": _OPTIMIZERS}),
    "implementation": (ChoiceInput, "run by", "implementation", {"options": _IMPLEMENTATIONS}),
    "clip": (ChoiceInput, "clipping", "clip", {"options": _CLIPS}),
    "schedule": (ChoiceInput, "schedule", "schedule", {"options": _SCHEDULES}),
    "precision": (ChoiceInput, "precision", "precision", {}),
    "accumulation": (WholeNumberInput, "accumulation", "accumulation", {}),
    "warmup_steps": (WholeNumberInput, "warm-up steps", "warmup", {}),
    "layer_decay": (LinearNumberInput, "layer decay", "layer-decay", {"low": 0.3, "high": 1.0, "step": 0.05}),
    "noise": (LinearNumberInput, "noise", "noise", {"low": 0.0, "high": 0.5, "step": 0.01}),
    "crop": (LinearNumberInput, "crop", "crop", {"low": 0.0, "high": 0.5, "step": 0.01}),
    "rotation": (LinearNumberInput, "rotation", "rotation", {"low": 0.0, "high": 180.0, "step": 1.0}),
    "flip": (LinearNumberInput, "flip", "flip", {"low": 0.0, "high": 1.0, "step": 0.05}),
    "unfreeze_every": (WholeNumberInput, "unfreeze every", "unfreeze-every", {}),
    "early_stopping": (WholeNumberInput, "early stopping", "early-stopping", {}),
}
_TOOLTIPS = {
    "learning_rate": "η: how far one step goes; the schedule multiplies it. An arrow key moves it by a factor of 1.12.",
    "max_norm": "The largest gradient that is let through unshortened.",
    "weight_decay": "λ: how strongly each step pulls the weights towards 0.",
    "optimizer": "Another optimizer starts with fresh state.",
    "implementation": "The same arithmetic by torch's fused code or the workbook's own; each starts with fresh state.",
    "clip": "What the threshold bounds: the norm of all gradients together, that of each tensor, or each value.",
    "schedule": "How the learning rate changes by itself as training goes on.",
    "warmup_steps": "The learning rate grows from 0 over this many first steps.",
    "precision": "What products are computed in; weights, gradients, optimizer and loss stay in fp32.",
    "accumulation": "Micro-batches that a batch goes through the model in: less memory, the same step; 1: all at once.",
    "layer_decay": "ξ: a layer d layers under the head trains with η · ξᵈ; 1: all at one rate.",
    "noise": "σ of the noise on each pixel, where black is 0 and white is 1.",
    "crop": "The largest shift, as a share of the side; what leaves the picture is cut off.",
    "rotation": "The largest turn in degrees, either way.",
    "flip": "p: the probability that a picture is mirrored, left to right.",
    "unfreeze_every": "Gradual unfreezing: one layer more is trained every so many steps; 0: never.",
    "early_stopping": "Validations without a new lowest loss until it ends and the best weights come back; 0: never.",
}
_ALWAYS = ("learning_rate", "max_norm", "weight_decay", "optimizer", "schedule")
_PRESET = "Settings that are known to do something, chosen at once; the others stay as they are."
_NONE, _OWN = "settings of your own", -1


class Controls(InputColumn):
    """The inputs of a run's settings, as far as they can act on this run, in one narrow column.

    Those that a first run can do without are folded away: layers are there where the run has several, augmentation
    where it can change its pictures, early stopping where it is validated as it goes. The fold opens and closes in the
    page alone, so it works in a saved notebook too.

    Args:
        run: what is steered; its settings are shown at first.
        control: called for the control to publish to (a run that is reset has a new one).
        note: called with one line for the learner, or an empty one when all is well.

    Attributes:
        inputs: by the name of the setting, in the order of the Tab key.
        preset: sets several settings at once, and says which of these choices is in force.
        folded: the names of those folded away.
        fold: opens and closes.
        box: all, laid out.
    """

    def __init__(self, run: Run, control: Callable[[], Control[Settings]], note: Note) -> None:
        super().__init__(control, note, run.state)
        self._layers, self._presets = layer_names(run.layers or ()), presets(run)
        self._device = next(run.trains.parameters()).device
        groups = {
            "clipping": ("clip",),
            "warm-up": ("warmup_steps",),
            "arithmetic": ("implementation", "precision", "accumulation"),
            "layers": ("unfrozen", "unfreeze_every", "layer_decay") if len(self._layers) > 1 else (),
            "augmentation": tuple(AUGMENTATIONS) if run.augment is not None else (),
            "early stopping": ("early_stopping",) if run.evaluate_every else (),
        }
        self.folded = tuple(name for names in groups.values() for name in names)
        settings = run.control.settings
        self.inputs = {name: self._input(name, getattr(settings, name)) for name in (*_ALWAYS, *self.folded)}
        options = ((_NONE, _OWN), *((each.name, i) for i, each in enumerate(self._presets)))
        start, take = self._in_force(settings), self._take
        self.preset = ChoiceInput("preset", start, take, note, options=options, css="preset", tooltip=_PRESET)
        self.preset.dropdown.style.description_width = "48px"  # their names are long
        tooltip = (
            f"Open or close: {', '.join(title for title, names in groups.items() if names)}. All of it acts anyway."
        )
        self.fold = w.ToggleButton(value=False, description="more", icon="chevron-right", tooltip=tooltip)
        self.fold.add_class("lab-more")
        more = in_a_column([self.inputs[name] for name in self.folded])
        above = in_a_column([*(self.inputs[name] for name in _ALWAYS), self.preset])
        self.box = w.VBox([above, self.fold, more.add_class("stablelab-more")], layout={"width": "100%"})
        self.box.add_class("stablelab-steering")
        self._adapt(settings)

    @property
    def widgets(self) -> tuple[w.Widget, ...]:
        """All that a learner can touch."""
        inputs = [*(self.inputs[name] for name in _ALWAYS), self.preset]
        folded = [self.inputs[name] for name in self.folded]
        return (*all_widgets(inputs), self.fold, *all_widgets(folded))

    def show(self, settings: Settings) -> None:
        """Show these settings from now on; nothing is published."""
        for name, each in self.inputs.items():
            each.show(getattr(settings, name))
        self._adapt(settings)

    def _input(self, name: str, value: Any) -> Input:
        publish = partial(self._change, name)
        if name == "unfrozen":
            return TrainedLayersInput(self._layers, value, publish, self._note)
        kind, label, css, rest = _INPUTS[name]
        if name == "precision":
            rest = {"options": tuple((each, each) for each in precisions_of(self._device))}
        return kind(label, value, publish, self._note, css=css, tooltip=_TOOLTIPS[name], **rest)

    def _change(self, name: str, value: Any) -> None:
        self._control().change(**{name: value})
        fresh = f"{self.inputs[name].label}: {value} from the next step on, with fresh optimizer state"
        slower = slower_here(value, self._device) if name == "precision" else ""
        self._say(fresh if name in _FRESH else slower)
        if name == "unfrozen":
            self._let_unfreeze(value)
        self.preset.show(self._in_force(self._control().settings))

    def _take(self, preset: int) -> None:
        if preset != _OWN:
            chosen = self._presets[preset]
            self.show(self._control().change(**chosen.changes))
            self._say(f"{chosen.name}: {chosen.why}")
        else:  # it is no choice of its own: it says that none is in force
            self.preset.show(self._in_force(self._control().settings))

    def _in_force(self, settings: Settings) -> int:
        """The preset that the settings equal, ``_OWN`` where there is none."""
        equal = (i for i, each in enumerate(self._presets) if settings.replace(**each.changes) == settings)
        return next(equal, _OWN)

    def _adapt(self, settings: Settings) -> None:
        """Open the fold where something in it is set, and let only that be typed into which can act."""
        if any(getattr(settings, name) != getattr(_DEFAULTS, name) for name in self.folded):
            self.fold.value = True
        self._let_unfreeze(settings.unfrozen)
        self.preset.show(self._in_force(settings))

    def _let_unfreeze(self, layers: int | None) -> None:
        if "unfreeze_every" in self.inputs:
            for field in self.inputs["unfreeze_every"].widgets:
                field.disabled = layers is None or layers >= len(self._layers)


def layer_names(layers: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """What to call each layer: the names that come with them, else that of its first module."""
    return tuple(getattr(layers, "names", None) or (layer[0] for layer in layers))
