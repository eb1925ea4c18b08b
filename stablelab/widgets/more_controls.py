"""Which layers train, how pictures are changed, when training ends early: folded away under the other controls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as w

from ..training.run import Run
from ..training.settings import AUGMENTATIONS, Settings
from .entries import Choice, Entry, Note, WholeNumber
from .inputs import PlainNumber

_DEFAULTS = Settings()
_LAYERS = ("unfrozen", "unfreeze_every", "layer_decay")
_SLIDERS = {  # name: (low, high, step, tooltip)
    "layer_decay": (0.3, 1.0, 0.05, "ξ: a layer d layers under the head trains with η · ξᵈ; 1: all at one rate."),
    "noise": (0.0, 0.5, 0.01, "σ of the noise on each pixel, where black is 0 and white is 1."),
    "crop": (0.0, 0.5, 0.01, "The largest shift, as a share of the side; what leaves the picture is cut off."),
    "rotation": (0.0, 180.0, 1.0, "The largest turn in degrees, either way."),
    "flip": (0.0, 1.0, 0.05, "p: the probability that a picture is mirrored, left to right."),
}
_FIELDS = {  # name: (label, tooltip)
    "unfreeze_every": (
        "unfreeze every",
        "Gradual unfreezing: one layer more is trained every so many steps; 0: never.",
    ),
    "early_stopping": (
        "early stopping",
        "Validations without a new lowest loss until training ends and the best weights come back; 0: never.",
    ),
}


class MoreControls:
    """The widgets of the settings that a first run can do without, as far as they can act on this run.

    Layers are there where the run has several, augmentation where it can change its pictures, early stopping where it
    is validated as it goes. The fold opens and closes in the page alone, so it works in a saved notebook too.

    Arguments:
        run: what is trained.
        change: called with one field of ``Settings`` and its new value.
        note: called with one line for the learner, or an empty one.

    Attributes:
        each: by the name of the setting; fold: opens and closes; box: all, laid out; widgets: all, flat.
    """

    def __init__(self, run: Run, change: Callable[..., None], note: Note) -> None:
        self._settings, self._change, self._note = run.control.settings, change, note
        self._names = layer_names(run.layers or ())
        groups = {
            "layers": _LAYERS if len(self._names) > 1 else (),
            "augmentation": tuple(AUGMENTATIONS) if run.augment is not None else (),
            "early stopping": ("early_stopping",) if run.evaluate_every else (),
        }
        self.each: dict[str, Entry] = {name: self._entry(name) for names in groups.values() for name in names}
        label = " · ".join(title for title, names in groups.items() if names)
        tooltip = "Open or close; what is set here acts either way."
        self.fold = w.ToggleButton(value=False, description=label, icon="chevron-right", tooltip=tooltip)
        self.fold.add_class("lab-more")
        self.box = self._lay_out()
        self.adapt(self._settings)

    @property
    def widgets(self) -> tuple[w.Widget, ...]:
        """All of them, in the order of the Tab key."""
        inner = (widget for name in (*_SLIDERS, "unfrozen", *_FIELDS) if name in self.each for widget in self._of(name))
        return (self.fold, *inner) if self.each else ()

    def adapt(self, settings: Settings) -> None:
        """Open where something is set, and let only that be typed into which can act."""
        if any(getattr(settings, name) != getattr(_DEFAULTS, name) for name in self.each):
            self.fold.value = True
        self._let_unfreeze(settings.unfrozen)

    def _entry(self, name: str) -> Entry:
        value, css = getattr(self._settings, name), name.replace("_", "-")
        if name == "unfrozen":
            return TrainedLayers(self._names, value, self._train)
        if name in _FIELDS:
            label, tooltip = _FIELDS[name]
            return WholeNumber(label, value, self._publisher(name), self._note, css=css, tooltip=tooltip)
        low, high, step, tooltip = _SLIDERS[name]
        label = name.replace("_", " ")
        ends = {"low": low, "high": high, "step": step}
        return PlainNumber(label, value, self._publisher(name), self._note, css=css, tooltip=tooltip, **ends)

    def _publisher(self, name: str) -> Callable[[Any], None]:
        return lambda value: self._change(**{name: value})

    def _train(self, layers: int | None) -> None:
        self._change(unfrozen=layers)
        self._note("")
        self._let_unfreeze(layers)

    def _let_unfreeze(self, layers: int | None) -> None:
        for field in self._of("unfreeze_every"):
            field.disabled = layers is None or layers >= len(self._names)

    def _of(self, name: str) -> tuple[w.Widget, ...]:
        return self.each[name].widgets if name in self.each else ()

    def _lay_out(self) -> w.Box:
        numbers = w.VBox([w.HBox(self._of(name)) for name in _SLIDERS if name in self.each])
        numbers.add_class("stablelab-numbers")
        columns = [w.VBox((*self._of("unfrozen"), *self._of("unfreeze_every"))), w.VBox(self._of("early_stopping"))]
        choices = w.HBox([column for column in columns if column.children])
        choices.add_class("stablelab-choices")
        inside = w.HBox([part for part in (numbers, choices) if part.children])
        inside.add_class("stablelab-more")
        return w.VBox([self.fold, inside] if self.each else [])


class TrainedLayers(Choice):
    """Which layers train, from the head down: all of them, the head only, or down to one of them.

    Arguments:
        names: of the layers, from the head down; at least two.
        value: how many train, None for all.
        publish: called with that number when the learner chooses.
    """

    def __init__(self, names: Sequence[str], value: int | None, publish: Callable[[int | None], None]) -> None:
        self._all = len(names)
        options = [("all layers", self._all), (f"{names[0]} only", 1)]
        options += [(f"down to {name}", count) for count, name in enumerate(names[1:-1], start=2)]
        tooltip = "Which layers train, from the head down; the others stand still, their batch-norm statistics too."
        super().__init__(
            "trains",
            options,
            self._shown(value),
            lambda count: publish(None if count == self._all else count),
            css="unfrozen",
            tooltip=tooltip,
        )

    def show(self, value: int | None) -> None:
        """Show this number of layers, None for all, from now on; nothing is published."""
        super().show(self._shown(value))

    def _shown(self, value: int | None) -> int:
        return self._all if value is None else min(value, self._all)


def layer_names(layers: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """What to call each layer: the names that come with them, else that of its first module."""
    return tuple(getattr(layers, "names", None) or (layer[0] for layer in layers))
