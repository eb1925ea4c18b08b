"""A picture that moves: sliders change the mathematics, a small canvas shows it at once."""

from __future__ import annotations

import html
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as w
import traitlets

from .._notebook_cells import claim
from .live_chart import pack
from .panels import Panel, as_panels, in_words, message
from .view import CellOutputs, answer_anywhere

_HERE = Path(__file__).parent / "static"
_WIDE = {"width": "min(100%, 640px)"}
_STYLE = {"description_width": "210px"}

Draw = Callable[..., Panel | Sequence[Panel]]


class Canvas(anywidget.AnyWidget):
    """Panels side by side. Their numbers are part of the widget's state, so a reloaded page has them too.

    Attributes:
        heard: whether a page ever reported that it can show this.
    """

    # anywidget takes one script; the two share its scope, and the last one exports the widget.
    _esm = "\n".join((_HERE / name).read_text(encoding="utf-8") for name in ("moving_axes.js", "moving.js"))
    _css = (_HERE / "moving.css").read_text(encoding="utf-8")
    data = traitlets.Bytes(b"").tag(sync=True)

    def __init__(self, heard: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.heard = False
        self._report = heard
        self.on_msg(self._on_message)

    def show(self, panels: Sequence[Panel]) -> None:
        """Send the panels."""
        self.data = pack(*message(panels))

    def _on_message(self, _widget: Any, content: Any, _buffers: Any) -> None:
        if isinstance(content, dict) and content.get("type") == "here":
            self.heard = True
            self._report()


class Moving:
    """What ``move`` returns: sliders and the picture they draw.

    Attributes:
        controls: the widgets by name; panels: what is shown; box: all of it.
    """

    def __init__(self, draw: Draw, controls: dict[str, w.Widget]) -> None:
        self._draw = draw
        self.controls = controls
        self.panels = self._drawn()
        self.canvas = Canvas(self._settle)
        self.canvas.show(self.panels)
        self.message = w.HTML()
        self.message.add_class("stablelab-error")
        self.box = w.VBox([*controls.values(), self.canvas, self.message])
        self.box.add_class("stablelab-moving")
        for widget in controls.values():
            widget.observe(self._moved, "value")
        answer_anywhere(self.box, self.canvas, *controls.values())
        self._lock = threading.Lock()
        self._png = b""
        self._place = CellOutputs(self.box)
        claim(self, type(self).close)

    def show(self) -> None:
        """Put it into the cell being executed, with a still picture for the day when no kernel is there."""
        self._place.show()
        if not self._place.shown:
            return
        from .stills import to_png  # matplotlib is slow to import, and nothing else here needs it

        self._png = to_png(self.panels, note=described(self.controls))
        self._place.settle(self._png, in_words(self.panels), on_a_page=True)
        _before_next_cell(self._settle)

    def close(self) -> None:
        """Take it off the page."""
        for widget in (*self.controls.values(), self.canvas, self.message, self.box):
            widget.close()

    def _drawn(self) -> tuple[Panel, ...]:
        return as_panels(self._draw(**{name: widget.value for name, widget in self.controls.items()}))

    def _moved(self, _change: Any) -> None:
        try:
            self.panels = self._drawn()
        except Exception as error:  # whatever it is, the learner has to read it
            self.message.value = html.escape(f"not drawn: {error}")
            return
        self.canvas.show(self.panels)
        if self.message.value:
            self.message.value = ""

    def _settle(self) -> None:
        """Nobody there by the next cell: the still picture takes the widget's place, until a page does report."""
        with self._lock:
            if self._png:  # a page may report while the picture is still being made
                self._place.settle(self._png, in_words(self.panels), on_a_page=self.canvas.heard)

    def _ipython_display_(self) -> None:
        self.show()


def move(draw: Draw, **controls: w.Widget) -> Moving:
    """A picture with sliders; as the last line of a cell it is shown.

    Arguments:
        draw: called with the value of each control by name; returns a ``Panel`` or several to stand side by side. It is
            called on each move, so it should take a few tens of milliseconds at most. Where it raises, the error is
            one line under the picture, and the old picture stays.
        controls: by name of the argument, made by ``slider`` and ``choice``, or any ipywidget with a value.

    Raises:
        ValueError: a control has no value. What ``draw`` raises on the first call.
    """
    check_controls(controls)
    return Moving(draw, controls)


def check_controls(controls: dict[str, w.Widget]) -> None:
    """Raise a one-line ValueError for a control without a value."""
    for name, widget in controls.items():
        if not hasattr(widget, "value"):
            raise ValueError(f"control {name!r} has no value; make it with slider(...) or choice(...)")


def described(controls: dict[str, w.Widget]) -> str:
    """The controls in one line: what each is called and the value it has."""
    return " · ".join(f"{each.description} = {_say(each)}" for each in controls.values())


def slider(label: str, value: float, low: float, high: float, *, log: bool = False, steps: int = 100) -> w.Widget:
    """A slider for ``move``, for the keyboard too: arrow keys move it by one of ``steps`` equal steps.

    Arguments:
        label: what it changes, with the symbol and the unit.
        value, low, high: where it starts, and its range.
        log: equal steps are equal factors.

    Raises:
        ValueError: the range is empty, does not hold the value, or is not positive on a logarithmic slider.
    """
    if not low < high or not low <= value <= high or (log and low <= 0):
        above = ", above 0" if log else ""
        raise ValueError(
            f"slider {label!r} needs low < high and a value between them{above}; got {value}, {low}, {high}"
        )
    look = {"description": label, "layout": _WIDE, "style": _STYLE}
    if log:
        from math import log10

        ends = {"min": log10(low), "max": log10(high)}
        step = (ends["max"] - ends["min"]) / steps
        # A page moves the handle to the nearest step at once: the first value has to be one.
        before = round((log10(value) - ends["min"]) / step)
        step = (log10(value) - ends["min"]) / before if before else step
        return w.FloatLogSlider(value, **ends, step=step, readout_format=".3g", **look)
    if all(isinstance(each, int) for each in (value, low, high)):
        return w.IntSlider(value, min=low, max=high, **look)
    return w.FloatSlider(value, min=low, max=high, step=(high - low) / steps, readout_format=".3g", **look)


def choice(label: str, options: Sequence[str], value: str | None = None) -> w.Dropdown:
    """A list to choose one of, for ``move``; the first one if no value is given."""
    return w.Dropdown(options=tuple(options), value=value or options[0], description=label, layout=_WIDE, style=_STYLE)


def _say(widget: w.Widget) -> str:
    return f"{widget.value:.3g}" if isinstance(widget.value, float) else str(widget.value)


def _before_next_cell(call: Callable[[], None]) -> None:
    """Call once, when the next cell is about to run: by then a page has had time to report."""
    shell = sys.modules["IPython.core.interactiveshell"].InteractiveShell.instance()

    def once(_info: Any) -> None:
        shell.events.unregister("pre_run_cell", once)
        call()

    shell.events.register("pre_run_cell", once)
