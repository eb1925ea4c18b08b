"""The dashboard: a run's chart, its controls and how it stands, put together and kept fresh by one thread."""

from __future__ import annotations

import asyncio
import math
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, Self

import ipywidgets as w

from .._validation import shown
from ..plots import earlier_runs
from ..plots.curve_data import CurveData
from ..plots.display import to_png
from ..plots.earlier_runs import EarlierRun, branched_at
from ..plots.training_curves import training_figure, training_words
from ..training.background import BackgroundThread, Driver
from ..training.checkpoints import memory_in_use
from ..training.records import FINAL, Gesture
from ..training.run import Run
from . import wording
from .change_log import ChangeLog
from .controls import Controls
from .doctor_line import DoctorLine
from .family import Family, with_branches
from .knob_controls import KnobControls
from .live_chart import Chart
from .run_buttons import ActionQueue, BranchButtons, RunButtons
from .view import CellView, Refresher, stacked

PATIENCE = 4.0  # seconds until a page whose chart has not reported is offered pictures
PICTURE_SECONDS = 1.0  # between two pictures; one costs the kernel a few tenths of a second
_SETTLED = (*FINAL, "diverged")  # a diverged run stands still, but may be resumed
_TRIES = 5  # refreshes that may fail one after the other once the run is over
_LOOK = 0.2  # seconds after which a wait looks whether another run is shown
_BARS = {"finished": "success", "diverged": "danger", "failed": "danger", "stopped": "warning"}

_open: weakref.WeakSet[Dashboard] = weakref.WeakSet()


