"""Still pictures."""

from __future__ import annotations

import io
import math
import threading

import numpy as np
import pytest
from PIL import Image

from stablelab.plots import earlier_runs as ghosts
from stablelab.plots import training_curves as figures
from stablelab.plots.curve_data import Feed


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def _has(pixels: np.ndarray, colour: str) -> bool:
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return bool((np.abs(pixels.astype(int) - wanted).max(axis=2) <= 8).any())


def test_the_picture_shows_every_curve(make_history) -> None:
    pixels = _pixels(figures.to_png(figures.curves(make_history([2.0, 1.0] * 20), total_steps=40, title="a run")))
    assert all(_has(pixels, colour) for colour in (figures.BLUE, figures.VERMILLION, figures.GREEN, figures.PURPLE))
    assert pixels[0, 0].tolist() == [255, 255, 255], "a white ground is legible in a dark notebook too"


def test_three_panels_with_the_data(make_history) -> None:
    history = make_history([3.0, 2.0, 1.0])
    loss, norm, rate = figures.curves(history).axes
    assert [axes.get_title(loc="left") for axes in (loss, norm, rate)] == [
        "loss (nats)",
        "gradient norm ‖g‖",
        "learning rate",
    ]
    raw = next(line for line in loss.lines if line.get_label() == "each batch")
    assert raw.get_ydata().tolist() == [3.0, 2.0, 1.0]
    assert rate.get_xlabel() == "optimizer step"


def test_marks_and_ghosts(make_history, make_run) -> None:
    run = make_run(5)
    run.start().wait()
    ghosts.remember(run)
    figure = figures.curves(make_history([1.0] * 9), ghosts=ghosts.beside(make_run(2)))
    marks = [line for line in figure.axes[0].lines if list(line.get_xdata()) == [5, 5]]
    assert len(marks) == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [ghosts.beside(make_run(2))[0].label]


def test_a_branch_is_drawn_beside_its_parent_from_where_it_parted(make_run) -> None:
    branch = make_run(20).start().wait().branch(12, learning_rate=1e-3).start().wait()
    figure = figures.curves(branch.history, ghosts=ghosts.beside(branch), born=branch.born)
    loss = figure.axes[0]
    assert {"branched at 12", "parent"} <= {text.get_text().strip() for text in loss.texts}
    assert [12, 12] in [list(line.get_xdata()) for line in loss.lines]
    parent, own = loss.lines[0].get_ydata(), loss.lines[1].get_ydata()
    assert parent[:12].tolist() == own[:12].tolist() and parent[12:].tolist() != own[12:].tolist()
    assert figure.legends[0].get_texts()[0].get_text().startswith("parent: ring")


@pytest.mark.parametrize("losses", [[], [1.0], [math.nan, math.inf], [1.0, math.nan, 2.0]])
def test_short_and_broken_histories_are_drawn(make_history, losses) -> None:
    assert figures.to_png(figures.curves(make_history(losses)))[:4] == b"\x89PNG"


def test_no_clipping_no_threshold(make_history) -> None:
    norm = figures.curves(make_history([1.0] * 5, max_norm=None, clipped=False)).axes[1]
    assert [line.get_label() for line in norm.lines][:1] == ["before clipping"]
    assert "threshold" not in [line.get_label() for line in norm.lines]


def test_two_threads_may_draw_at_once(make_history) -> None:
    history, drawn = make_history([1.0] * 30), []
    threads = [threading.Thread(target=lambda: drawn.append(figures.to_png(figures.curves(history)))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(drawn) == 2 and drawn[0] == drawn[1]


def test_summary_in_words(make_history) -> None:
    feed = Feed(make_history([1.0] * 10), 10)
    assert figures.summary(feed) == "training curves: no step yet"
    feed.update()
    said = figures.summary(feed)
    assert "10 steps" in said and "validation loss 1.1" in said and "100% of the steps clipped" in said
