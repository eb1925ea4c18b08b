"""The life of what is shown in a cell: which output holds what, what is kept of it, the thread that refreshes it."""

from __future__ import annotations

import gc
import io
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import ipywidgets as w
import numpy as np
import pytest
from ipywidgets.widgets.widget import _instances
from matplotlib.figure import Figure
from support.helpers import threads_of_ours, until

from stablelab.plots import display, heatmaps
from stablelab.plots.sweep_tables import ScoreTable
from stablelab.widgets import Dashboard, dashboard, show_sweep, slider, view
from stablelab.widgets.interactive import as_widgets
from stablelab.widgets.map_view import MapView
from stablelab.widgets.view import CellOutputs, CellView, Refresher, answer_anywhere, stacked

VIEW = "application/vnd.jupyter.widget-view+json"


class Handle:
    def __init__(self, data: dict[str, object]) -> None:
        self.data = data

    def update(self, data: dict[str, object], **_: object) -> None:
        self.data = data


class View:
    def _repr_mimebundle_(self) -> dict[str, object]:
        return {VIEW: {"model_id": "1"}, "text/plain": "VBox(…)"}


class Counter(CellView):
    def __init__(self) -> None:
        with self.making():
            self.box = stacked(w.HTML("1"))


@pytest.fixture
def png() -> bytes:
    out = io.BytesIO()
    Figure(figsize=(2, 1), dpi=display.DPI).savefig(out)
    return out.getvalue()


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> CellOutputs:
    import IPython.display

    monkeypatch.setattr(view, "in_notebook", lambda: True)
    monkeypatch.setattr(IPython.display, "display", lambda data, **_: Handle(data))
    place = CellOutputs(View())
    place.show()
    return place


def _held(place: CellOutputs) -> tuple[list[str], list[str]]:
    return sorted(place._live.data), sorted(place._still.data)


def test_at_first_the_live_view_and_an_empty_place(place) -> None:
    assert _held(place) == ([VIEW, "text/plain"], ["text/plain"])
    assert "VBox" not in place._live.data["text/plain"]


def test_as_the_last_line_of_a_cell_a_view_is_shown_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import IPython.display
    from IPython.core.formatters import DisplayFormatter

    displayed: list[object] = []
    monkeypatch.setattr(view, "in_notebook", lambda: True)
    monkeypatch.setattr(IPython.display, "display", lambda data, **_: displayed.append(data) or Handle(data))
    counter = Counter()
    last_line = DisplayFormatter()
    assert last_line.format(counter) == ({}, {}), "no line with the name of its class"
    once = len(displayed)
    assert once and counter.shown
    last_line.format(counter)
    assert len(displayed) == once
    counter.close()


def test_on_a_page_the_picture_goes_under_the_live_view(place, png) -> None:
    place.settle(png, "curves", on_a_page=True)
    assert _held(place) == ([VIEW, "text/plain"], ["image/png", "text/plain"])
    place.settle(None, "", on_a_page=True)
    assert _held(place) == ([VIEW, "text/plain"], ["text/plain"])


def test_without_a_page_the_picture_takes_its_place(place, png) -> None:
    place.settle(png, "curves", on_a_page=False)
    assert _held(place) == (["image/png", "text/plain"], ["text/plain"])
    assert place._live.data["text/plain"] == "curves"


def test_a_page_that_reports_late_gets_its_live_view_back(place, png) -> None:
    place.settle(png, "curves", on_a_page=False)
    place.settle(png, "curves", on_a_page=True)
    assert _held(place) == ([VIEW, "text/plain"], ["image/png", "text/plain"])


def test_outside_a_notebook_nothing_is_placed(png) -> None:
    place = CellOutputs(View())
    place.show()
    place.settle(png, "curves", on_a_page=False)
    assert not place.shown


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[Handle]:
    """As in a cell of a notebook; the outputs that it has."""
    import IPython.display

    outputs: list[Handle] = []
    monkeypatch.setattr(view, "in_notebook", lambda: True)
    monkeypatch.setattr(IPython.display, "display", lambda data, **_: outputs.append(Handle(data)) or outputs[-1])
    return outputs


