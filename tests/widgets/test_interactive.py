"""A picture answers its sliders in time, keeps the old one where drawing fails, and is still there without a page."""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

import ipywidgets as w
import numpy as np
import pytest

from stablelab.formulas import gradient_descent
from stablelab.widgets import Curve, Panel, contours, move, slider, valley, walk
from stablelab.widgets.interactive import Moving, choice, described
from stablelab.widgets.landscapes import Quadratic
from stablelab.widgets.live_chart import unpack
from stablelab.widgets.stills import to_png

FAST = 0.1  # seconds a move may take


def parabola(scale: float) -> Panel:
    if scale > 4:
        raise ValueError("a scale above 4 is <too> steep")
    x = np.linspace(-1, 1, 5)
    return Panel([Curve(x, scale * x**2, "f")], x="x", y="f(x)", title="parabola", summary=f"scale {scale:.1f}")


def descent(learning_rate: float, kappa: float) -> tuple[Panel, Panel]:
    import torch

    bowl = valley(kappa)
    start = torch.tensor([-1.2, 1.6], dtype=torch.float64)
    path = walk(lambda theta, g, t: (gradient_descent(theta, g, learning_rate),), bowl.gradient, start, 60)
    lines, heat = contours(bowl.loss, (-4, 4), (-3, 3))
    return (
        Panel(
            [lines, Curve(path[:, 0], path[:, 1], style="arrows")], heat=heat, equal=True, xlim=(-2, 2), ylim=(-2, 2)
        ),
        Panel([Curve(range(61), bowl.loss(path), "loss")], log_y=True),
    )


@pytest.fixture
def moving() -> Moving:
    return move(parabola, scale=slider("scale", 1.0, 0.5, 5.0))


def shown(picture: Moving) -> tuple[dict[str, Any], list[np.ndarray]]:
    header, buffers = unpack(picture.canvas.data)
    return header, [np.frombuffer(each, dtype="<f4") for each in buffers]


def test_a_move_sends_the_new_curve(moving: Moving) -> None:
    assert shown(moving)[1][1].tolist() == [1.0, 0.25, 0.0, 0.25, 1.0]
    moving.controls["scale"].value = 2.0
    header, (x, y) = shown(moving)
    assert x.tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert y.tolist() == [2.0, 0.5, 0.0, 0.5, 2.0]
    assert header["panels"][0]["summary"] == "scale 2.0"


def test_where_drawing_fails_there_is_one_line_and_the_old_picture_stays(moving: Moving) -> None:
    before = moving.canvas.data
    moving.controls["scale"].value = 4.5
    assert moving.canvas.data == before
    assert moving.message.value == "not drawn: a scale above 4 is &lt;too&gt; steep"
    moving.controls["scale"].value = 3.0
    assert moving.message.value == ""
    assert shown(moving)[0]["panels"][0]["summary"] == "scale 3.0"


def test_what_fails_at_first_is_raised() -> None:
    with pytest.raises(ValueError, match="above 4"):
        move(parabola, scale=slider("scale", 4.5, 0.5, 5.0))


def test_a_move_across_contours_and_two_panels_takes_well_under_a_tenth_of_a_second() -> None:
    picture = move(descent, learning_rate=slider("η", 0.1, 0.01, 0.24), kappa=slider("κ", 10.0, 1.0, 100.0, log=True))
    seconds = []
    for value in np.linspace(0.02, 0.23, 9):
        began = time.perf_counter()
        picture.controls["learning_rate"].value = float(value)
        seconds.append(time.perf_counter() - began)
    assert statistics.median(seconds) < FAST


def test_a_page_that_reports_is_noted(moving: Moving) -> None:
    assert not moving.canvas.heard
    moving.canvas._handle_custom_msg({"type": "here"}, [])
    assert moving.canvas.heard


class Places:
    """Stands for the two outputs of a cell: notes what they are told to show."""

    shown = True

    def __init__(self) -> None:
        self.told: list[bool] = []

    def show(self) -> None:
        """Nothing: there is no cell."""

    def settle(self, picture: bytes, alt: str, on_a_page: bool) -> None:
        assert picture.startswith(b"\x89PNG") and "parabola: scale 1.0" in alt
        self.told.append(on_a_page)


