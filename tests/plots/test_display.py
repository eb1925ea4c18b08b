"""One look for every figure."""

from __future__ import annotations

import io
import threading

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from stablelab.plots import display, show_pictures
from stablelab.plots.display import contrast, figure_style, ink_on, pictures_figure, png_size, styled, to_png

PAGES = ("#FFFFFF", "#111111")  # JupyterLab's light and dark theme


def test_every_colour_of_the_style_is_legible_on_a_light_and_on_a_dark_page() -> None:
    with figure_style():
        style = dict(matplotlib.rcParams)
    curves = [each["color"] for each in style["axes.prop_cycle"]]
    inks = ["text.color", "axes.labelcolor", "axes.titlecolor", "axes.edgecolor", "xtick.color", "ytick.color"]
    for colour in [*curves, *(style[name] for name in inks), style["legend.labelcolor"], display.GREY]:
        assert min(contrast(colour, page) for page in PAGES) >= 3, colour
    assert [to_hex(colour).upper() for colour in curves] == [
        display.BLUE,
        display.VERMILLION,
        display.GREEN,
        display.PURPLE,
        display.GOLD,
        display.SKY,
    ]
    dashes = [repr(each["linestyle"]) for each in style["axes.prop_cycle"]]
    assert len(set(dashes)) == len(dashes), "told apart without colour, too"


def test_contrast_is_that_of_the_guidelines() -> None:
    assert contrast("black", "white") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == contrast("#FFFFFF", "#777777") == pytest.approx(4.48, abs=0.01)
    for grey in np.linspace(0, 1, 21):
        ground = (grey, grey, grey)
        assert contrast(ink_on(ground), ground) >= 4.5


def test_a_figure_is_drawn_in_the_style_and_the_notebook_keeps_its_own() -> None:
    @styled
    def draw() -> Figure:
        figure = Figure(figsize=(2, 1))
        figure.subplots().plot([1, 2])
        return figure

    before = dict(matplotlib.rcParams)
    figures: list[Figure] = []
    threads = [threading.Thread(target=lambda: figures.append(draw())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(figures) == 4 and dict(matplotlib.rcParams) == before
    [axes] = figures[0].axes
    figures[0].canvas.draw()  # outside of the style, as a notebook would
    assert {tick.label1.get_color() for tick in axes.xaxis.get_major_ticks()} == {display.GREY}
    assert not axes.spines["top"].get_visible() and all(tick.gridline.get_visible() for tick in axes.yaxis.majorTicks)


def test_a_png_has_a_transparent_ground_and_is_shown_at_the_size_it_was_drawn_for() -> None:
    picture = to_png(styled(lambda: Figure(figsize=(3, 2)))())
    image = Image.open(io.BytesIO(picture))
    assert image.size == (432, 288) and image.convert("RGBA").getpixel((0, 0))[3] == 0
    assert png_size(picture) == {"image/png": {"width": 300, "height": 200}} and png_size(None) == {}


def test_a_logarithmic_axis_is_labelled_as_numbers_are_written() -> None:
    axes = Figure(figsize=(4, 3)).subplots()
    for low, high, labels in (
        (1e-6, 1e5, {"1e-6", "0.01", "1e4"}),
        (0.02, 0.9, {"0.03", "0.1", "0.3"}),
        (0.3, 4.0, {"0.5", "1", "2"}),
        (0.55, 0.95, {"0.6", "0.7", "0.8"}),
    ):
        axes.clear()
        axes.plot([1, 2], [low, high])
        axes.set_yscale("log")
        display.label_powers(axes)
        axes.figure.canvas.draw()
        written = [tick.get_text() for tick in axes.get_yticklabels(which="both") if tick.get_text()]
        assert labels <= {*written} and not [text for text in written if "$" in text or "e+" in text]


def test_pictures_stand_in_rows_each_under_its_title() -> None:
    pictures = [np.full((8, 8), 20 * i, dtype=np.uint8) for i in range(5)]
    figure = pictures_figure(pictures, [f"number {i}" for i in range(5)], across=3)
    drawn = [axes for axes in figure.axes if axes.images]
    assert len(figure.axes) == 6 and [axes.get_title(loc="left") for axes in drawn] == [f"number {i}" for i in range(5)]
    assert [int(axes.images[0].get_array().max()) for axes in drawn] == [0, 20, 40, 60, 80]


def test_tensors_with_channels_first_are_turned_and_a_script_reads_the_titles(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_pictures(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), ["a\nb", "c"], across=2)
    assert capsys.readouterr().out == "pictures: a b; c\n"


@pytest.mark.parametrize(("n", "titles"), [(2, ["one"]), (0, [])])
def test_a_picture_without_a_title_is_refused(n: int, titles: list[str]) -> None:
    with pytest.raises(ValueError, match=f"there are {n} pictures and {len(titles)} titles"):
        show_pictures(torch.zeros(n, 3, 8, 8, dtype=torch.uint8), titles)
