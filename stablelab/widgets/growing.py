"""A picture that grows while something trains: whatever is measured on the way, drawn as it is measured."""

from __future__ import annotations

import asyncio
import contextlib
import html
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any

import ipywidgets as w

from .._notebook_cells import claim
from .interactive import Canvas, check_controls, described
from .panels import Panel, as_panels, in_words
from .view import CellOutputs, Refresher, answer_anywhere

Train = Callable[[Callable[[str], Any]], Generator[Any, None, None]]
Draw = Callable[[Sequence[Any]], Panel | Sequence[Panel]]


class Live:
    """What ``live`` returns: one thread trains and appends records, another draws what there is five times a second.

    Attributes:
        records: what was yielded so far; only ever appended to.
        error: what the training thread raised, if anything.
        controls: the widgets by name; panels: what was drawn last; box: all of it.
    """

    def __init__(self, train: Train, draw: Draw, controls: dict[str, w.Widget]) -> None:
        self._train, self._draw = train, draw
        self.controls = controls
        self.records: list[Any] = []
        self.panels: tuple[Panel, ...] = ()
        self.error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._stopped = self._closed = False
        self._over = threading.Event()
        self._drawn = 0
        self._png = b""
        self._values = {name: widget.value for name, widget in controls.items()}
        for name, widget in controls.items():
            widget.observe(lambda change, name=name: self._values.update({name: change["new"]}), "value")
        self._ticker = Refresher(self._tick)
        self.canvas = Canvas(self._ticker.wake)
        self.stop_button = w.Button(description="stop", icon="stop", tooltip="end it after the step under way")
        self.stop_button.on_click(lambda _: self.stop())
        self.message = w.HTML()
        self.message.add_class("stablelab-error")
        self.box = w.VBox([*controls.values(), self.stop_button, self.canvas, self.message])
        self.box.add_class("stablelab-moving")
        answer_anywhere(self.box, self.canvas, self.stop_button, *controls.values())
        self._place = CellOutputs(self.box)
        claim(self, type(self).close)

    def start(self) -> Live:
        """Begin, once; shown as the last line of a cell it begins by itself."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="stablelab live", daemon=True)
            self._thread.start()
            self._ticker.wake()
        return self

    def stop(self) -> None:
        """End it after the step under way; what there is stays."""
        self._stopped = True

    def wait(self, timeout: float | None = None) -> Live:
        """Wait until it is over and drawn; raises what the training thread raised."""
        if not self.start()._over.wait(timeout):
            raise TimeoutError(f"still training after {timeout:g} s, with {len(self.records)} records")
        self._ticker.flush()
        if self.error is not None:
            raise self.error
        return self

    async def finished(self, timeout: float | None = None) -> Live:
        """``wait`` for notebooks: the sliders go on working while the cell waits."""
        return await asyncio.to_thread(self.wait, timeout)

    def close(self) -> None:
        """End both threads and take it off the page."""
        self._closed = True
        self.stop()
        if self._thread is not None:
            self._thread.join()
        self._ticker.close()
        for widget in (*self.controls.values(), self.stop_button, self.canvas, self.message, self.box):
            widget.close()

    def _work(self) -> None:
        """The training thread; it touches no widget."""
        try:
            with contextlib.closing(self._train(lambda name: self._values[name])) as training:
                for record in training:
                    self.records.append(record)
                    if self._stopped:
                        break
        except BaseException as error:  # a thread has nobody to raise to: the page says it, and wait() raises it
            self.error = error
        self._over.set()
        self._ticker.wake()

    # -- called by the ticker only ---------------------------------------------------------------------------------

    def _tick(self) -> bool:
        over = self._over.is_set()  # before the records: what is over by now has none to come
        try:
            self._refresh(over)
        except Exception as error:  # training goes on; the learner has to read why nothing is drawn
            if not self._closed:
                self.message.value = html.escape(f"not drawn: {error}")
        return not over

    def _refresh(self, over: bool) -> None:
        count = len(self.records)
        looked_at = over or self.canvas.heard  # with no page there is nobody to draw for before the end
        if looked_at and count > self._drawn:
            self.panels = as_panels(self._draw(self.records[:count]))
            self.canvas.show(self.panels)
            self._drawn = count
        if not over:
            return
        self.stop_button.disabled = True
        if self.error is not None:
            self.message.value = html.escape(f"it stopped: {type(self.error).__name__}: {self.error}")
        if self._place.shown and self.panels:
            from .stills import to_png  # matplotlib is slow to import, and a live picture does without

            self._png = self._png or to_png(self.panels, note=described(self.controls))
            self._place.settle(self._png, in_words(self.panels), on_a_page=self.canvas.heard)

    def _ipython_display_(self) -> None:
        self._place.show()
        self.start()


def live(train: Train, draw: Draw, **controls: w.Widget) -> Live:
    """A picture that is drawn while ``train`` runs in a thread of its own; as the last line of a cell it is shown.

    Arguments:
        train: a generator function. It is called with a function that gives the value a control has now, such as
            ``now("learning_rate")``, and yields a record of any kind whenever there is something new to draw.
        draw: called with the records so far, one or more; returns a ``Panel`` or several to stand side by side.
        controls: by name, made by ``slider`` and ``choice``. With no page to move them they stay where they are, so the
            records are the same on every run.

    Returns:
        A ``Live``. ``await picture.finished()`` in the next cell, then read ``picture.records``.

    Raises:
        ValueError: a control has no value.
    """
    check_controls(controls)
    return Live(train, draw, controls)
