"""Still pictures."""

from __future__ import annotations

import io
import math
import threading

import numpy as np
import pytest
from PIL import Image

from stablelab.plots import display, earlier_runs
from stablelab.plots.curve_data import CurveData
from stablelab.plots.display import to_png
from stablelab.plots.training_curves import training_figure, training_words


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def _has(pixels: np.ndarray, colour: str) -> bool:
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return bool((np.abs(pixels[..., :3].astype(int) - wanted).max(axis=2)[pixels[..., 3] > 240] <= 8).any())


@pytest.mark.slow
def test_the_picture_shows_every_curve(make_history) -> None:
    pixels = _pixels(to_png(training_figure(make_history([2.0, 1.0] * 20), total_steps=40, title="a run")))
    assert all(_has(pixels, colour) for colour in (display.BLUE, display.VERMILLION, display.GREEN, display.PURPLE))
    assert pixels[0, 0, 3] == 0, "the ground is that of the page, light or dark"


def test_three_panels_with_the_data(make_history) -> None:
    history = make_history([3.0, 2.0, 1.0])
    loss, norm, rate = training_figure(history).axes
    assert [axes.get_title(loc="left") for axes in (loss, norm, rate)] == [
        "loss (nats)",
        "gradient norm ‖g‖",
        "learning rate",
    ]
    raw = next(line for line in loss.lines if line.get_label() == "each batch")
    assert raw.get_ydata().tolist() == [3.0, 2.0, 1.0]
    assert rate.get_xlabel() == "optimizer step"
    assert [axes.get_yscale() for axes in (loss, norm, rate)] == ["linear", "log", "linear"]


def test_marks_and_earlier_runs(make_history, make_run) -> None:
    run = make_run(5)
    run.start().wait()
    earlier_runs.remember(run)
    figure = training_figure(make_history([1.0] * 9), earlier_runs=earlier_runs.beside(make_run(2)))
    marks = [line for line in figure.axes[0].lines if list(line.get_xdata()) == [5, 5]]
    assert len(marks) == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [earlier_runs.beside(make_run(2))[0].label]


def test_names_of_runs_that_end_at_one_place_stand_apart(make_history, make_run) -> None:
    for _ in range(3):
        earlier_runs.remember(make_run(5).start().wait())
    found = earlier_runs.beside(make_run(2))
    names = training_figure(make_history([1.0] * 9), earlier_runs=found).axes[0].texts
    heights = sorted(name.get_position()[1] for name in names)
    assert [name.get_text().strip() for name in names] == [f"#{each.id}" for each in found]
    assert len(heights) == 3 and min(np.diff(heights)) >= 7, "as high as the letters, in points"


def test_a_branch_is_drawn_beside_its_parent_from_where_it_parted(make_run) -> None:
    branch = make_run(20).start().wait().branch(12, learning_rate=1e-3).start().wait()
    figure = training_figure(branch.history, earlier_runs=earlier_runs.beside(branch), branched_at=branch.born)
    loss = figure.axes[0]
    assert {"branched at 12", "parent"} <= {text.get_text().strip() for text in loss.texts}
    assert [12, 12] in [list(line.get_xdata()) for line in loss.lines]
    [own] = [line.get_ydata() for line in loss.lines if line.get_label() == "training"]
    parent = loss.lines[0].get_ydata()
    assert parent[:12].tolist() == own[:12].tolist() and parent[12:].tolist() != own[12:].tolist()
    assert figure.legends[0].get_texts()[0].get_text().startswith("parent: ring")


@pytest.mark.parametrize("losses", [[], [1.0], [math.nan, math.inf], [1.0, math.nan, 2.0]])
@pytest.mark.slow
def test_short_and_broken_histories_are_drawn(make_history, losses) -> None:
    assert to_png(training_figure(make_history(losses)))[:4] == b"\x89PNG"


def test_no_clipping_no_threshold(make_history) -> None:
    norm = training_figure(make_history([1.0] * 5, max_norm=None, clipped=False)).axes[1]
    assert [line.get_label() for line in norm.lines][:1] == ["before clipping"]
    assert "threshold" not in [line.get_label() for line in norm.lines]


@pytest.mark.slow
def test_two_threads_may_draw_at_once(make_history) -> None:
    history, drawn = make_history([1.0] * 30), []
    threads = [threading.Thread(target=lambda: drawn.append(to_png(training_figure(history)))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(drawn) == 2 and drawn[0] == drawn[1]


def test_summary_in_words(make_history) -> None:
    data = CurveData(make_history([1.0] * 10), 10)
    assert training_words(data) == "training curves: no step yet"
    data.update()
    said = training_words(data)
    assert "10 steps" in said and "validation loss 1.1" in said and "100 % of the steps clipped" in said


def test_a_panel_for_each_further_scalar_and_none_for_what_was_not_recorded(make_history) -> None:
    figure = training_figure(make_history([1.0] * 12, norm_before=math.nan, scalars={"sharpness": 3.0}))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["loss (nats)", "learning rate", "sharpness"]
    alone = training_figure(make_history([1.0] * 12, norm_before=math.nan, learning_rates=()))
    assert [axes.get_title(loc="left") for axes in alone.axes] == ["loss (nats)"]
    assert to_png(alone)[:4] == b"\x89PNG"


@pytest.mark.slow
def test_seeds_are_drawn_as_one_band_with_its_mean(make_history, make_run) -> None:
    for seed in (1, 2, 3):
        earlier_runs.remember(make_run(12, seed=seed, max_norm=1.0).start().wait())
    found = earlier_runs.beside(make_run(2))
    figure = training_figure(make_history([1.0] * 9), earlier_runs=found)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "mean ± sd of 3 seeds: ring · AdamW · torch fused · learning rate 0.01"
    ]
    assert "3 seeds" in [text.get_text().strip() for text in figure.axes[0].texts]
    for axes in figure.axes:
        assert len(axes.collections) == 1
    _, mean, _ = earlier_runs.bands(found)[0].column("smooth")
    assert figure.axes[0].lines[0].get_ydata().tolist() == mean.tolist()
    assert to_png(figure)[:4] == b"\x89PNG"


def test_words_leave_out_what_is_not_known(make_history) -> None:
    data = CurveData(make_history([1.0] * 3, norm_before=math.nan, learning_rates=()), 10)
    data.update()
    assert training_words(data) == "training curves: 3 steps, training loss 1"
