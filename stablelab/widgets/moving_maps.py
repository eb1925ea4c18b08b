"""A map with sliders that takes seconds to compute: a coarse one at once, the full one when the sliders rest."""

from __future__ import annotations

import asyncio
import html
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import ipywidgets as w

from .._formatting import one_line
from ..plots import heatmaps
from ..plots.display import Place, to_png
from ..plots.sweep_tables import ScoreTable
from . import notebook_cells as cells
from .entries import answer_anywhere
from .interactive import check_controls, described
from .view import everything_in, stacked

REST = 0.3  # seconds without a move, after which the full map is begun
SAID = 0.25  # seconds between two words on how far it is


class Compute(Protocol):
    """Computes what is to be drawn."""

    def __call__(
        self, values: dict[str, Any], coarse: bool, stop: Callable[[], bool], progress: Callable[[int, int], object]
    ) -> ScoreTable | None:
        """The map, or None where ``stop`` said that it is no longer wanted.

        Arguments:
            values: of each control, by name.
            coarse: whether a quick one will do.
            stop: asked on the way.
            progress: to be called with how much is done, and of how much.
        """


class MapView:
    """Sliders and the map they change.

    One thread, there while there is something to compute, draws a coarse map at once and the full one when the
    sliders rest. A newer value of a slider stops what is being computed for an older one.

    Arguments:
        compute: see there.
        controls: the widgets by name.

    Attributes:
        cells: what is drawn, for these values of the controls; full: whether it is the full map.
        box: all widgets; heat, line, message are in it.
    """

    run = None  # a dashboard has one; what is claimed for a cell must say so

    def __init__(self, compute: Compute, controls: dict[str, w.Widget]) -> None:
        check_controls(controls)
        self._compute, self.controls = compute, controls
        self.cells: ScoreTable | None = None
        self.values: dict[str, Any] = {}
        self.full = self._on_a_page = self._closed = False
        self._error: Exception | None = None
        self._picture: tuple[bytes, str] | None = None
        self._state = threading.Condition()
        self._wanted, self._served = 0, -1  # the number of the newest values, and of those that are drawn in full
        self._thread: threading.Thread | None = None
        self.heat, self.line, self.message = w.HTML(), w.HTML(), w.HTML()
        self.message.add_class("stablelab-error")
        style = w.HTML(f"<style>{heatmaps.STYLE}</style>", layout=w.Layout(display="none"))
        self.box = stacked(style, *controls.values(), self.heat, self.line, self.message)
        self.box.observe(self._seen, "_view_count")
        for widget in controls.values():
            widget.observe(self._moved, "value")
        answer_anywhere(self.box, *controls.values())
        self._place = Place(self.box)
        cells.claim(self)

    def show(self) -> MapView:
        """Put it into the cell being executed, and begin."""
        self._place.show()
        self._wake()
        return self

    def wait(self, timeout: float | None = None) -> MapView:
        """Wait until the full map of the newest values is drawn.

        Raises:
            TimeoutError: it takes longer than ``timeout`` seconds. What the computation raised, if it did.
        """
        self._wake()
        with self._state:
            there = self._state.wait_for(lambda: self._closed or self._served >= self._wanted, timeout)
        if not there:
            raise TimeoutError(f"the map is still being computed after {timeout:g} s")
        if self._error is not None:
            raise self._error
        return self

    async def finished(self, timeout: float | None = None) -> MapView:
        """``wait`` for notebooks: the sliders go on working while the cell waits."""
        return await asyncio.to_thread(self.wait, timeout)

    def close(self) -> None:
        """End its thread and take it off the page."""
        with self._state:
            self._closed = True
            thread = self._thread
            self._state.notify_all()
        if thread is not None:
            thread.join()
        for widget in everything_in(self.box):
            widget.close()
        cells.hide(self)

    # -- called on whatever thread a message of the page arrives -----------------------------------------------------

    def _moved(self, _change: Any) -> None:
        with self._state:
            self._wanted += 1
            self._state.notify_all()
        self._wake()

    def _seen(self, change: dict[str, Any]) -> None:
        if change["new"] and not self._on_a_page:
            self._on_a_page = True
            self._settle()

    def _wake(self) -> None:
        with self._state:
            if self._thread is None and not self._closed and self._served < self._wanted:
                self._thread = threading.Thread(target=self._work, name="stablelab map", daemon=True)
                self._thread.start()

    # -- called by the view's own thread only --------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            wanted = self._wanted
            try:
                self._error = None
                self._draw_both(wanted)
            except Exception as error:  # whatever it is, the learner has to read it; the old map stays
                self._error = error
                if not self._closed:
                    self.message.value = html.escape(f"not drawn: {one_line(str(error), 240)}")
            with self._state:
                if wanted == self._wanted or self._closed:
                    self._served, self._thread = wanted, None
                    self._state.notify_all()
                    return

    def _draw_both(self, wanted: int) -> None:
        """The coarse map, and the full one, unless a slider moves."""

        def stop() -> bool:
            return self._closed or self._wanted != wanted

        values, said = {name: widget.value for name, widget in self.controls.items()}, described(self.controls)
        for coarse in (True, False):
            found = self._compute(values, coarse, stop, self._said_at_times(coarse))
            if stop() or found is None:
                return
            self._show(found, values, coarse)
            if coarse:
                with self._state:
                    self._state.wait_for(stop, REST)
            elif self._picture is None and self._place.shown:
                drawn = to_png(heatmaps.heatmap_figure(found, title=said))
                self._picture = drawn, heatmaps.heatmap_words(found)
                self._settle()

    def _show(self, found: ScoreTable, values: dict[str, Any], coarse: bool) -> None:
        self.cells, self.values, self.full = found, values, not coarse
        self.heat.value = heatmaps.heatmap_html(found)
        self.line.value = f"{'coarse' if coarse else 'full'} map: {int(found.runs.sum())} runs"
        self.message.value = ""

    def _said_at_times(self, coarse: bool) -> Callable[[int, int], None]:
        """Says how far it is, now and then."""
        due = time.monotonic() + SAID

        def progress(done: int, total: int) -> None:
            nonlocal due
            if time.monotonic() >= due:
                due = time.monotonic() + SAID
                self.line.value = f"{'coarse' if coarse else 'full'} map: {done / total:.0%}"

        return progress

    def _settle(self) -> None:
        """Place the picture for the day when no kernel is there: the first full map."""
        with self._state:
            if self._picture is not None:
                self._place.settle(*self._picture, self._on_a_page)

    def _ipython_display_(self) -> None:
        self.show()
