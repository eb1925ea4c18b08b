"""The dashboard: a run's chart, its controls and what it says, put together and kept fresh by one thread."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

from ..plots.curve_data import CurveData
from ..plots.display import Place
from ..plots.earlier_runs import branched_at
from ..training.records import FINAL
from ..training.run import Run
from . import notebook_cells as cells
from . import wording as words
from .branching import Branching
from .ending import Ending, draw
from .entries import answer_anywhere
from .family import Relatives
from .live_chart import Chart
from .picture import Picture
from .run_buttons import Buttons, Presses
from .settings_controls import Controls
from .status import Report
from .ticker import Ticker
from .view import everything_in, in_a_row, stacked

_SETTLED = (*FINAL, "diverged")  # a diverged run stands still, but may be resumed
PATIENCE = 4.0  # seconds until a page whose chart has not reported is offered pictures
_LOOK = 0.2  # seconds after which a wait looks whether another run is shown


class Dashboard:
    """Shows one run and lets the learner steer it.

    Training never waits for it: the run's thread appends to the history, the controls publish settings, and one ticker
    thread, five times a second, writes everything that is shown.

    Arguments:
        run: ready, running or over.
        chart: ``"live"``, or ``"picture"`` for a picture drawn anew at most once a second, where live charts cannot be.

    Attributes:
        run: the one that is shown: the one given, or since then a branch of it or another run of that family.
        controls, buttons, branching, chart, report, box: the widgets; see there.
    """

    def __init__(self, run: Run, *, chart: str = "live") -> None:
        if chart not in ("live", "picture"):
            raise ValueError(f'chart is {chart!r}; it must be "live" or "picture"')
        self.run = self._shown = run  # to be shown from the next tick on; shown by now
        self._note = ""
        self._touched = self._closed = False
        self._born = time.monotonic()
        self._ticker = Ticker(self._tick)
        presses = Presses(self._say)
        self.controls = Controls(run, lambda: self.run.control, self._say)
        self.buttons = Buttons(lambda: self.run, presses)
        self.chart = Chart(self._ticker.wake)
        self.branching = Branching(lambda: self.run, self._turn, lambda: self.chart.picked, presses)
        self.picture = Picture(self._ticker.wake, on=chart == "picture")
        self.report = Report()
        above = (in_a_row(self.buttons.box, self.report.progress), self.report.status, self.controls.box)
        self.box = stacked(*above, self.branching.box, self.picture.box(self.chart), self.report.log)
        self._place = Place(self.box)
        self._ending = Ending(self._place, self.chart)
        self._adopt(run)
        answer_anywhere(self.box, self.chart, *self.picture.widgets)
        self._follow(run)
        cells.claim(self)

    def show(self) -> Dashboard:
        """Put it into the cell being executed."""
        self._born = time.monotonic()
        self._place.show()
        self._ticker.wake()
        return self

    def branch(self, step: int, **changes: Any) -> Run:
        """As the button does: go on from ``step`` beside the run that is shown; see ``Branching.branch``."""
        return self.branching.branch(step, **changes)

    def untouched(self) -> Run:
        """What if I had not touched it? As the button does; see ``Branching.untouched``."""
        return self.branching.untouched()

    def wait(self, timeout: float | None = None) -> Dashboard:
        """Wait for the run that is shown (see ``Run.wait``, which waits for ``_flush`` too) and until all is shown."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            run, left = self.run, end - time.monotonic()
            try:
                run.wait(max(0.0, min(_LOOK, left)))
            except TimeoutError as error:
                if error is run.error:
                    raise
                if left <= 0:
                    where = f"the run is still {run.state} after {timeout:g} s, at step {len(run.history)}"
                    raise TimeoutError(where) from None
            else:
                if self.run is run:
                    return self

    async def finished(self, timeout: float | None = None) -> Dashboard:
        """``wait`` for notebooks: sliders and buttons go on working while the cell waits."""
        return await asyncio.to_thread(self.wait, timeout)

    def close(self) -> None:
        """End its thread and take its widgets off the page. The run goes on."""
        self._closed = True
        self._ticker.close()
        self._leave(self.run)
        cells.hide(self)
        for widget in everything_in(self.box):
            widget.close()

    # -- which run is shown ----------------------------------------------------------------------------------------

    def _turn(self, run: Run) -> None:
        """Show this run from the next tick on."""
        if run is not self.run and not self._closed:
            before, self.run = self.run, run
            self._follow(run)
            self._leave(before)
            self._ticker.wake()

    def _follow(self, run: Run) -> None:
        run.starters.append(self._ticker.wake)
        run.watchers.append(self._flush)

    def _leave(self, run: Run) -> None:
        if self._flush in run.watchers:
            run.watchers.remove(self._flush)
            run.starters.remove(self._ticker.wake)

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
                note = f"the display stopped: {type(error).__name__}: {error}"
                self.report.status.value = words.status(self._shown, note)
            return False

    def _refresh(self) -> bool:
        run = self.run  # another thread may turn to another one at any moment
        state = run.state  # before the history: what is over by now has nothing to come
        if run is not self._shown or run.version != self._version:
            self._adopt(run)
            self._ending.go_on(self._on_a_page())
        if self._relatives.look():
            self.chart.repeat()
            self._ending.renew()
        beside = self._relatives.ghosts
        self._feed.update()
        self.chart.push(self._feed, beside)
        self.buttons.show(state)
        self.branching.show(self._feed, run.total_steps)
        self.report.show(run, self._feed, state, self._note)
        self.picture.offer(self._on_a_page() and not self.chart.heard and time.monotonic() - self._born > PATIENCE)
        self.picture.refresh(lambda: draw(run, self._feed, beside), len(self._feed), state in _SETTLED)
        if state in _SETTLED:
            self._ending.settle(run, state, self._feed, beside, self._on_a_page())
        else:
            self._ending.go_on(self._on_a_page())
        return state not in FINAL or self._relatives.busy

    def _adopt(self, run: Run) -> None:
        """Take up a run's present history: at the start, after a reset, and when another one is shown."""
        if run is not self._shown:
            self.controls.show(run.control.settings)
        self._shown, self._version = run, run.version
        self._feed = CurveData(run.history, run.total_steps, branched_at(run))
        self._relatives = Relatives(run)
        for each in (self.chart, self.picture, self.report):
            each.renew()

    def _on_a_page(self) -> bool:
        return self.chart.heard or self._touched or bool(self.box._view_count)


def dashboard(run: Run, *, chart: str = "live") -> Dashboard:
    """Show a run in the cell being executed; returns the ``Dashboard``. Arguments: see there."""
    return Dashboard(run, chart=chart).show()
