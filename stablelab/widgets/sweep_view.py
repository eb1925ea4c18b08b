"""A sweep looked at while it runs: progress, a table and a heatmap that fill in as runs end."""

from __future__ import annotations

import html
import time
from typing import Any, Self

import ipywidgets as w

from .._formatting import one_line
from .._validation import checked_arguments
from ..plots import heatmaps, sweep_tables
from ..plots.display import to_png
from ..plots.sweep_tables import Row, axes_of, checked_score, rows_of, score_table
from ..plots.sweeps import strip
from ..stability.sweeps.results import Results
from ..stability.sweeps.sweep import Sweep
from .view import CellView, Refresher, stacked
from .wording import LONGEST, Pace

SECONDS = 0.5  # between two refreshes
SHARE = 1 / 60  # of the time, that refreshing may take
_PACE = 60.0  # seconds of the past that the time left is told from


class SweepView(CellView):
    """Shows a sweep, from now on and as its runs end.

    The sweep calls a watcher and goes on; one thread of the view's own, for as long as there is news, reads what is new
    and writes what is shown. At the end a picture is placed for the day when no kernel is there.

    Args:
        sweep, x, y, score: see ``show_sweep``.

    Attributes:
        sweep: that is shown.
        grid: settings and their values.
        rows: the runs shown, in the order in which they were seen to end.
        box: all widgets; bar, line, heat, table, message are in it.
    """

    def __init__(
        self, sweep: Sweep, x: str | None = None, y: str | None = None, score: str = "validation_loss"
    ) -> None:
        checked_score(score)
        done = sweep.results()
        self.grid, self._score = done.grid, score
        self._x, self._y = axes_of(self.grid, x, y)
        self.sweep, self.rows = sweep, rows_of(done)
        self._waiting = _not_done(sweep, done)
        self._left = sweep.total - len(self.rows)  # runs until the sweep is likely to be over
        self._news = True
        self._due = 0.0
        self._kept: tuple[int, int] | None = None  # runs done and failed, in the picture that stays
        self._pace, self._per_second = Pace(_PACE), 0.0
        self._refresher = Refresher(self._refresh_safely, SECONDS)
        with self.making():
            self._make_widgets()
        sweep.watchers.append(self._run_ended)

    def _make_widgets(self) -> None:
        self.bar = w.FloatProgress(value=0.0, min=0.0, max=1.0)
        self.line, self.heat, self.table, self.message = w.HTML(), w.HTML(), w.HTML(), w.HTML()
        self.message.add_class("stablelab-error")
        style = w.HTML(f"<style>{heatmaps.STYLE}{sweep_tables.STYLE}</style>", layout={"display": "none"})
        self.box = stacked(style, w.HBox([self.bar, self.line]), self.heat, self.table, self.message)
        self.box.add_class("stablelab-sweep")

    def show(self) -> Self:
        """Put it into the cell being executed."""
        super().show()
        self._refresher.flush()
        return self

    def close(self) -> None:
        """End its thread and take it off the page. The sweep goes on."""
        self.closed = True
        if self._run_ended in self.sweep.watchers:
            self.sweep.watchers.remove(self._run_ended)
        self._refresher.close()
        super().close()

    # -- called by the thread that runs the sweep --------------------------------------------------------------------

    def _run_ended(self, sweep: Sweep) -> None:
        self._news = True
        self._left -= 1
        if self._left <= 0:
            self._left = sweep.total - sweep.done
            self._refresher.flush()  # who has waited for the sweep finds everything shown
        else:
            self._refresher.wake(at_once=False)

    # -- called by the refresher only ------------------------------------------------------------------------------

    def _refresh_safely(self) -> bool:
        news, self._news = self._news, False
        try:
            waits = self._refresh(news)
        except Exception as error:  # the sweep goes on; the learner has to read why nothing is shown
            if not self.closed:
                self.message.value = html.escape(f"not shown: {type(error).__name__}: {one_line(str(error), LONGEST)}")
            return False
        return news or waits

    def _refresh(self, news: bool) -> bool:
        """Show what there is; returns whether some of it is put off."""
        done, unable, total = self.sweep.done, self.sweep.failed, self.sweep.total
        over = done + unable >= total
        if news:
            self._per_second = self._pace.at(done, running=True) or self._per_second
        self.bar.value, self.bar.bar_style = done / total, "success" if done == total else "danger" if over else ""
        behind = len(self.rows) < done or news
        if behind and (over or time.monotonic() >= self._due):
            began = time.thread_time()
            self._collect(done)
            self._draw()
            self._due = time.monotonic() + max(SECONDS, (time.thread_time() - began) / SHARE)
            behind = False
        self.line.value = sweep_tables.progress(done, total, self._per_second, unable, self.rows)
        if unable:
            self.message.value = html.escape(f"could not be run: {one_line(self.sweep.errors[0], LONGEST)}")
        self._keep((done, unable) if over and self.rows else None)
        return behind

    def _collect(self, done: int) -> None:
        """Read the runs that are new."""
        for key, point in list(self._waiting.items()):
            if len(self.rows) >= done:
                return
            outcome = self.sweep.ledger.outcome(key)
            if outcome is not None:
                self.rows.append(Row.of(point, outcome))
                del self._waiting[key]

    def _draw(self) -> None:
        if self._x:
            self.heat.value = heatmaps.heatmap_html(score_table(self.rows, self.grid, self._x, self._y, self._score))
        settings = sweep_tables.settings_table(self.rows, self.grid, self._score)
        self.table.value = settings + sweep_tables.latest(self.rows, self.grid, self._score)

    def _keep(self, end: tuple[int, int] | None) -> None:
        """Keep a picture of the sweep that is over, or take it back where there is more to come (None)."""
        if end != self._kept and self.shown:
            self._kept = end
            if end is None:
                self.settle(None)
            else:
                self.settle(*self._picture_of_all())

    def _picture_of_all(self) -> tuple[bytes, str]:
        """The picture, and what it shows in words."""
        if not self._x:
            return to_png(strip(self.sweep.results(), self._score)), sweep_tables.runs_words(self.rows)
        found = score_table(self.rows, self.grid, self._x, self._y, self._score)
        title = f"{self.sweep.description.get('task', 'a sweep')} · {found.label}"
        return to_png(heatmaps.heatmap_figure(found, title=title)), heatmaps.heatmap_words(found)


@checked_arguments
def show_sweep(sweep: Sweep, x: str | None = None, y: str | None = None, score: str = "validation_loss") -> SweepView:
    """Show a sweep in the cell being executed; it fills in as runs end.

    Those are the runs that this process, its workers or its cluster do, and those of other processes with them.

    In the next cell, ``await asyncio.to_thread(sweep.run)`` runs it and keeps the page alive; so does ``sweep.run()``,
    in which the buttons of other widgets wait.

    Args:
        sweep: run or not.
        x: setting of the grid for the heatmap's columns; learning rate where it varies, else the first that does, if
            not given.
        y: setting for its rows; clip threshold where it varies, else the next that does, if not given.
        score: validation_loss, train_loss, accuracy, clipped_share, sharpness or seconds.

    Returns:
        A ``SweepView``.

    Raises:
        ValueError: in one line: no such score or setting.
    """
    return SweepView(sweep, x, y, score).show()


def _not_done(sweep: Sweep, done: Results) -> dict[str, Any]:
    """Key and point of each run that is not done yet."""
    there = set(done.trials)
    return {key: point for key, point in zip(sweep.keys, sweep.trials, strict=True) if point not in there}
