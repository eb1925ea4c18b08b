"""The dashboard: a run's chart, its controls and what it says, put together and kept fresh by one thread."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import ipywidgets as w

from ..training.record import FINAL
from ..training.run import Run
from . import cells, ghosts, words
from .buttons import Buttons
from .chart import Chart
from .controls import Controls
from .entries import answer_anywhere
from .feed import Feed
from .picture import Picture
from .placing import Place
from .ticker import Ticker

_SETTLED = (*FINAL, "diverged")  # a diverged run stands still, but may be resumed
_BARS = {"finished": "success", "diverged": "danger", "failed": "danger", "stopped": "warning"}
_STYLE = Path(__file__).parent / "script" / "board.css"
PATIENCE = 4.0  # seconds until a page whose chart has not reported is offered pictures


class Dashboard:
    """Shows one run and lets the learner steer it.

    Training never waits for it: the run's thread appends to the history, the controls publish settings, and one ticker
    thread, five times a second, writes everything that is shown.

    Arguments:
        run: ready, running or over.
        chart: ``"live"``, or ``"picture"`` for a picture drawn anew at most once a second, where live charts cannot be.

    Attributes:
        controls, buttons, chart, box: the widgets; see there.
    """

    def __init__(self, run: Run, *, chart: str = "live") -> None:
        if chart not in ("live", "picture"):
            raise ValueError(f'chart is {chart!r}; it must be "live" or "picture"')
        self.run = run
        self._note = ""
        self._touched = self._closed = False
        self._settled: tuple[str, int, bool] | None = None  # state, steps and whether on a page, as last placed
        self._born = time.monotonic()
        self._ticker = Ticker(self._tick)
        self.controls = Controls(run.control.settings, lambda: self.run.control, self._say)
        self.buttons = Buttons(run, self._say)
        self.chart = Chart(self._ticker.wake)
        self.picture = Picture(self._ticker.wake, on=chart == "picture")
        self._make_box()
        self._place = Place(self.box)
        self._adopt()
        answer_anywhere(self.box, self.chart, *self.picture.widgets)
        run.starters.append(self._ticker.wake)
        run.watchers.append(self._flush)
        cells.claim(self)

    def show(self) -> Dashboard:
        """Put it into the cell being executed."""
        self._born = time.monotonic()
        self._place.show()
        self._ticker.wake()
        return self

    def wait(self, timeout: float | None = None) -> Dashboard:
        """Wait for the run (see ``Run.wait``, which waits for ``_flush`` too) and until all of it is shown."""
        self.run.wait(timeout)
        return self

    async def finished(self, timeout: float | None = None) -> Dashboard:
        """``wait`` for notebooks: sliders and buttons go on working while the cell waits."""
        return await asyncio.to_thread(self.wait, timeout)

    def close(self) -> None:
        """End its thread and take its widgets off the page. The run goes on."""
        self._closed = True
        self._ticker.close()
        if self._flush in self.run.watchers:
            self.run.watchers.remove(self._flush)
            self.run.starters.remove(self._ticker.wake)
        cells.hide(self)
        for widget in self._all():
            widget.close()

    # -- called on whatever thread a message of the page arrives: they note something, the ticker shows it -----------

    def _say(self, note: str) -> None:
        self._touched = True
        if note != self._note or not self._ticker.alive:  # a slider being dragged leaves the ticker its pace
            self._note = note
            self._ticker.wake()

    def _flush(self) -> None:
        self._ticker.flush()

    # -- called by the ticker only ---------------------------------------------------------------------------------

    def _tick(self) -> bool:
        try:
            return self._refresh()
        except Exception as error:  # a thread has nobody to raise to; the learner is told, training goes on
            if not self._closed:
                self.status.value = words.status(self.run, f"the display stopped: {type(error).__name__}: {error}")
            return False

    def _refresh(self) -> bool:
        state = self.run.state  # before the history: what is over by now has nothing to come
        if self.run.version != self._version:
            self._adopt()
            self.chart.renew()
            self._place.settle(None, "", self._on_a_page())
        self._feed.update()
        self.chart.push(self._feed, self._ghosts)
        self._write(state)
        self.picture.refresh(self._draw, len(self._feed), state in _SETTLED)
        if state in _SETTLED:
            self._settle(state)
        elif self._settled is not None:
            self._settled = None
            self._place.settle(None, "", self._on_a_page())
        return state not in FINAL

    def _adopt(self) -> None:
        """Take up the run's present history, at the start and after a reset."""
        self._version = self.run.version
        self._feed = Feed(self.run.history, self.run.total_steps)
        self._ghosts = ghosts.beside(self.run)
        self._pace = words.Pace()
        self._settled = None
        self._png = b""
        self._logged = -1  # lines of the log that are shown; none are, not even the one that says so

    def _write(self, state: str) -> None:
        done, total = len(self._feed), self.run.total_steps
        self.buttons.show(state)
        self.bar.value, self.bar.bar_style = done / total, _BARS.get(state, "")
        self.progress.value = words.progress(done, total, self._pace.at(done, state == "running"))
        self.status.value = words.status(self.run, self._note)
        if len(self._feed.interventions) != self._logged:
            self._logged = len(self._feed.interventions)
            self.log.value = words.log(self._feed.interventions)
        self.picture.offer(self._on_a_page() and not self.chart.heard and time.monotonic() - self._born > PATIENCE)

    def _settle(self, state: str) -> None:
        """What stays when the run is over: ghost, snapshot, picture. Again only where something has changed since."""
        drawn = (state, len(self._feed))
        if self._settled is None or self._settled[:2] != drawn:
            ghosts.remember(self.run)
            self._png = self._draw() if self._place.shown else b""
            self.chart.freeze(self._feed, self._ghosts)
        on_a_page = self._on_a_page()
        if self._settled != (*drawn, on_a_page) and self._png:
            from .figures import summary

            self._place.settle(self._png, summary(self._feed), on_a_page)
        self._settled = (*drawn, on_a_page)

    def _draw(self) -> bytes:
        from . import figures  # matplotlib is slow to import, and a live chart does without

        title = f"{self.run.name} · {self._feed.history[0].optimizer}" if len(self._feed) else self.run.name
        history, total = self._feed.history, self.run.total_steps
        return figures.to_png(figures.curves(history, total_steps=total, title=title, ghosts=self._ghosts))

    def _on_a_page(self) -> bool:
        return self.chart.heard or self._touched or bool(self.box._view_count)

    # -- widgets ---------------------------------------------------------------------------------------------------

    def _make_box(self) -> None:
        self.bar = w.FloatProgress(value=0.0, min=0.0, max=1.0)
        self.progress, self.status, self.log = w.HTML(), w.HTML(), w.HTML()
        self.status.add_class("lab-status")
        self.log.add_class("lab-log")
        top = w.HBox([self.buttons.box, w.HBox([self.bar, self.progress])])
        top.add_class("stablelab-top")
        # A view count that starts at 0 is counted by the page; all it is used for is whether there is a page at all.
        parts = [top, self.status, self.controls.box, self.picture.box(self.chart), self.log]
        # The style sheet is a widget of its own, for pages where the chart's script, which could bring it, cannot run.
        style = w.HTML(f"<style>{_STYLE.read_text(encoding='utf-8')}</style>", layout=w.Layout(display="none"))
        self.box = w.VBox([style, *parts], _view_count=0)
        self.box.add_class("stablelab-live")

    def _all(self) -> list[w.Widget]:
        """The box and everything in it."""
        found, queue = [], [self.box]
        while queue:
            widget = queue.pop()
            found.append(widget)
            queue += getattr(widget, "children", ())
        return found


def dashboard(run: Run, *, chart: str = "live") -> Dashboard:
    """Show a run in the cell being executed; returns the ``Dashboard``. Arguments: see there."""
    return Dashboard(run, chart=chart).show()