class Dashboard(CellView):
    """Shows one run and lets the learner steer it.

    Training never waits for it: the run's thread appends to the history, the controls publish settings, and one
    thread, five times a second, writes everything that is shown.

    Args:
        run: ready, running or over.
        chart: ``"live"``, or ``"picture"`` for a picture drawn anew at most once a second, where live charts cannot be.

    Attributes:
        run: the one that is shown: the one given, or since then a branch of it or another run of that family.
        controls, buttons, branch_buttons, chart, picture, status, doctor, box: the widgets; see there.
    """

    def __init__(self, run: Driver, *, chart: str = "live") -> None:
        if chart not in ("live", "picture"):
            raise ValueError(f'chart is {chart!r}; it must be "live" or "picture"')
        self.run = self._shown_run = run  # to be shown from the next refresh on; shown by now
        self._note = ""
        self._kept: tuple[str, int] | None = None  # state and steps of the run, as the picture that stays shows it
        self._drawing: tuple[tuple[str, int], BackgroundThread] | None = None  # the picture that stays, under way
        self._failures = 0  # of refreshes, one after the other
        self._began = time.monotonic()
        self._refresher = Refresher(self._refresh_safely)
        with self.making():
            actions = ActionQueue(self._pressed)
            kind: Any = Controls if isinstance(run, Run) else KnobControls
            self.controls: Any = kind(run, lambda: self.run.control, self._say)
            self.buttons = RunButtons(lambda: self.run, actions)
            self.chart = Chart(self._asked)
            self.branch_buttons = BranchButtons(lambda: self.run, self._turn, lambda: self.chart.picked, actions)
            self.picture = PictureChart(self.chart, self._asked, on=chart == "picture")
            self.status = StatusDisplay(self.controls.undo)
            self.doctor = DoctorLine(lambda: self.run, self.controls.apply, self._pressed)
            head = w.Box([self.buttons.box, *self.status.head]).add_class("stablelab-head")
            side = w.VBox([self.controls.box, self.branch_buttons.box]).add_class("stablelab-side")
            body = w.Box([side, self.picture.box]).add_class("stablelab-body")
            self.box = stacked(head, self.doctor.box, body, self.status.log.box)
        self._adopt(run)
        self._follow(run)
        _open.add(self)

    def show(self) -> Self:
        """Put it into the cell being executed."""
        self._began = time.monotonic()
        super().show()
        self._refresher.wake()
        return self

    def branch(self, step: int, **changes: Any) -> Driver:
        """As the button does: go on from ``step`` beside the run that is shown; see ``BranchButtons.branch``."""
        return self.branch_buttons.branch(step, **changes)

    def untouched(self) -> Driver:
        """What if I had not touched it? As the button does; see ``BranchButtons.untouched``."""
        return self.branch_buttons.untouched()

    def wait(self, timeout: float | None = None) -> Self:
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

    async def finished(self, timeout: float | None = None) -> Self:
        """``wait`` for notebooks: sliders and buttons go on working while the cell waits."""
        return await asyncio.to_thread(self.wait, timeout)

    def close(self) -> None:
        """End its thread and take its widgets off the page. The run goes on."""
        self.closed = True
        self.doctor.close()
        self._refresher.close()
        self._leave(self.run)
        _open.discard(self)
        super().close()

    # -- which run is shown ----------------------------------------------------------------------------------------

    def _turn(self, run: Driver) -> None:
        """Show this run from the next refresh on."""
        if run is not self.run and not self.closed:
            before, self.run = self.run, run
            self._follow(run)
            self._leave(before)
            self._refresher.wake()

    def _follow(self, run: Driver) -> None:
        run.starters.append(self._refresher.wake)
        run.watchers.append(self._flush)

    def _leave(self, run: Driver) -> None:
        if self._flush in run.watchers:
            run.watchers.remove(self._flush)
            run.starters.remove(self._refresher.wake)

    # -- called on whatever thread a message of the page arrives: they note something, the refresher shows it --------

    def _asked(self) -> None:
        """The page asks for something to be drawn."""
        self.seen()
        self._refresher.wake()

    def _say(self, note: str) -> None:
        """A setting was changed, or could not be; a slider being dragged leaves the refresher its pace."""
        self.seen()
        changed, self._note = note != self._note, note
        self._refresher.wake(at_once=changed)

    def _pressed(self, note: str) -> None:
        """What was pressed is done: it is shown, even where that was not expected to change any more."""
        self.seen()
        self._note = note
        self._refresher.wake()

    def _flush(self) -> None:
        self._refresher.flush()

    # -- called by the refresher only ------------------------------------------------------------------------------

    def _refresh_safely(self) -> bool:
        try:
            more = self._refresh()
            self._failures = 0
            return more
        except Exception as error:  # a thread has nobody to raise to; the learner is told, training goes on
            if self.closed:
                return False
            # Said until there is something else to say: the next refresh, which may well succeed, says it again.
            self._note = f"the display failed: {type(error).__name__}: {error}"
            self.status.line.value = wording.status(self._shown_run, self._note)
            self._failures += 1
            return self._shown_run.state not in FINAL or self._failures < _TRIES

    def _refresh(self) -> bool:
        run = self.run  # another thread may turn to another one at any moment
        state = run.state  # before the history: what is over by now has nothing to come
        if run is not self._shown_run or (run.history, run.version) != (self._data.history, self._version):
            self._adopt(run)
            self._go_on()
        if self._family.look():
            self.chart.repeat()
            self._kept = self._kept and ("", 0)
        beside = self._family.beside
        self._data.update()
        self.chart.push(self._data, beside)
        self.buttons.show(state)
        self.controls.look(state)
        self.branch_buttons.show(self._data, run.total_steps)
        self.status.show(run, self._data, state, self._note)
        self.doctor.show(run, state)
        waited = time.monotonic() - self._began > PATIENCE
        self.picture.offer(self.on_a_page and not self.chart.heard and waited)
        self.picture.show(lambda: draw(run, self._data, beside), len(self._data), state in _SETTLED)
        kept = True
        if state in _SETTLED:
            kept = self._keep(run, state, beside)
        else:
            self._go_on()
        return state not in FINAL or self._family.busy or self.doctor.busy or not kept

    def _adopt(self, run: Driver) -> None:
        """Take up a run's present history: at the start, after a reset, and when another one is shown."""
        shown = None
        while shown is not run.control.settings:  # again, where something is moved while they are being shown
            shown = run.control.settings
            self.controls.show(shown)
        self._shown_run, self._version = run, run.version
        self._data = CurveData(run.history, run.total_steps, branched_at(run))
        self._family = Family(run)
        for each in (self.chart, self.picture, self.status):
            each.renew()

    def _keep(self, run: Driver, state: str, beside: tuple[EarlierRun, ...]) -> bool:
        """The run is over: its curves stay, beside later runs, in the chart's state, and as a picture in the cell.

        Returns whether all of that is done. The picture takes a while, in a thread of its own: what is pressed
        meanwhile is shown at once.
        """
        key = (state, len(self._data))
        if self._kept == key:
            return True
        if self._drawing is None or self._drawing[0] != key:
            earlier_runs.remember(run)
            self.chart.freeze(self._data, beside)
            work = partial(draw, run, self._data, beside)
            self._drawing = (key, BackgroundThread(work, "stablelab picture").start()) if self.shown else None
        if self._drawing is not None:
            drawing = self._drawing[1]
            while drawing.alive:
                if self._refresher.is_overtaken():
                    return False
                self._refresher.rest(0.02)
            self._drawing = None
            self.settle(drawing.wait().result, training_words(self._data))
        self._kept = key
        return True

    def _go_on(self) -> None:
        """The run is not over (any more)."""
        self._drawing = None
        if self._kept is not None:
            self._kept = None
            self.settle(None)