def test_the_still_picture_takes_over_where_no_page_reports_and_gives_way_to_one_that_does(
    moving: Moving, monkeypatch: pytest.MonkeyPatch
) -> None:
    next_cell = []
    monkeypatch.setattr("stablelab.widgets.interactive._before_next_cell", next_cell.append)
    place = moving._place = Places()  # type: ignore[assignment]
    moving.show()
    assert place.told == [True]  # under the widget
    next_cell[0]()
    assert place.told == [True, False]  # instead of it
    moving.canvas._handle_custom_msg({"type": "here"}, [])
    assert place.told == [True, False, True]


def test_a_page_that_reports_before_the_still_picture_is_made_disturbs_nothing(
    moving: Moving, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = moving._place = Places()  # type: ignore[assignment]

    def slow(*arguments: Any, **named: Any) -> bytes:
        moving.canvas._handle_custom_msg({"type": "here"}, [])
        return to_png(*arguments, **named)

    monkeypatch.setattr("stablelab.widgets.stills.to_png", slow)
    monkeypatch.setattr("stablelab.widgets.interactive._before_next_cell", lambda call: None)
    moving.show()
    assert place.told == [True]


def test_the_first_value_of_a_logarithmic_slider_is_one_of_its_steps() -> None:
    log = slider("η", 0.5, 0.01, 100.0, log=True)
    steps = (np.log10(0.5) - log.min) / log.step
    assert steps == pytest.approx(round(steps))
    assert log.step == pytest.approx(0.04, rel=0.02)


def test_the_still_picture_says_what_the_controls_were(moving: Moving) -> None:
    assert described(moving.controls) == "scale = 1"
    assert to_png(moving.panels, note=described(moving.controls)).startswith(b"\x89PNG")


def test_closing_takes_every_widget_along(moving: Moving) -> None:
    moving.close()
    assert moving.canvas.comm is None and moving.controls["scale"].comm is None


def test_a_control_without_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match="'scale' has no value"):
        move(parabola, scale=w.HBox())


def test_sliders_are_what_their_arguments_say() -> None:
    assert isinstance(slider("n", 3, 1, 5), w.IntSlider)
    assert isinstance(slider("x", 0.5, 0, 1), w.FloatSlider)
    log = slider("η", 0.1, 0.01, 1.0, log=True)
    assert (log.min, log.max, log.value) == (-2.0, 0.0, 0.1)
    assert choice("rule", ("a", "b"), "b").value == "b"


@pytest.mark.parametrize(("value", "low", "high", "log"), [(1, 2, 3, False), (1, 1, 1, False), (1, 0, 3, True)])
def test_a_range_that_cannot_be_is_refused_in_one_line(value: float, low: float, high: float, log: bool) -> None:
    with pytest.raises(ValueError, match=r"slider 'x' needs low < high") as caught:
        slider("x", value, low, high, log=log)
    assert "\n" not in str(caught.value)


def test_the_message_is_json_and_its_limits_are_powers_on_a_logarithmic_axis() -> None:
    picture = move(lambda: Panel([Curve([1, 2, 3], [1e-3, 0.0, 1e3])], log_y=True, ylim=(1e-4, 1e4)))
    header, (_, y) = shown(picture)
    assert json.loads(json.dumps(header))["panels"][0]["ylim"] == [-4.0, 4.0]
    assert y[0] == pytest.approx(-3) and np.isnan(y[1]) and y[2] == pytest.approx(3)


def test_contours_lie_where_the_loss_has_their_height() -> None:
    bowl = valley(4.0)
    lines, heat = contours(bowl.loss, (-1, 1), (-1, 1), levels=3)
    import torch

    points = torch.tensor(np.stack([lines.x, lines.y], axis=1))
    points = points[~points.isnan().any(dim=1)]
    highest = bowl.loss(torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)).max()
    height = (bowl.loss(points) / highest).sqrt()
    assert (height[:, None] - torch.tensor([0.25, 0.5, 0.75])).abs().min(dim=1).values.max() < 0.01
    assert heat.values.shape == (81, 81) and heat.values.max() == 1


def test_a_walk_hands_the_memory_on() -> None:
    import torch

    line = Quadratic(torch.tensor([[2.0]]))
    path = walk(lambda theta, g, t, n: (theta - 0.25 * g, n + t), line.gradient, torch.ones(1), 3, 0)
    assert path.flatten().tolist() == [1.0, 0.5, 0.25, 0.125]


def test_a_valley_has_the_condition_number_asked_for() -> None:
    import torch

    low, high = torch.linalg.eigvalsh(valley(20.0).H).tolist()
    assert (low, high) == (pytest.approx(0.5), pytest.approx(10.0))
    with pytest.raises(ValueError, match="kappa ≥ 1"):
        valley(0.5)