class Line(CellView):
    """A line of text; a button that is made, and shown nowhere."""

    def __init__(self, slider: w.Widget | None = None, fails: bool = False) -> None:
        with self.making():
            self.line = w.HTML("")
            self.hidden = w.Button(tooltip="nobody sees it")
            self.hidden.on_click(self.pressed)
            if fails:
                raise ValueError("no line today")
            self.box = stacked(self.line, *filter(None, [slider]))

    def pressed(self, _button: w.Button) -> None:
        """What the hidden button holds on to the view with."""


def test_a_picture_takes_the_place_of_a_view_that_no_page_reports_and_gives_way_to_one_that_does(executed, png) -> None:
    shown = Line().show()
    live, still = executed
    shown.settle(png, "a line")
    assert (sorted(live.data), sorted(still.data)) == (["image/png", "text/plain"], ["text/plain"])
    shown.box._view_count = 1
    assert shown.on_a_page and sorted(live.data) == [VIEW, "text/plain"]
    assert sorted(still.data) == ["image/png", "text/plain"]
    shown.settle(None)
    assert (sorted(live.data), sorted(still.data)) == ([VIEW, "text/plain"], ["text/plain"])
    shown.close()


def test_a_page_that_is_expected_has_time_until_the_next_cell(executed, png, monkeypatch) -> None:
    next_cell: list[Callable[[], object]] = []
    monkeypatch.setattr(view, "before_next_cell", next_cell.append)
    shown = Line().show()
    live, still = executed
    shown.settle(png, "a line", page_expected=True)
    assert VIEW in live.data and "image/png" in still.data
    next_cell[0]()
    assert "image/png" in live.data and "image/png" not in still.data
    shown.seen()
    assert VIEW in live.data and "image/png" in still.data
    shown.close()


def test_a_view_that_cannot_be_made_leaves_no_widget_behind() -> None:
    before = set(_instances)
    with pytest.raises(ValueError, match="no line today"):
        Line(fails=True)
    assert set(_instances) == before


def test_each_slider_has_a_layout_of_its_own_for_closing_a_view_closes_it() -> None:
    first, second = as_widgets({"a": slider(1.0, 0.0, 2.0), "b": slider(1.0, 0.0, 2.0)}).values()
    assert first.layout is not second.layout
    Line(first).close()
    assert first.comm is None and first.layout.comm is None and second.layout.comm is not None
    Line(second).close()


def test_messages_of_the_page_may_arrive_while_a_cell_executes() -> None:
    class Comm:
        def _reply_subshell_for(self, data: object, default: str) -> str:
            return "the thread of the busy cell"

    widget = type("Widget", (), {"comm": Comm()})()
    answer_anywhere(widget)
    assert widget.comm._reply_subshell_for is None


# -- nothing is kept of what is closed ---------------------------------------------------------------------------------


def _dashboard(make_run: Any, make_sweep: Any) -> tuple[CellView, list[weakref.ref[Any]]]:
    run = make_run(30)
    board = dashboard(run)
    run.step(5)
    run.wait_paused()
    run.control.change(learning_rate=1e-3)
    run.resume()
    board.wait()
    board.status.log.lines[0].button.click()
    board.branch(10)
    board.wait()
    return board, [weakref.ref(each) for each in (board, run, run.model, board.run, board.run.model)]


def _picture_dashboard(make_run: Any, make_sweep: Any) -> tuple[CellView, list[weakref.ref[Any]]]:
    run = make_run(5)
    board = dashboard(run, chart="picture")
    run.start()
    board.wait()
    return board, [weakref.ref(each) for each in (board, run, run.model)]


