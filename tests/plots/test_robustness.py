"""The gallery of corruptions and the error against the severity, as a learner sees them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from stablelab.plots import robustness as robustness_figures
from stablelab.plots import show_corrupted, show_robustness
from stablelab.plots.display import to_png
from stablelab.stability import Robustness

PICTURE = np.full((8, 10, 3), 90, dtype=np.uint8)


def invented(name: str = "plain", corruptions: tuple[str, ...] = ("noise", "blur", "shift", "crop")) -> Robustness:
    generator = np.random.default_rng(len(name))
    wrong = generator.random((2, len(corruptions), 3, 50)) < np.array([0.2, 0.4, 0.6])[:, None]
    return Robustness(name, corruptions, (1, 3, 5), generator.random((2, 50)) < 0.1, wrong)


def test_a_panel_for_each_corruption_begins_at_the_clean_error() -> None:
    found, other = invented(), invented("with noise")
    figure = robustness_figures.robustness_figure([found, other])
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == list(found.corruptions)
    for k, axes in enumerate(panels):
        line, clean, second, _ = axes.get_lines()
        assert np.asarray(line.get_xdata()).tolist() == [0, 1, 3, 5]
        assert np.asarray(line.get_ydata()).tolist() == pytest.approx([found.clean_error, *found.errors[k]])
        assert np.asarray(second.get_ydata()).tolist() == pytest.approx([other.clean_error, *other.errors[k]])
        [bars, _] = [np.asarray(each.get_segments())[:, :, 1] for each in axes.collections]
        low, high = (found.frame()[name].to_numpy() for name in ("low", "high"))
        shown = (found.frame()["corruption"].isin(("clean", axes.get_title(loc="left")))).to_numpy()
        assert bars[:, 0].tolist() == pytest.approx(low[shown]) and bars[:, 1].tolist() == pytest.approx(high[shown])
        assert clean.get_ydata()[0] == found.clean_error
        looks = [(each.get_color(), each.get_marker(), each.get_linestyle()) for each in (line, second)]
        assert all(one != two for one, two in zip(*looks, strict=True))  # told apart without colours, too
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["plain", "with noise"]
    assert figure.get_supylabel() == "error rate" and figure.get_supxlabel().startswith("severity (0: clean)")


@pytest.mark.slow
def test_a_picture_goes_into_the_cell_and_its_words_under_it(shown, capsys) -> None:
    show_robustness(invented(), invented("with noise"))
    (data,) = shown
    assert data["text/plain"].startswith("error against severity. plain: clean error ")
    assert capsys.readouterr().out.split() == data["text/plain"].split()
    assert "with noise: clean error" in data["text/plain"]


def test_models_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^there are 0 to show; give from 1 to 4, each from robustness\(\)$"):
        show_robustness()
    with pytest.raises(ValueError, match=r"^b was measured under other corruptions than plain$"):
        show_robustness(invented(), invented("b", ("noise",)))


def test_the_gallery_has_a_row_for_each_corruption() -> None:
    rows = {"noise": [PICTURE + s for s in (1, 2)], "blur": [PICTURE - s for s in (1, 2)]}
    figure = robustness_figures.corrupted_figure(PICTURE, rows, (2, 4))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["as it is", "2", "4"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["noise", "blur"]
    shown = {tuple(image.get_extent()[::3]): int(image.get_array().max()) for image in axes.images}  # by left and top
    places = [(j - 0.45, i - 0.45) for i in range(2) for j in range(3)]
    assert [shown[place] for place in places] == [90, 91, 92, 90, 89, 88]


def test_the_gallery_keeps_its_greys_beside_coloured_noise(shown) -> None:
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    ramp = np.repeat(np.linspace(10, 40, 32).astype(np.uint8), 32 * 3).reshape(32, 32, 3)
    show_corrupted(PICTURE, {"noise": [noise], "dark": [ramp]}, (1,))
    (data,) = shown
    assert data["text/plain"].startswith("one example under noise, dark, each at severity 1")
    png = to_png(robustness_figures.corrupted_figure(PICTURE, {"dark": [ramp]}, (1,)))
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))
    colours = {tuple(c) for c in pixels.reshape(-1, 4).tolist()}
    assert {(int(g),) * 3 + (255,) for g in np.unique(ramp)} <= colours and pixels[0, 0, 3] == 0


def test_a_sentence_becomes_a_table_in_which_nothing_is_markup(shown, capsys) -> None:
    show_corrupted("a <b>good</b> film", {"case": ["a <B>GOOD</B> film", "A FILM"]}, (1, 2))
    markup = shown[0]["text/html"]
    assert "&lt;B&gt;GOOD&lt;/B&gt;" in markup and "<b>" not in markup.lower() and markup.count("<tr>") == 4
    assert "a <b>good</b> film" in capsys.readouterr().out


def test_rows_of_another_length_are_refused() -> None:
    for rows in ({}, {"noise": [PICTURE]}):
        with pytest.raises(
            ValueError, match=r"^rows must hold at least one corruption, and 2 examples of each, one a se"
        ):
            show_corrupted(PICTURE, rows, (1, 2))
