"""A map answers its sliders: coarse at once, in full when they rest, and never for a value that has gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from support.helpers import until

from stablelab.plots.sweep_tables import ScoreTable
from stablelab.widgets import map_view, slider
from stablelab.widgets import view as views
from stablelab.widgets.map_view import MapView

Until = Callable[..., None]


def map_of(value: float) -> ScoreTable:
    shape = (2, 2)
    runs, none = np.full(shape, 4), np.zeros(shape, dtype=int)
    return ScoreTable("x", "y", (1, 2), (3, 4), np.full(shape, value), np.ones(shape), runs, none, "height (m)")


class Computer:
    """Computes at once, or waits for ``go`` before a full map."""

    def __init__(self, waits: bool = False) -> None:
        self.asked: list[tuple[float, bool]] = []
        self.stopped: list[float] = []
        self.waits, self.go = waits, threading.Event()

    def __call__(
        self, values: dict[str, Any], coarse: bool, stop: Callable[[], bool], progress: Any
    ) -> ScoreTable | None:
        scale = values["scale"]
        self.asked.append((scale, coarse))
        progress(1, 2)
        if scale > 4:
            raise ValueError("a scale above 4 is <too> steep")
        while self.waits and not coarse and not self.go.wait(0.005):
            if stop():
                self.stopped.append(scale)
                return None
        return map_of(scale)


@pytest.fixture(autouse=True)
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_view, "REST", 0.0)
    monkeypatch.setattr(map_view, "PROGRESS", 0.0)


@pytest.fixture
def computer() -> Computer:
    return Computer()


@pytest.fixture
def view(computer: Computer) -> Iterator[MapView]:
    found = MapView(computer, {"scale": slider(1.0, 0.5, 5.0, label="scale")})
    yield found
    computer.go.set()
    found.close()


def test_first_the_coarse_map_and_then_the_full_one(view: MapView, computer: Computer) -> None:
    view.show().wait(10)
    assert computer.asked == [(1.0, True), (1.0, False)]
    assert view.full and view.values == {"scale": 1.0} and view.cells is not None
    assert "full map: 16 runs" in view.line.value and ">1<" in view.heat.value
    assert not view._refresher.alive


def test_a_newer_value_stops_the_older_map(view: MapView, computer: Computer) -> None:
    computer.waits = True
    view.show()
    until(lambda: (1.0, False) in computer.asked)
    assert not view.full and "50%" in view.line.value
    view.controls["scale"].value = 2.0
    view.controls["scale"].value = 3.0
    until(lambda: (3.0, False) in computer.asked)
    assert computer.stopped[0] == 1.0 and view.cells is not None and view.cells.mean[0, 0] == 3.0
    computer.go.set()
    assert view.wait(10).values == {"scale": 3.0}
    assert computer.asked[-1] == (3.0, False)


def test_where_it_fails_there_is_one_line_and_the_old_map_stays(view: MapView) -> None:
    before = view.show().wait(10).heat.value
    view.controls["scale"].value = 4.5
    with pytest.raises(ValueError, match="above 4"):
        view.wait(10)
    assert view.heat.value == before
    assert view.message.value == "not drawn: a scale above 4 is &lt;too&gt; steep"
    view.controls["scale"].value = 3.0
    view.wait(10)
    assert view.message.value == "" and view.values == {"scale": 3.0}


def test_waiting_has_an_end_and_so_has_the_thread_of_a_view_that_is_closed(computer: Computer) -> None:
    computer.waits = True
    view = MapView(computer, {"scale": slider(1.0, 0.5, 5.0, label="scale")}).show()
    with pytest.raises(TimeoutError, match=r"still being computed after 0\.05 s"):
        view.wait(0.05)
    view.close()
    assert not view._refresher.alive and view.box.comm is None


class Places:
    """Stands for the two outputs of a cell."""

    shown = True

    def __init__(self) -> None:
        self.told: list[bool] = []

    def show(self) -> None:
        """Nothing: there is no cell."""

    def settle(self, picture: bytes, words: str, on_a_page: bool) -> None:
        assert picture == b"\x89PNG" and words.startswith("height (m) over x and y: 16 runs in 4 of 4 cells")
        self.told.append(on_a_page)


def test_a_saved_notebook_has_the_first_full_map_as_a_picture(view: MapView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_view, "to_png", lambda figure: b"\x89PNG")
    place = view._outputs = Places()  # type: ignore[assignment]
    view.show().wait(10)
    assert place.told == [False]  # in place of the view, as long as no page reports
    view.box._view_count = 1
    assert place.told == [False, True]
    view.controls["scale"].value = 2.0
    view.wait(10)
    assert place.told == [False, True]


def test_outside_a_notebook_no_picture_is_drawn(view: MapView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "in_notebook", lambda: False)
    monkeypatch.setattr(map_view, "to_png", lambda figure: pytest.fail("drawn for nobody"))
    view.show().wait(10)