class StatusDisplay:
    """How far a run is, how it stands, what was changed by hand. Only the refresher may call its methods.

    Attributes:
        line: the state, and what there is to say; pace, bar: how far it is; memory: that of all checkpoints; log: the
            changes by hand.
    """

    def __init__(self, undo: Callable[[Gesture], object]) -> None:
        self.bar = w.FloatProgress(value=0.0, min=0.0, max=1.0)
        self.line, self.pace, self.memory, self.log = w.HTML(), w.HTML(), w.HTML(), ChangeLog(undo)
        self.line.add_class("lab-status")
        for widget, name in ((self.pace, "stablelab-pace"), (self.memory, "stablelab-memory")):
            widget.add_class(name)
        self.memory.tooltip = "what it takes to go back to earlier steps, of all runs in this kernel"
        self.renew()

    @property
    def head(self) -> tuple[w.Widget, ...]:
        """What stands above the chart."""
        return (self.line, self.pace, self.memory, self.bar)

    def renew(self) -> None:
        """The next data are another one."""
        self._pace = wording.Pace()

    def show(self, run: Driver, data: CurveData, state: str, note: str) -> None:
        """Show how a run stands that is in this state; and one line on the last thing that could not be done."""
        done, total = len(data), run.total_steps
        part = min(1.0, done / total) if total else float(state == "finished")
        self.bar.value, self.bar.bar_style = part, _BARS.get(state, "")
        self.pace.value = wording.progress(done, total, self._pace.at(done, state == "running"))
        self.line.value = wording.status(run, note)
        self.memory.value = wording.memory(*memory_in_use())
        self.log.show(data.gestures)


class PictureChart:
    """Where the page cannot run the live chart's script: a picture in its place, drawn by matplotlib.

    Args:
        chart: the live chart.
        asked: called when the learner has asked for pictures.
        on: whether to start with pictures.

    Attributes:
        on: whether pictures are shown instead of the chart.
        image, button: the picture, and what asks for it; box: the chart or the picture, and the button.
    """

    def __init__(self, chart: Chart, asked: Callable[[], object], on: bool = False) -> None:
        self.on = on
        self._asked = asked
        self._drawn: tuple[int, bool] | None = None
        self._next = 0.0
        self.image = w.Image(format="png", layout={"max_width": "100%", "width": "800px"})
        self.button = w.Button(description="show pictures instead", icon="image", layout={"width": "auto"})
        self.button.tooltip = "the live chart does not answer; draw a picture once a second"
        self.button.layout.display = "none"
        self.button.on_click(self._clicked)
        self._frame = w.VBox([self.image if on else chart])
        self.box = w.VBox([self._frame, self.button])

    def offer(self, wanted: bool) -> None:
        """Show the button while the chart does not answer. Refresher only, as ``show``."""
        self.button.layout.display = None if wanted and not self.on else "none"

    def renew(self) -> None:
        """The next picture is of another run."""
        self._drawn = None

    def show(self, draw: Callable[[], bytes], steps: int, over: bool) -> None:
        """Draw anew if pictures are on, there is something new, and the last one is a second old or this is the end."""
        now = time.monotonic()
        if not self.on or self._drawn == (steps, over) or (now < self._next and not over):
            return
        if self._frame.children != (self.image,):
            self._frame.children = (self.image,)
        self.image.value = draw()
        self._drawn, self._next = (steps, over), time.monotonic() + PICTURE_SECONDS

    def _clicked(self, _button: w.Button) -> None:
        self.on = True
        self._asked()


def draw(run: Driver, data: CurveData, beside: tuple[EarlierRun, ...]) -> bytes:
    """The curves by now, as the bytes of a PNG file."""
    history, total = data.history, run.total_steps
    title = f"{run.name} · {history[min(data.branched_at, len(history) - 1)].optimizer}" if len(history) else run.name
    figure = training_figure(history, total_steps=total, title=title, earlier_runs=beside, branched_at=data.branched_at)
    return to_png(figure)


def dashboard(run: Driver, *, chart: str = "live") -> Dashboard:
    """Show a run in the cell being executed.

    Args:
        run: ready, running or over.
        chart: ``"live"``, or ``"picture"`` for a picture drawn anew at most once a second, where live charts cannot be.

    Returns:
        The ``Dashboard``.

    Raises:
        ValueError: in one line, where it is no run.
    """
    if not isinstance(run, Driver):
        raise ValueError(f"run is {shown(run)}; a dashboard shows what lab.fine_tune or lab.watch made")
    return Dashboard(run, chart=chart).show()


def end_family(run: Driver) -> None:
    """Stop a run and all branches of it, and close the dashboards that show them; their curves stay to compare with."""
    runs = with_branches(run)
    for each in runs:
        each.control.stop()  # all of them before the first is waited for
        for board in [board for board in _open if board.run is each]:
            board.close()
    for each in runs:
        each.stop()
        earlier_runs.remember(each)
    if run.parent is not None and run in run.parent.branches:
        run.parent.branches.remove(run)  # with its model and its checkpoints
