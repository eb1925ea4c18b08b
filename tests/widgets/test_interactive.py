"""A picture answers its sliders, keeps the old one where drawing fails, and is still there without a page."""

from __future__ import annotations

import base64
import gc
import io
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import ipywidgets as w
import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from PIL import Image
from support.cell import Cell
from support.helpers import threads_of_ours, until

from stablelab.plots.display import BLUE
from stablelab.widgets import choice, move, slider
from stablelab.widgets.drawing import Drawing
from stablelab.widgets.interactive import Moving, as_widgets, described


def parabola(ax: Axes, scale: float) -> str:
    if scale > 4:
        raise ValueError("a scale above 4 is <too>\nsteep")
    x = np.linspace(-1, 1, 5)
    ax.plot(x, scale * x**2)
    ax.set(xlabel="x", ylabel="f(x)", title="parabola", ylim=(0, 5))
    return f"The scale is {scale:.1f}, as in a < b."


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    until(lambda: not threads_of_ours())


@pytest.fixture
def moving() -> Iterator[Moving]:
    picture = move(parabola, scale=slider(1.0, 0.5, 5.0, label="scale"))
    yield picture
    picture.close()


def pixels(png: bytes) -> np.ndarray:
    """(H, W, 4), from 0 to 255."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def test_a_move_draws_a_new_picture_with_new_words_under_it_and_as_its_alternative_text(moving: Moving) -> None:
    before = moving.image.value
    assert moving.words == moving.image.tooltip == "The scale is 1.0, as in a < b."
    moving.controls["scale"].value = 2.0
    assert moving.words == moving.image.tooltip == "The scale is 2.0, as in a < b."
    assert moving.caption.value == "The scale is 2.0, as in a &lt; b."
    assert (pixels(before) != pixels(moving.image.value)).any()


def test_the_file_holds_the_pixels_that_were_drawn() -> None:
    drawing = Drawing(parabola)
    png, _ = drawing(scale=1.0)
    assert (pixels(png) == np.asarray(drawing._canvas.buffer_rgba())).all()


def test_the_same_position_is_the_same_picture_whatever_was_drawn_in_between(moving: Moving) -> None:
    before = pixels(moving.image.value)
    for value in (3.0, 0.7, 1.0):
        moving.controls["scale"].value = value
        assert moving.words == f"The scale is {value}, as in a < b."
    np.testing.assert_array_equal(pixels(moving.image.value), before)


@pytest.mark.slow
def test_several_panels_are_a_tuple_of_axes_and_a_second_scale_does_not_pile_up() -> None:
    seen = []

    def draw(axes: tuple[Axes, ...], k: float) -> str:
        left, _, right = axes
        left.semilogy([1, 2], [k, 1e3])
        right.twinx().plot([1, 2], [k, 2])
        seen.append(len(left.figure.axes))
        return "three\n  panels"

    picture = move(draw, 3, k=slider(1.0, 0.5, 2.0, label="k"))
    picture.controls["k"].value = 1.5
    assert picture.words == "three panels"
    assert seen == [4, 4]
    height, width, _ = pixels(picture.image.value).shape
    assert width > 2.5 * height
    picture.close()


@pytest.mark.parametrize("kind", ["imshow", "contourf"])
@pytest.mark.slow
def test_a_colour_bar_is_drawn_anew_each_time_in_the_same_place(kind: str) -> None:
    def draw(ax: Axes, height: float) -> str:
        shown = getattr(ax, kind)([[0.0, height], [height, 0.0]])
        ax.figure.colorbar(shown, ax=ax, label="height")
        return f"up to {height}"

    picture = move(draw, height=slider(1.0, 0.5, 2.0, label="height"))
    first = picture.image.value
    picture.controls["height"].value = 2.0
    assert picture.words == "up to 2.0" and picture.message.value == ""
    picture.controls["height"].value = 1.0
    assert picture.words == "up to 1.0" and picture.image.value == first
    picture.close()


def test_where_drawing_fails_there_is_one_line_and_the_old_picture_stays(moving: Moving) -> None:
    before = moving.image.value
    moving.controls["scale"].value = 4.5
    assert moving.words == "The scale is 1.0, as in a < b."
    assert moving.image.value == before
    assert moving.message.value == "not drawn: a scale above 4 is &lt;too&gt; steep"
    moving.controls["scale"].value = 3.0
    assert moving.words == "The scale is 3.0, as in a < b."
    assert moving.message.value == ""


def test_after_a_failure_the_first_position_is_drawn_again(moving: Moving) -> None:
    moving.controls["scale"].value = 4.5
    until(lambda: moving.message.value)
    moving.controls["scale"].value = 1.0
    until(lambda: not moving.message.value)


def test_what_fails_at_first_is_raised() -> None:
    with pytest.raises(ValueError, match="above 4"):
        move(parabola, scale=slider(4.5, 0.5, 5.0, label="scale"))
    with pytest.raises(TypeError, match="draw returned None; it must return one line of words"):
        move(lambda ax: None)


def test_while_one_position_is_drawn_only_the_newest_of_the_others_waits() -> None:
    drawn, inside, go = [], threading.Event(), threading.Event()

    def slow(_ax: Axes, k: int) -> str:
        drawn.append(k)
        if k == 1:
            inside.set()
            go.wait(10)
        return f"k = {k}"

    picture = move(slow, k=slider(0, 0, 9, label="k"))
    picture.controls["k"].value = 1
    assert inside.wait(10)
    for k in range(2, 10):
        picture.controls["k"].value = k
    go.set()
    assert picture.words == "k = 9"
    assert drawn == [0, 1, 9]
    picture.close()


def test_words_can_be_asked_for_at_any_position_and_nothing_moves(moving: Moving) -> None:
    before = moving.image.value
    assert moving.words_at(scale=3.5) == "The scale is 3.5, as in a < b."
    assert moving.words == "The scale is 1.0, as in a < b."
    assert moving.image.value == before


def test_a_picture_draws_in_its_own_dtype_and_grad_mode_and_no_other_thread_notices() -> None:
    elsewhere: list[torch.dtype] = []

    def draw(_ax: Axes, k: int) -> str:
        other = threading.Thread(target=lambda: elsewhere.append(torch.zeros(1).dtype))
        other.start()
        other.join()
        noise = torch.randn(1, generator=torch.Generator().manual_seed(k)) + torch.tensor(k) / 3 + torch.tensor(0.1)
        return f"{noise.item()!r} {noise.dtype} {torch.linspace(0, 1, 2).dtype} {torch.is_grad_enabled()}"

    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        with torch.no_grad():
            picture = move(draw, k=slider(0, 0, 9, label="k"))
        first = picture.words
        assert first.endswith("torch.float64 torch.float64 False")
        torch.set_default_dtype(torch.float32)
        picture.controls["k"].value = 1
        assert picture.words != first
        picture.controls["k"].value = 0
        assert picture.words == picture.words_at(k=0) == first
        assert elsewhere[0] is torch.float64 and set(elsewhere[1:]) == {torch.float32}
        assert torch.get_default_dtype() is torch.float32
        picture.close()
    finally:
        torch.set_default_dtype(before)


def test_the_style_of_the_page_is_left_as_it_is(moving: Moving) -> None:
    def style() -> dict[str, Any]:
        return {
            name: value for name, value in matplotlib.rcParams.items() if name != "backend"
        }  # chosen when asked for

    before = style()
    moving.controls["scale"].value = 2.0
    assert moving.words
    assert style() == before


@pytest.mark.parametrize("ground", [255, 17])  # a light page and a dark one
def test_ink_is_legible_on_light_and_dark_pages(ground: int) -> None:
    png, _ = Drawing(parabola).stored("scale = 1", scale=1.0)
    ink = pixels(png).astype(float) / 255
    assert ink[0, 0, 3] == 0, "the ground is that of the page"
    solid = ink[ink[..., 3] == 1][:, :3]  # (N, 3)
    gray = solid[np.ptp(solid, axis=1) < 0.02]  # letters and axes
    assert len(gray) > 500
    assert min(contrast(color, np.full(3, ground / 255)) for color in np.unique(gray, axis=0)) >= 3.0
    blue = np.array(to_rgb(BLUE))
    assert (np.abs(solid - blue).max(axis=1) < 0.02).sum() > 500
    assert contrast(blue, np.full(3, ground / 255)) >= 3.0


def contrast(a: np.ndarray, b: np.ndarray) -> float:
    """W3C 2018, "Web Content Accessibility Guidelines 2.1": at least 3 for what is not small text."""

    def luminance(color: np.ndarray) -> float:
        linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
        return float(linear @ np.array([0.2126, 0.7152, 0.0722]))

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_what_is_stored_is_higher_by_its_words_and_its_note() -> None:
    drawing = Drawing(parabola)
    png, words = drawing.stored("scale = 1", scale=1.0)
    alone, _ = drawing(scale=1.0)
    assert words == "The scale is 1.0, as in a < b."
    stored, shown = pixels(png), pixels(alone)
    finer = stored.shape[1] / shown.shape[1]
    assert finer > 1 and stored.shape[0] > finer * shown.shape[0] + 40
    assert stored[-60:, :, 3].any() and stored[:40, :, 3].any()
    np.testing.assert_array_equal(pixels(drawing(scale=1.0)[0]), shown)


def test_the_stored_picture_takes_over_where_no_page_reports_and_gives_way_to_one_that_does(
    moving: Moving, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = Cell(monkeypatch)
    moving.show()
    assert cell.pictures == [False, True]
    assert cell.outputs[1]["text/plain"] == "The scale is 1.0, as in a < b."
    assert base64.b64decode(cell.outputs[1]["image/png"]).startswith(b"\x89PNG")
    cell.next[0]()
    assert cell.pictures == [True, False]
    moving.box._view_count = 1
    assert cell.pictures == [False, True]


def test_the_stored_picture_says_what_the_controls_were() -> None:
    controls = {
        "a": slider(1.0, 0.5, 5.0, label="scale"),
        "b": choice(("Adam", "SGD"), label="rule"),
        "c": slider(3, 1, 5),
    }
    assert described(as_widgets(controls)) == "scale = 1 · rule = Adam · c = 3"


@pytest.mark.slow
def test_closing_takes_every_widget_along_and_leaves_nothing_in_memory() -> None:
    w.Widget.close_all()
    picture = move(parabola, scale=slider(1.0, 0.5, 5.0, label="scale"))
    picture.controls["scale"].value = 2.0
    assert picture.words
    control = picture.controls["scale"]
    gone = [weakref.ref(picture), weakref.ref(picture._drawing), weakref.ref(picture._drawing._figure)]
    picture.close()
    assert picture.image.comm is None and control.comm is None
    assert not w.widgets.widget._instances
    del picture
    gc.collect()
    assert [reference() for reference in gone] == [None, None, None]


def test_a_picture_is_drawn_while_another_thread_keeps_python_busy(moving: Moving) -> None:
    over = threading.Event()

    def busy() -> None:
        while not over.is_set():
            sum(range(1000))

    thread = threading.Thread(target=busy)
    thread.start()
    began = time.monotonic()
    moving.controls["scale"].value = 2.0
    assert moving.words == "The scale is 2.0, as in a < b."
    over.set()
    thread.join()
    assert time.monotonic() - began < 10


def test_the_first_value_of_a_logarithmic_slider_is_one_of_its_steps() -> None:
    log = as_widgets({"rate": slider(0.5, 0.01, 100.0, log=True, label="η")})["rate"]
    steps = (np.log10(0.5) - log.min) / log.step
    assert steps == pytest.approx(round(steps))
    assert log.step == pytest.approx(0.04, rel=0.02)


def test_a_control_without_a_value_is_refused() -> None:
    for scale in (w.HBox(), slider(None, 0, 1), 1.0):
        with pytest.raises(ValueError, match="'scale' has no value"):
            move(parabola, scale=scale)


def test_sliders_are_what_their_arguments_say() -> None:
    asked = {
        "whole": slider(3, 1, 5),
        "x": slider(0.5, 0, 1),
        "log": slider(0.1, 0.01, 1.0, log=True, label="η"),
        "rule": choice(("a", "b"), "b"),
    }
    whole, x, log, rule = as_widgets(asked).values()
    assert isinstance(whole, w.IntSlider) and isinstance(x, w.FloatSlider)
    assert (log.min, log.max, log.value, log.description) == (-2.0, 0.0, 0.1, "η")
    assert (rule.value, rule.description) == ("b", "rule")


@pytest.mark.parametrize(("value", "low", "high", "log"), [(1, 2, 3, False), (1, 1, 1, False), (1, 0, 3, True)])
def test_a_range_that_cannot_be_is_refused_in_one_line(value: float, low: float, high: float, log: bool) -> None:
    with pytest.raises(ValueError, match=r"slider 'x' needs low < high") as caught:
        slider(value, low, high, log=log, label="x")
    assert "\n" not in str(caught.value)
