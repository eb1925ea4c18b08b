"""What trains in a thread is drawn as it goes, by one other thread, and gives the same records with no page at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ipywidgets as w
import numpy as np
import pytest

from stablelab.widgets import Curve, Panel, live, slider
from stablelab.widgets.growing import Live
from stablelab.widgets.live_chart import unpack

Now = Callable[[str], Any]


def draw(records: Sequence[float]) -> Panel:
    steps = f"{len(records)} steps"
    return Panel([Curve(range(len(records)), records, "loss")], x="step", y="loss", title="The loss", summary=steps)


def halving(now: Now) -> Iterator[float]:
    loss = 8.0
    for _ in range(4):
        loss *= now("factor")
        yield loss


def factor() -> w.Widget:
    return slider("factor", 0.5, 0.1, 0.9)


def shown(picture: Live) -> list[float]:
    return np.frombuffer(unpack(picture.canvas.data)[1][1], dtype="<f4").tolist()


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_all_records_are_there_and_drawn_once_it_is_over() -> None:
    picture = live(halving, draw, factor=factor())
    assert picture.wait(10) is picture
    assert picture.records == [4.0, 2.0, 1.0, 0.5]
    assert shown(picture) == [4.0, 2.0, 1.0, 0.5]
    assert picture.panels[0].summary == "4 steps"
    assert picture.stop_button.disabled


def test_with_a_page_it_is_drawn_on_the_way_by_one_thread_that_does_not_train(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go = threading.Event()
    by = {"drawn": set(), "trained": set()}

    def train(_now: Now) -> Iterator[float]:
        by["trained"].add(threading.current_thread().name)
        yield 1.0
        yield 2.0
        go.wait(10)
        yield 3.0

    def noted(records: Sequence[float]) -> Panel:
        by["drawn"].add(threading.current_thread().name)
        return draw(records)

    picture = live(train, noted)
    picture.canvas._handle_custom_msg({"type": "here"}, [])
    picture.start()
    until(lambda: bool(picture.panels) and picture.panels[0].summary == "2 steps")
    go.set()
    picture.wait(10)
    assert shown(picture) == [1.0, 2.0, 3.0]
    assert by == {"drawn": {"stablelab refresher"}, "trained": {"stablelab live"}}


def test_a_slider_reaches_the_training_between_two_steps() -> None:
    moved = threading.Event()

    def train(now: Now) -> Iterator[float]:
        yield now("factor")
        moved.wait(10)
        yield now("factor")

    picture = live(train, draw, factor=factor()).start()
    until(lambda: len(picture.records) == 1)
    picture.controls["factor"].value = 0.75
    moved.set()
    assert picture.wait(10).records == [0.5, 0.75]


@pytest.mark.parametrize("how", ["stop", "close"])
def test_it_ends_when_it_is_told_to_and_the_generator_is_closed(how: str) -> None:
    closed = threading.Event()

    def train(_now: Now) -> Iterator[float]:
        try:
            while True:
                yield 1.0
                time.sleep(0.001)
        finally:
            closed.set()

    picture = live(train, draw).start()
    until(lambda: len(picture.records) > 3)
    getattr(picture, how)()
    assert closed.wait(10)
    if how == "stop":
        assert picture.wait(10).panels
    else:
        assert picture.canvas.comm is None and not picture._thread.is_alive()


def test_an_error_is_said_on_the_page_and_raised_by_wait_and_what_there_was_is_drawn() -> None:
    def train(_now: Now) -> Iterator[float]:
        yield 1.0
        raise RuntimeError("the loss is <nan>")

    picture = live(train, draw)
    with pytest.raises(RuntimeError, match="the loss is <nan>"):
        picture.wait(10)
    assert picture.message.value == "it stopped: RuntimeError: the loss is &lt;nan&gt;"
    assert shown(picture) == [1.0]


def test_what_cannot_be_drawn_is_said_and_training_goes_on() -> None:
    def broken(_records: Sequence[float]) -> Panel:
        raise ValueError("no such curve")

    picture = live(halving, broken, factor=factor())
    assert len(picture.wait(10).records) == 4
    assert picture.message.value == "not drawn: no such curve"


class Place:
    """Stands for the output of a cell: notes what it is told to show."""

    shown = True

    def __init__(self) -> None:
        self.told: list[tuple[str, bool]] = []

    def show(self) -> None:
        """Nothing: there is no cell."""

    def settle(self, picture: bytes, alt: str, on_a_page: bool) -> None:
        assert picture.startswith(b"\x89PNG")
        self.told.append((alt, on_a_page))


def test_a_still_picture_stays_in_its_place_until_a_page_reports() -> None:
    picture = live(halving, draw, factor=factor())
    place = picture._place = Place()  # type: ignore[assignment]
    picture._ipython_display_()
    picture.wait(20)
    assert place.told[-1] == ("The loss: 4 steps", False)
    picture.canvas._handle_custom_msg({"type": "here"}, [])
    until(lambda: place.told[-1][1])


def test_waiting_too_long_and_a_control_without_a_value_are_one_line() -> None:
    go = threading.Event()

    def train(_now: Now) -> Iterator[float]:
        yield 1.0
        go.wait(10)

    picture = live(train, draw)
    with pytest.raises(TimeoutError, match=r"^still training after 0.2 s, with 1 records$"):
        picture.wait(0.2)
    go.set()
    picture.wait(10)
    with pytest.raises(ValueError, match="'factor' has no value"):
        live(halving, draw, factor=w.HBox())
