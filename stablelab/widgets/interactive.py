"""Pictures that move: sliders change the mathematics, or something trains, and ordinary matplotlib draws it anew."""

from __future__ import annotations

import asyncio
import contextlib
import html
from collections.abc import Callable, Generator, Mapping
from math import log10
from typing import Any, Self, TypeAlias

import ipywidgets as w
import traitlets

from .._formatting import format_value, setting_label
from ..training.background import BackgroundThread
from ..training.knobs import Choice, Slider
from .drawing import Draw, Drawing
from .view import CellView, Refresher, stacked

_LOOK: Any = {"layout": {"width": "min(100%, 640px)"}, "style": {"description_width": "210px"}}

Train = Callable[[Callable[[str], Any]], Generator[Any, None, None]]
Control: TypeAlias = Slider | Choice | w.Widget


class _Image(w.Image):
    """An image that can have a title: for one the page's script looks whether there is a description."""

    description = traitlets.Unicode("").tag(sync=True)


class Picture(CellView):
    """A picture in a cell, its controls above it and its words under it.

    Attributes:
        controls: the widgets by name; image: the picture; caption: its words; message: what went wrong, if anything.
    """

    def __init__(self, drawing: Drawing, controls: dict[str, w.Widget], *buttons: w.Widget, seconds: float) -> None:
        self.controls = controls
        self._drawing = drawing
        self._words = ""
        self._refresher = Refresher(self._refresh, seconds)
        with self.making():
            width = f"{100 * drawing.width:.0f}px"
            self.image = _Image(format="png", layout={"width": width, "max_width": "100%", "height": "auto"})
            self.caption, self.message = w.HTML(), w.HTML()
            self.caption.add_class("stablelab-caption")
            self.message.add_class("stablelab-error")
            self.box = stacked(*controls.values(), *buttons, self.image, self.caption, self.message)
            self.box.add_class("stablelab-moving")

    @property
    def words(self) -> str:
        """What is shown, in one line; waits until what there is by now is drawn."""
        self._refresher.flush()
        return self._words

    def close(self) -> None:
        """Take it off the page, after the picture that is being drawn."""
        self._refresher.close()
        super().close()

    def _refresh(self) -> bool:
        """Draw what there is by now; returns whether there is more to come."""
        raise NotImplementedError

    def _show(self, png: bytes, words: str) -> None:
        self._words = words
        self.image.value, self.image.tooltip = png, words  # its title is what a screen reader reads
        self.caption.value, self.message.value = html.escape(words), ""

    def _say(self, what: str, error: BaseException) -> None:
        if not self.closed:
            self.message.value = html.escape(" ".join(f"{what}: {error}".split()))

    def _ipython_display_(self) -> None:
        self.show()


class Moving(Picture):
    """What ``move`` returns: when a control has moved a thread draws, the newest position if there are several."""

    def __init__(
        self, draw: Draw, controls: dict[str, w.Widget], panels: int, figsize: tuple[float, float] | None
    ) -> None:
        self.controls = controls
        drawing, self._drawn = Drawing(draw, panels, figsize), self._values()
        png, words = drawing(**self._drawn)
        super().__init__(drawing, controls, seconds=0.0)
        self._show(png, words)
        for widget in controls.values():
            widget.observe(self._moved, "value")

    def words_at(self, **values: Any) -> str:
        """What the picture would say at these values of its controls, the others being as they are; nothing moves."""
        return self._drawing(**{**self._values(), **values})[1]

    def show(self) -> Self:
        """Put it into the cell being executed, with a PNG for the day when no kernel is there."""
        super().show()
        if self.shown:
            self.settle(*self._drawing.stored(described(self.controls), **self._drawn), page_expected=True)
        return self

    def close(self) -> None:
        """Take it off the page, after the picture that is being drawn."""
        for widget in self.controls.values():
            widget.unobserve(self._moved, "value")
        super().close()

    def _values(self) -> dict[str, Any]:
        return {name: widget.value for name, widget in self.controls.items()}

    def _moved(self, _change: Any) -> None:
        self._refresher.wake()

    def _refresh(self) -> bool:
        values = self._values()
        if values != self._drawn or self.message.value:
            try:
                self._show(*self._drawing(**values))
                self._drawn = values
            except Exception as error:  # whatever it is, the learner has to read it
                self._say("not drawn", error)
        return False


