"""Panels as data: limits that show the curves, and one clear line for what cannot be drawn."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.image import imread

from stablelab.widgets import Curve, Heat, Panel, Rule
from stablelab.widgets.panels import STYLES, message
from stablelab.widgets.stills import to_png


def test_limits_are_the_data_with_a_little_room() -> None:
    panel = Panel([Curve([0, 10], [1, 3])])
    assert panel.limits("x") == (pytest.approx(-0.4), pytest.approx(10.4))
    assert panel.limits("y") == (pytest.approx(0.92), pytest.approx(3.08))


def test_limits_take_in_rules_but_neither_contours_nor_what_is_not_finite() -> None:
    curves = [Curve([0, 1], [0, np.inf]), Curve([-50, 50], [0, 1], style="faint")]
    panel = Panel(curves, rules=[Rule(2.0)])
    assert panel.limits("x") == (pytest.approx(-0.08), pytest.approx(2.08))
    assert panel.limits("y") == (-0.5, 0.5)


def test_given_limits_are_kept_and_nothing_at_all_has_limits_too() -> None:
    assert Panel([Curve([0, 9], [0, 9])], xlim=(1, 2)).limits("x") == (1.0, 2.0)
    assert Panel([]).limits("x") == (0.0, 1.0)


def test_buffers_come_in_the_order_the_script_reads_them() -> None:
    heat = Heat([[0.0, 2.0]], (0, 1, 0, 1))
    header, buffers = message([Panel([Curve([1, 2], [3, 4])], heat=heat), Panel([Curve([5], [6])])])
    numbers = [np.frombuffer(each, dtype="<f4").tolist() for each in buffers]
    assert numbers == [[0.0, 1.0], [1.0, 2.0], [3.0, 4.0], [5.0], [6.0]]
    assert header["panels"][0]["heat"]["shape"] == (1, 2)


def test_what_flies_off_stays_within_float32() -> None:
    _, (_, y) = message([Panel([Curve([0, 1], [1e200, -1e200])])])
    assert np.isfinite(np.frombuffer(y, dtype="<f4")).all()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Curve([1, 2], [1]), "as many y as x; there are 2 x and 1 y"),
        (lambda: Curve([[1]], [1]), r"x of a curve must have shape \(N,\)"),
        (lambda: Curve([1], [1], style="dots"), "style is 'dots'; it must be one of line"),
        (lambda: Curve([1], [1], color=6), "color is 6"),
        (lambda: Rule(1.0, axis="z"), "axis is 'z'"),
        (lambda: Heat([1.0], (0, 1, 0, 1)), r"heat needs values \(H, W\)"),
        (lambda: Panel([], xlim=(2, 1)), "xlim is"),
        (lambda: Panel([], ylim=(0, 1), log_y=True), "two finite numbers above 0"),
        (lambda: Panel([], ylim=(0, float("nan"))), "ylim is"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(make, says) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_the_still_picture_draws_every_style_on_white() -> None:
    curves = [Curve([1, 2, 3], [i + 1, 2, 3], style, style=style, color=i) for i, style in enumerate(STYLES)]
    rules = [Rule(2.0, "here"), Rule(2.0, "there", "y")]
    panel = Panel(curves, x="x", y="y", title="all", log_x=True, log_y=True, rules=rules)
    pixels = imread(io.BytesIO(to_png([panel, panel])))
    assert pixels.shape[1] > 1.5 * pixels.shape[0]
    assert pixels[0, 0].min() == 1
    assert pixels[..., :3].min() < 0.5
