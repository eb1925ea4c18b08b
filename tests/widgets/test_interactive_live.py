"""What trains in a thread is drawn as it goes, by one other thread, and gives the same records with no page at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ipywidgets as w
import pytest
from matplotlib.axes import Axes
from support.cell import Cell
from support.helpers import threads_of_ours, until

from stablelab.training.knobs import Slider
from stablelab.widgets import live, slider

Now = Callable[[str], Any]
drawn: list[list[float]] = []


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    drawn.clear()
    yield
    until(lambda: not threads_of_ours())


def draw(ax: Axes, records: Sequence[float]) -> str:
    drawn.append([*records])
    ax.plot(records)
    return f"The loss: {len(records)} steps"


def halving(now: Now) -> Iterator[float]:
    loss = 8.0
    for _ in range(4):
        loss *= now("factor")
        yield loss


def factor() -> Slider:
    return slider(0.5, 0.1, 0.9, label="factor")


def test_all_records_are_there_and_drawn_once_it_is_over() -> None:
    picture = live(halving, draw, factor=factor())
    assert picture.wait(10) is picture
    assert picture.records == [4.0, 2.0, 1.0, 0.5]
    assert drawn == [[4.0, 2.0, 1.0, 0.5]]
    assert picture.words == picture.image.tooltip == "The loss: 4 steps"
    assert bytes(picture.image.value).startswith(b"\x89PNG")
    assert picture.stop_button.disabled


def test_a_page_that_reports_before_it_begins_does_not_end_it() -> None:
    go = threading.Event()

    def train(_now: Now) -> Iterator[float]:
        yield 1.0
        go.wait(10)

    picture = live(train, draw)
    picture.seen()
    until(lambda: not threads_of_ours())
    assert not picture.stop_button.disabled
    picture.start()
    until(lambda: drawn)
    assert not picture.stop_button.disabled
    go.set()
    assert picture.wait(10).stop_button.disabled
    picture.close()


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

    def noted(ax: Axes, records: Sequence[float]) -> str:
        by["drawn"].add(threading.current_thread().name)
        return draw(ax, records)

    picture = live(train, noted)
    picture.start()
    picture.box._view_count = 1
    until(lambda: picture.caption.value == "The loss: 2 steps")
    go.set()
    picture.wait(10)
    assert drawn[-1] == [1.0, 2.0, 3.0]
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
        assert picture.wait(10).words
    else:
        assert picture.image.comm is None and not picture._thread.alive


def test_an_error_is_said_on_the_page_and_raised_by_wait_and_what_there_was_is_drawn() -> None:
    def train(_now: Now) -> Iterator[float]:
        yield 1.0
        raise RuntimeError("the loss is <nan>")

    picture = live(train, draw)
    with pytest.raises(RuntimeError, match="the loss is <nan>"):
        picture.wait(10)
    assert picture.message.value == "it stopped: RuntimeError: the loss is &lt;nan&gt;"
    assert drawn == [[1.0]]


def test_what_cannot_be_drawn_is_said_and_training_goes_on() -> None:
    def broken(_ax: Axes, _records: Sequence[float]) -> str:
        raise ValueError("no such curve")

    picture = live(halving, broken, factor=factor())
    assert len(picture.wait(10).records) == 4
    assert picture.message.value == "not drawn: no such curve"


def test_a_stored_picture_stays_in_its_place_until_a_page_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell(monkeypatch)
    picture = live(halving, draw, factor=factor())
    picture._ipython_display_()
    picture.wait(20)
    assert cell.pictures == [True, False]
    assert cell.outputs[0]["text/plain"] == "The loss: 4 steps"
    picture.box._view_count = 1
    assert cell.pictures == [False, True]
    assert cell.outputs[1]["text/plain"] == "The loss: 4 steps"


def test_several_panels_are_a_tuple_of_axes() -> None:
    def two(axes: tuple[Axes, ...], records: Sequence[float]) -> str:
        left, right = axes
        return draw(left, records) + draw(right, records)

    picture = live(halving, two, 2, factor=factor())
    assert picture.wait(10).words == "The loss: 4 stepsThe loss: 4 steps"


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