class Live(Picture):
    """What ``live`` returns: one thread trains and appends records, another draws what there is five times a second.

    Attributes:
        records: what was yielded so far; only ever appended to.
    """

    def __init__(self, train: Train, draw: Draw, controls: dict[str, w.Widget], panels: int) -> None:
        self.records: list[Any] = []
        self._train, self._stopped, self._drawn = train, False, 0
        self._thread = BackgroundThread(self._collect, "stablelab live")
        self._started = False
        self.stop_button = w.Button(description="stop", icon="stop", tooltip="end it after the step under way")
        super().__init__(Drawing(draw, panels), controls, self.stop_button, seconds=0.2)
        self.stop_button.on_click(lambda _: self.stop())

    @property
    def error(self) -> BaseException | None:
        """What the training thread raised, if anything."""
        return self._thread.error

    def start(self) -> Self:
        """Begin, once; shown as the last line of a cell it begins by itself."""
        if not self._started:
            self._thread.start()
            self._started = True  # only now: a page may report at any time, and what never began is not over
            self._refresher.wake()
        return self

    def show(self) -> Self:
        """Put it into the cell being executed, and begin."""
        super().show()
        return self.start()

    def seen(self) -> None:
        """A page shows it: from now on it is drawn on the way."""
        super().seen()
        self._refresher.wake()

    def stop(self) -> None:
        """End it after the step under way; what there is stays."""
        self._stopped = True

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until it is over and drawn; raises what the training thread raised."""
        self.start()._thread.join(timeout)
        if self._thread.alive:
            raise TimeoutError(f"still training after {timeout:g} s, with {len(self.records)} records")
        self._refresher.flush()
        if self.error is not None:
            raise self.error
        return self

    async def finished(self, timeout: float | None = None) -> Self:
        """``wait`` for notebooks: the sliders go on working while the cell waits."""
        return await asyncio.to_thread(self.wait, timeout)

    def close(self) -> None:
        """End both threads and take it off the page."""
        self.stop()
        self._thread.join()
        super().close()

    def _collect(self) -> None:
        """The training thread; it writes no widget."""
        with contextlib.closing(self._train(lambda name: self.controls[name].value)) as training:
            for record in training:
                self.records.append(record)
                if self._stopped:
                    break

    def _refresh(self) -> bool:
        over = self._started and not self._thread.alive  # before the records: what is over by now has none to come
        records = self.records[:]
        if len(records) > self._drawn and (over or self.on_a_page):  # with no page there is nobody to draw for
            try:
                self._show(*self._drawing(records))
            except Exception as error:  # training goes on; the learner has to read why nothing is drawn
                self._say("not drawn", error)
            self._drawn = len(records)
        if over and not self.stop_button.disabled:
            self.stop_button.disabled = True
            if self.error is not None:
                self._say(f"it stopped: {type(self.error).__name__}", self.error)
            if self.shown and self._words:
                self.settle(*self._drawing.stored(described(self.controls), records))
        return self._started and not over


def move(draw: Draw, panels: int = 1, figsize: tuple[float, float] | None = None, **controls: Control) -> Moving:
    """A picture with sliders, drawn by ordinary matplotlib; as the last line of a cell it is shown.

    Args:
        draw: called as ``draw(axes, learning_rate=…)`` on each move, with cleared axes and the value of each control by
            name; returns one line of words on what is shown, which stands under the picture and is read out by screen
            readers. It should take a few milliseconds. Where it raises, the error is one line under the picture, and
            the old picture stays.
        panels: how many axes stand side by side; from two on ``draw`` is given a tuple of axes.
        figsize: (width, height) in inches; 6.4 or, if that is more, 3.5 a panel, and 3.6 if not given.
        controls: by name of the argument, made by ``lab.slider`` and ``lab.choice``, or any ipywidget with a value.

    Raises:
        ValueError: a control has no value. What ``draw`` raises on the first call.
    """
    return Moving(draw, as_widgets(controls), panels, figsize)


def live(train: Train, draw: Draw, panels: int = 1, **controls: Control) -> Live:
    """A picture that is drawn while ``train`` runs in a thread of its own; as the last line of a cell it is shown.

    Args:
        train: a generator function. It is called with a function that gives the value a control has now, such as
            ``now("learning_rate")``, and yields a record of any kind whenever there is something new to draw.
        draw: called as ``draw(axes, records)`` with the records so far, one or more; returns one line of words.
        panels: how many axes stand side by side; from two on ``draw`` is given a tuple of axes.
        controls: by name, made by ``slider`` and ``choice``. With no page to move them they stay where they are, so the
            records are the same on every run.

    Returns:
        A ``Live``. ``await picture.finished()`` in the next cell, then read ``picture.records``.

    Raises:
        ValueError: a control has no value.
    """
    return Live(train, draw, as_widgets(controls), panels)


def as_widgets(controls: Mapping[str, Control]) -> dict[str, w.Widget]:
    """A widget for each control, by the same names; raises a one-line ValueError for one without a value."""
    made = {}
    for name, control in controls.items():
        label = getattr(control, "label", "") or setting_label(name)
        if isinstance(control, Slider) and control.value is not None:
            made[name] = _slider(label, control.value, control)
        elif isinstance(control, Choice):
            made[name] = w.Dropdown(options=control.options, value=control.value, description=label, **_LOOK)
        elif isinstance(control, w.Widget) and hasattr(control, "value"):
            made[name] = control
        else:
            raise ValueError(f"control {name!r} has no value; make it with slider(...) or choice(...)")
    return made


def _slider(label: str, value: float, asked: Slider) -> w.Widget:
    """A slider for the keyboard too: arrow keys move it by one of its steps, between whole numbers by one."""
    low, high = asked.low, asked.high
    if asked.log:
        ends = {"min": log10(low), "max": log10(high)}
        step = (ends["max"] - ends["min"]) / asked.steps
        # A page moves the handle to the nearest step at once: the first value has to be one.
        before = round((log10(value) - ends["min"]) / step)
        step = (log10(value) - ends["min"]) / before if before else step
        return w.FloatLogSlider(value, **ends, step=step, readout_format=".3g", description=label, **_LOOK)
    if all(isinstance(each, int) for each in (value, low, high)):
        return w.IntSlider(value, min=low, max=high, description=label, **_LOOK)
    step = (high - low) / asked.steps
    return w.FloatSlider(value, min=low, max=high, step=step, readout_format=".3g", description=label, **_LOOK)


def described(controls: dict[str, w.Widget]) -> str:
    """The controls in one line: what each is called and the value it has."""
    return " · ".join(f"{each.description} = {format_value(each.value)}" for each in controls.values())