def _sweep_view(make_run: Any, make_sweep: Any) -> tuple[CellView, list[weakref.ref[Any]]]:
    sweep = make_sweep()
    found = show_sweep(sweep)
    sweep.run(bar=False)
    return found, [weakref.ref(found), weakref.ref(sweep)]


class Height:
    """Computes a map of one height."""

    def __call__(self, values: dict[str, Any], coarse: bool, stop: Any, progress: Any) -> ScoreTable:
        ones = np.ones((2, 2))
        return ScoreTable("x", "y", (1, 2), (3, 4), values["height"] * ones, ones, 4 * ones, 0 * ones, "height (m)")


def _map_view(make_run: Any, make_sweep: Any) -> tuple[CellView, list[weakref.ref[Any]]]:
    compute = Height()
    found = MapView(compute, {"height": slider(1.0, 0.0, 2.0, label="height")})
    found.show().wait(30)
    return found, [weakref.ref(found), weakref.ref(compute)]


@pytest.mark.slow
@pytest.mark.parametrize("make", [_dashboard, _picture_dashboard, _sweep_view, _map_view])
def test_of_twenty_views_shown_and_closed_nothing_is_kept(
    make, make_run, make_sweep, executed, png, monkeypatch
) -> None:
    for name in ("dashboard", "sweep_view", "map_view"):  # what a picture shows is tried elsewhere
        monkeypatch.setattr(sys.modules[f"stablelab.widgets.{name}"], "to_png", lambda _: png)
    monkeypatch.setattr(sys.modules["stablelab.widgets.dashboard"], "training_figure", lambda *_, **__: None)
    monkeypatch.setattr(heatmaps, "heatmap_figure", lambda *_, **__: None)
    before, kept = set(_instances), []
    for _ in range(20):
        found, references = make(make_run, make_sweep)
        kept += references
        found.close()
        del found
        executed.clear()
    gc.collect()
    assert set(_instances) == before
    assert [reference() for reference in kept if reference() is not None] == []


# -- the thread that keeps it fresh ------------------------------------------------------------------------------------


def test_a_wake_while_the_last_refresh_is_under_way_makes_another_one() -> None:
    inside, go, began = threading.Event(), threading.Event(), []

    def refresh() -> bool:
        began.append(len(began))
        inside.set()
        go.wait(10)
        return False

    refresher = Refresher(refresh)
    refresher.wake()
    assert inside.wait(10)
    refresher.wake(at_once=False)
    go.set()
    assert refresher.wait(10) and began == [0, 1] and not refresher.alive
    refresher.wake()
    assert refresher.wait(10) and began == [0, 1, 2]
    refresher.close()


def test_a_refresh_that_raises_ends_the_thread_and_the_next_wake_starts_another() -> None:
    began = []

    def refresh() -> bool:
        began.append(1)
        raise RuntimeError("a bad day")

    refresher = Refresher(refresh)
    for count in (1, 2):
        refresher.wake()
        assert refresher.wait(10) and len(began) == count
    refresher.close()
    refresher.wake()
    assert refresher.wait(1) and len(began) == 2 and not refresher.flush(0.1)


def test_a_press_that_comes_while_the_last_refresh_draws_is_shown(make_run, monkeypatch) -> None:
    run = make_run(100_000, pause=0.001)
    board = Dashboard(run).show()
    run.start()
    until(lambda: len(run.history) > 2)
    inside, go = threading.Event(), threading.Event()
    keep = board._keep

    def slow(*arguments: Any) -> None:  # drawing the picture that stays takes a while
        inside.set()
        go.wait(10)
        keep(*arguments)

    monkeypatch.setattr(board, "_keep", slow)
    board.buttons.press("stop")
    assert inside.wait(10)
    board.buttons.press("reset")
    until(lambda: run.state == "ready")
    until(lambda: not any(name == "stablelab button" for name in threads_of_ours()))
    go.set()
    until(lambda: "ready" in board.status.line.value and not board.buttons.buttons["start"].disabled)
    board.close()
