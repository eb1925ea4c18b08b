"""What a dashboard says about the run it shows: how far it is, how it stands, what was changed by hand."""

from __future__ import annotations

import ipywidgets as w

from ..plots.curve_data import CurveData
from ..training.run import Run
from . import wording as words

_BARS = {"finished": "success", "diverged": "danger", "failed": "danger", "stopped": "warning"}


class Report:
    """Progress, status and log. Only the ticker may call its methods.

    Attributes:
        progress: a bar and a line; status, log: the widgets.
    """

    def __init__(self) -> None:
        self.bar = w.FloatProgress(value=0.0, min=0.0, max=1.0)
        self.line, self.status, self.log = w.HTML(), w.HTML(), w.HTML()
        self.progress = w.HBox([self.bar, self.line])
        self.status.add_class("lab-status")
        self.log.add_class("lab-log")
        self.renew()

    def renew(self) -> None:
        """The next feed is another one."""
        self._pace = words.Pace()
        self._logged = -1  # lines of the log that are shown; none are, not even the one that says so

    def show(self, run: Run, feed: CurveData, state: str, note: str) -> None:
        """Say how a run stands that is in this state; and one line on the last thing that could not be done."""
        done, total = len(feed), run.total_steps
        self.bar.value, self.bar.bar_style = done / total, _BARS.get(state, "")
        self.line.value = words.progress(done, total, self._pace.at(done, state == "running"))
        self.status.value = words.status(run, note)
        if len(feed.interventions) != self._logged:
            self._logged = len(feed.interventions)
            self.log.value = words.log(feed.interventions)
