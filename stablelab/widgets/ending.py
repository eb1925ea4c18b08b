"""What stays when a run is over: its ghost, the curves in the chart's state, the picture in the cell."""

from __future__ import annotations

from ..plots import earlier_runs
from ..plots.curve_data import CurveData
from ..plots.display import Place
from ..plots.earlier_runs import EarlierRun
from ..training.run import Run
from .live_chart import Chart


class Ending:
    """Sees to it, and takes it back where the run goes on. Ticker only.

    Arguments:
        place: where the dashboard stands.
        chart: whose state keeps the curves.
    """

    def __init__(self, place: Place, chart: Chart) -> None:
        self._place, self._chart = place, chart
        self._settled: tuple[str, int, bool] | None = None  # state, steps and whether on a page, as last placed
        self._png = b""

    def renew(self) -> None:
        """There is something else to draw."""
        if self._settled is not None:
            self._settled = ("", 0, self._settled[2])

    def settle(self, run: Run, state: str, feed: CurveData, beside: tuple[EarlierRun, ...], on_a_page: bool) -> None:
        """The run is over. Draws and places again only where something has changed since."""
        drawn = (state, len(feed))
        if self._settled is None or self._settled[:2] != drawn:
            earlier_runs.remember(run)
            self._png = draw(run, feed, beside) if self._place.shown else b""
            self._chart.freeze(feed, beside)
        if self._settled != (*drawn, on_a_page) and self._png:
            from ..plots.training_curves import training_words

            self._place.settle(self._png, training_words(feed), on_a_page)
        self._settled = (*drawn, on_a_page)

    def go_on(self, on_a_page: bool) -> None:
        """The run is not over (any more)."""
        if self._settled is not None:
            self._settled = None
            self._place.settle(None, "", on_a_page)


def draw(run: Run, feed: CurveData, beside: tuple[EarlierRun, ...]) -> bytes:
    """The curves by now, as the bytes of a PNG file."""
    from ..plots.display import to_png
    from ..plots.training_curves import training_figure

    history = feed.history
    title = f"{run.name} · {history[min(feed.branched_at, len(history) - 1)].optimizer}" if len(history) else run.name
    total = run.total_steps
    figure = training_figure(history, total_steps=total, title=title, earlier_runs=beside, branched_at=feed.branched_at)
    return to_png(figure)
