"""The life of everything that is shown in a cell: made, shown, kept as a picture, closed.

And the thread that keeps it fresh.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import ipywidgets as w

from .._notebook_cells import before_next_cell, claim, in_notebook, keep_figures_until_cells_end
from ..plots.display import png_bundle, png_size
from ..training.background import BackgroundThread

_STYLE = Path(__file__).parent / "static" / "dashboard.css"
# An output with nothing in it makes JupyterLab drop the place, so the empty one holds an empty text.
_EMPTY = {"text/plain": ""}
_WITHOUT_KERNEL = "This moves only while its kernel runs: run this cell."
_recording = threading.RLock()


class CellView:
    """A box of widgets that is shown in the cell being executed.

    When the cell is executed again the view is closed first. A notebook that is stored, or opened without a kernel,
    holds the picture that ``settle`` was given. A subclass makes all its widgets, and ``box`` last, in one block::

        class Counter(CellView):
            def __init__(self) -> None:
                with self.making():
                    self.line = w.HTML()
                    self.box = stacked(self.line)

    and ends its threads before ``super().close()``. A widget that was made elsewhere and is put into the box, such as a
    slider, belongs to this view from then on, and so do its layout and its style: they must not be shared.

    Attributes:
        box: what is shown.
        on_a_page: whether a page ever showed the box.
        closed: whether it is over.
    """

    box: w.Box
    on_a_page = False
    closed = False

    @contextmanager
    def making(self) -> Iterator[None]:
        """Record each widget made in this block, also those that stay out of the box; then claim the view for the cell.

        Where the block raises, what was made so far is closed.
        """
        with widgets_made() as made:
            try:
                yield
            except BaseException:
                for widget in made:
                    widget.close()
                raise
        self._widgets = tuple(dict.fromkeys((*made, *everything_in(self.box))))
        self._outputs = CellOutputs(self.box)
        self._placing = threading.RLock()  # a page may report while the picture is being placed
        self._picture: tuple[bytes | None, str] = (None, "")
        self._placed: tuple[bytes | None, str, bool] = (None, "", False)
        self._page_expected = False
        answer_anywhere(*self._widgets)
        self.box.observe(self._viewed, "_view_count")
        claim(self, type(self).close)

    @property
    def shown(self) -> bool:
        """Whether there is a cell that it is shown in, and thus a place for a picture."""
        return self._outputs.shown

    def show(self) -> Self:
        """Put it into the cell being executed; nothing outside a notebook."""
        if in_notebook():
            keep_figures_until_cells_end()
        with self._placing:
            self._outputs.show()
            self._placed = (None, "", False)
            self._place()
        return self

    def _ipython_display_(self) -> None:
        """As the last line of a cell: nothing more where it is shown already."""
        if not (self.shown or self.closed):
            self.show()

    def settle(self, png: bytes | None, words: str = "", *, page_expected: bool = False) -> None:
        """Keep a picture in the notebook for the day when no kernel is there. May be called by any thread.

        As long as no page has shown the box the picture stands in its place, afterwards (hidden) under it.

        Args:
            png: the bytes of a PNG file; None takes the picture back, as there is more to come.
            words: what it shows; its alternative text.
            page_expected: for a picture that is there as soon as the box is: a page has time to report until the next
                cell is executed, and only then the picture takes the box's place. Not from a thread.
        """
        with self._placing:
            if page_expected and not self._page_expected:
                before_next_cell(self._stop_expecting)
            self._picture, self._page_expected = (png, words), page_expected
            self._place()

    def seen(self) -> None:
        """Somebody looks at it: it comes back where a picture stands in its place. May be called by any thread."""
        if not self.on_a_page:
            with self._placing:
                self.on_a_page = True
                self._place()

    def close(self) -> None:
        """Take it off the page, and let go of every widget that it ever made.

        ipywidgets keeps each widget, with all that its callbacks hold, until that very widget is closed.
        """
        self.closed = True
        for widget in self._widgets:
            widget.close()

    def _place(self) -> None:
        wanted = (*self._picture, self.on_a_page or self._page_expected)
        if wanted != self._placed and self.shown:
            self._placed = wanted
            self._outputs.settle(*wanted)

    def _stop_expecting(self) -> None:
        with self._placing:
            self._page_expected = False
            self._place()

    def _viewed(self, change: dict[str, Any]) -> None:
        if change["new"]:
            self.seen()


class CellOutputs:
    """Two outputs of the cell that shows a view: the live view and, under it, a place for the picture.

    Args:
        box: the widget to show live.
    """

    def __init__(self, box: Any) -> None:
        self._box = box
        self._live: Any = None
        self._still: Any = None
        self._holds: tuple[str, bytes | None] = ("nothing", None)

    def show(self) -> None:
        """Put both outputs into the cell being executed; nothing outside a notebook."""
        if not in_notebook():
            return
        from IPython.display import display

        self._live = display(self._bundle(), raw=True, display_id=True)
        self._still = display(_EMPTY, raw=True, display_id=True)
        self._holds = ("live", None)

    @property
    def shown(self) -> bool:
        """Whether there is a cell to place a picture in."""
        return self._live is not None

    def settle(self, picture: bytes | None, words: str, on_a_page: bool) -> None:
        """Bring both outputs to where they should be.

        Args:
            picture: the bytes of a PNG file, None while there is more to come.
            words: what it shows.
            on_a_page: whether somebody looks at the live view. If so it stays, and the picture goes under it (hidden by
                the style sheet as long as the live view is there). If not, the picture takes its place.
        """
        wanted = ("live" if on_a_page or picture is None else "picture", picture)
        if not self.shown or wanted == self._holds:
            return
        if wanted[0] == "picture":
            self._live.update(png_bundle(picture, words), raw=True, metadata=png_size(picture))
        elif self._holds[0] == "picture":
            self._live.update(self._bundle(), raw=True)
        still = picture if wanted[0] == "live" else None
        before = self._holds[1] if self._holds[0] == "live" else None
        if still != before:
            self._still.update(png_bundle(still, words) if still else _EMPTY, raw=True, metadata=png_size(still))
        self._holds = wanted

    def _bundle(self) -> dict[str, Any]:
        """The live view; where there is no kernel to show it, a line of text that says so."""
        return {**self._box._repr_mimebundle_(), "text/plain": _WITHOUT_KERNEL}


class Refresher:
    """Calls ``refresh`` several times a second, in one daemon thread, for as long as it says there is more to come.

    Args:
        refresh: returns whether to go on. It is never called by two threads at once.
        seconds: between two calls; 0.2, five times a second, if not given.
    """

    def __init__(self, refresh: Callable[[], bool], seconds: float = 0.2) -> None:
        self._refresh = refresh
        self._seconds = seconds
        self._thread: BackgroundThread | None = None
        self._state = threading.Condition()
        # How many refreshes were asked for: in all, before the present one began, and before the last one that is over.
        self._asked = self._begun = self._served = 0
        self._hurried = self._closed = False

    @property
    def alive(self) -> bool:
        """Whether the thread is there."""
        thread = self._thread
        return thread is not None and thread.alive

    def wake(self, at_once: bool = True) -> int:
        """See to it that one more refresh begins after this call, starting the thread if need be; returns its ticket.

        Called while a refresh is under way, even the last one, it makes the thread do another.

        Args:
            at_once: rather than at the usual pace.
        """
        with self._state:
            self._asked += 1
            if self._thread is None and not self._closed:
                self._thread = BackgroundThread(self._work, name="stablelab refresher").start()
            if at_once:
                self._hurried = True
                self._state.notify_all()
            return self._asked

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until everything there is by now is shown; False where that takes longer than ``timeout`` seconds."""
        thread = self._thread
        if self._closed or (thread is not None and thread.is_current):
            return False
        ticket = self.wake()
        with self._state:
            return self._state.wait_for(lambda: self._served >= ticket or self._closed, timeout)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until there is nothing more to do; False where that takes longer than ``timeout`` seconds."""
        with self._state:
            return self._state.wait_for(lambda: self._thread is None, timeout)

    def is_overtaken(self) -> bool:
        """For ``refresh`` to ask on its way: whether another one was asked for since it began, or the end."""
        return self._asked > self._begun or self._closed

    def rest(self, seconds: float) -> None:
        """For ``refresh`` to wait on its way: so many seconds, or until it is overtaken."""
        with self._state:
            self._state.wait_for(self.is_overtaken, seconds)

    def close(self) -> None:
        """End the thread for good, after the refresh under way."""
        with self._state:
            self._closed = True
            thread = self._thread
            self._state.notify_all()
        if thread is not None:
            thread.join(timeout=10.0)

    def _work(self) -> None:
        try:
            while True:
                began = time.monotonic()
                with self._state:
                    self._begun, self._hurried = self._asked, False
                more = self._refresh()
                with self._state:
                    self._served = self._begun
                    self._state.notify_all()
                    if self._closed or not (more or self._asked > self._begun):
                        self._thread = None  # while the lock is held: whoever wakes us next must see that we are gone
                        return
                    pause = self._seconds - (time.monotonic() - began)
                    self._state.wait_for(lambda: self._hurried or self._closed, max(pause, 0.01))
        except BaseException:
            with self._state:
                self._thread = None
                self._state.notify_all()
            raise


@contextmanager
def widgets_made() -> Iterator[list[w.Widget]]:
    """Every widget that this thread makes in the block, layouts and styles too, in the order in which they are made."""
    made: list[w.Widget] = []
    thread = threading.get_ident()
    with _recording:
        before = w.Widget._widget_construction_callback

        def record(widget: w.Widget) -> None:
            if threading.get_ident() == thread:
                made.append(widget)
            if before is not None:
                before(widget)

        w.Widget.on_widget_constructed(record)
        try:
            yield made
        finally:
            w.Widget.on_widget_constructed(before)


def everything_in(box: w.Widget) -> list[w.Widget]:
    """The box and all that is in it, with layouts and styles."""
    found = [box]
    for widget in found:  # grows as it goes
        parts = (*getattr(widget, "children", ()), getattr(widget, "layout", None), getattr(widget, "style", None))
        found += (part for part in parts if isinstance(part, w.Widget))
    return found


def answer_anywhere(*widgets: w.Widget) -> None:
    """Let messages of the page reach these widgets while a cell executes.

    ipykernel 7.4 handles a page's message on the thread that last sent on that channel, which may be the one that a
    cell keeps busy; without this private routing it takes the thread the page asked for.
    """
    for widget in widgets:
        if hasattr(widget.comm, "_reply_subshell_for"):
            widget.comm._reply_subshell_for = None


def stacked(*parts: w.Widget) -> w.Box:
    """The parts below each other, in the dashboard's style."""
    # The style sheet is a widget of its own, for pages where the chart's script, which could bring it, cannot run.
    style = w.HTML(f"<style>{_STYLE.read_text(encoding='utf-8')}</style>", layout={"display": "none"})
    # A view count that starts at 0 is counted by the page; all it is used for is whether there is a page at all.
    box = w.VBox([style, *parts], _view_count=0)
    box.add_class("stablelab-live")
    return box


def in_a_row(*parts: w.Widget) -> w.Box:
    """The parts beside each other, as long as there is room."""
    row = w.HBox(parts)
    row.add_class("stablelab-top")
    return row
