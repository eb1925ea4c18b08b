"""Pictures of a sweep show the mean, the spread and what went wrong, as numpy has them."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from stablelab._formatting import format_number
from stablelab.plots.display import to_png
from stablelab.plots.heatmaps import (
    axis_ticks,
    color_map,
    color_norm,
    heatmap,
    heatmap_html,
    heatmap_words,
    out_of_range,
)
from stablelab.plots.sweep_tables import ScoreTable, axes_of, groups, rows_of, score_table
from stablelab.plots.sweeps import seed_curves, show_strip, strip
from stablelab.stability import Results, Sweep

Make = Callable[..., Sweep]


@pytest.fixture
def results(make_sweep: Make) -> Results:
    return make_sweep().run(bar=False)


def table(results: Results, score: str = "validation_loss") -> ScoreTable:
    return score_table(rows_of(results), results.grid, "learning_rate", "max_norm", score)


def first(results: Results, n: int) -> Results:
    """As while a sweep is under way."""
    return replace(results, trials=results.trials[:n], outcomes=results.outcomes[:n])


def words(figure: Figure) -> str:
    return " · ".join(text.get_text() for text in figure.findobj(Text))


def test_cells_hold_mean_and_standard_deviation_of_the_runs_that_did_not_diverge(results: Results) -> None:
    found = table(results)
    for (i, bound), (j, rate) in product(enumerate(found.rows), enumerate(found.columns)):
        losses = [run.validation_loss for run in results.where(learning_rate=rate, max_norm=bound).outcomes]
        kept = [loss for loss in losses if np.isfinite(loss)]
        assert (found.runs[i, j], found.diverged[i, j]) == (3, 3 - len(kept))
        np.testing.assert_allclose(found.mean[i, j], np.mean(kept) if kept else np.nan)
        np.testing.assert_allclose(found.std[i, j], np.std(kept, ddof=1) if len(kept) > 1 else np.nan)
    assert found.diverged.tolist() == [[0, 0, 1], [0, 0, 3]]


def test_settings_that_are_not_drawn_are_averaged_over_and_do_not_count_as_spread(make_sweep: Make) -> None:
    grid = {"learning_rate": (1e-3, 1e-2), "max_norm": (1.0, None), "optimizer": ("adam", "sgd")}
    found = table(make_sweep(grid).run(bar=False))
    assert found.over == ("optimizer",)
    plain = table(make_sweep({name: grid[name] for name in ("learning_rate", "max_norm")}).run(bar=False))
    np.testing.assert_allclose(found.mean, plain.mean)  # what is invented does not look at the optimizer
    np.testing.assert_allclose(found.std, plain.std)
    assert found.runs.tolist() == [[6, 6], [6, 6]]


def test_the_heatmap_says_how_many_diverged_and_which_cells_are_empty(results: Results) -> None:
    said = words(heatmap(results))
    assert "×3" in said and "0." in said and "all diverged" in said and "no run yet" not in said
    assert "validation loss (nats)" in said and "standard deviation over seeds" in said and "clip threshold" in said
    assert "no run yet" in words(heatmap(first(results, 4)))
    assert heatmap_words(table(results)).startswith(
        "validation loss (nats) over learning rate and clip threshold: 18 runs in 6 of 6"
    )


def test_there_is_no_grid_over_the_cells(results: Results) -> None:
    figure = heatmap(results)
    figure.canvas.draw()
    ticks = [tick for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for tick in axis.get_major_ticks()]
    assert ticks and not [tick for tick in ticks if tick.gridline.get_visible()]


@pytest.mark.slow
def test_a_picture_keeps_the_shades_of_its_cells(results: Results) -> None:
    found = table(results, "accuracy")
    shades = color_map(0, falls=False)(color_norm(found.mean)(found.mean[:, :2]))
    picture = Image.open(io.BytesIO(to_png(heatmap(results, score="accuracy")))).convert("RGBA")
    there = np.array([rgba[:3] for _, rgba in picture.getcolors(1 << 20) if rgba[3] == 255])
    for shade in 255 * shades.reshape(-1, 4)[:, :3]:
        assert np.abs(there - shade).max(axis=1).min() < 2


def test_the_table_of_coloured_cells_has_the_same_numbers(results: Results) -> None:
    found = table(first(results, 16))
    said = heatmap_html(found)
    assert said.count("<td") == 2 * 6 and said.count('class="diverged"') == 2
    assert f">{found.mean[0, 0]:.3g}<" in said
    assert "learning rate 1e-3, clip threshold 1: " in said and "3 runs, 0 diverged" in said
    assert heatmap_html(table(first(results, 1))).count('class="none"') == 2 * 5


def test_names_are_escaped_in_the_table(results: Results) -> None:
    assert "<script" not in heatmap_html(replace(table(results), label="<script>", over=("<script>",)))


def test_far_apart_numbers_get_logarithmic_color_norm() -> None:
    assert isinstance(color_norm(np.array([0.01, 1.0, np.nan])), LogNorm)
    assert not isinstance(color_norm(np.array([0.1, 1.0])), LogNorm)
    far = np.array([0.1, 0.2, 0.3, 5000.0])  # one that went astray leaves the others apart
    assert color_norm(far).vmax < 50 and out_of_range(far, color_norm(far)) == (True, True)
    assert out_of_range(far[:3], color_norm(far[:3])) == (False, False)
    for values in ([np.nan], [0.3, 0.3], [0.0, 0.0]):  # nothing, and nothing that differs
        norm = color_norm(np.array(values))
        assert norm.vmin < norm.vmax


def test_an_axis_of_many_values_is_labelled_at_powers_of_ten() -> None:
    at, labels = axis_ticks([*np.geomspace(1e-4, 1e-1, 16).tolist(), None])
    assert labels == ["1e-4", "1e-3", "0.01", "0.1", "off"]
    np.testing.assert_allclose(at, [0, 5, 10, 15, 16])
    assert axis_ticks((1e-3, None)) == ([0, 1], ["1e-3", "off"])
    assert axis_ticks(list("abcdefghijkl"))[1] == list("acegik")


@pytest.mark.slow
def test_every_line_is_a_run_and_every_cross_one_that_diverged(results: Results) -> None:
    lines = [line for axes in seed_curves(results).axes for line in axes.lines]
    assert sum(line.get_marker() == "x" for line in lines) == 4
    assert len(lines) == 18 + 4
    assert len(lines[0].get_xdata()) == 20


@pytest.mark.slow
def test_of_many_settings_some_curves_are_drawn_and_the_title_says_so(make_sweep: Make) -> None:
    many = make_sweep({"learning_rate": tuple(np.geomspace(1e-3, 1e-2, 20).tolist())}, seeds=1).run(bar=False)
    figure = seed_curves(many)
    assert len(figure.axes) == 16 and "16 of 20 settings" in words(figure)


def test_a_strip_has_a_dot_for_each_run_and_a_line_for_the_majority(results: Results) -> None:
    figure = strip(results)
    [axes] = figure.axes
    dots = sum(len(line.get_xdata()) for line in axes.lines if line.get_marker() in ("o", "x"))
    assert dots == 14 and "×3 diverged" in words(figure) and "majority class" in words(figure)
    crosses = sum(len(line.get_xdata()) for line in axes.lines if line.get_marker() == "x")
    assert crosses == sum(run.failed and run.diverged is None for run in results.outcomes)
    assert len(strip(results, by="max_norm").axes[0].get_yticks()) == 2


def test_groups_and_axes_follow_the_grid(results: Results) -> None:
    assert [group.label for group in groups(results.trials, results.grid)][:2] == [
        "learning rate 1e-3, clip threshold 1",
        "learning rate 1e-3, clip threshold off",
    ]
    assert axes_of(results.grid, None, None) == ("learning_rate", "max_norm")
    assert axes_of({"optimizer": ("adam", "sgd"), "gamma": (0.9,)}, None, None) == ("optimizer", "")


def test_what_cannot_be_drawn_is_refused_in_one_line(make_sweep: Make, results: Results) -> None:
    nothing, single = make_sweep().results(), make_sweep({}).run(bar=False)
    for call, wrong in (
        (lambda: heatmap(results, score="loss"), "score is 'loss'; it must be one of validation_loss"),
        (lambda: heatmap(results, x="gamma"), "no 'gamma' in this sweep's grid; it has learning_rate, max_norm"),
        (lambda: heatmap(results, x="max_norm", y="max_norm"), "x and y are both 'max_norm'"),
        (lambda: heatmap(single), "no setting of this sweep has more than one value"),
        (lambda: seed_curves(nothing), "no finished run yet"),
        (lambda: strip(nothing), "no finished run yet"),
        (lambda: strip(results, by="gamma"), "no 'gamma'"),
    ):
        with pytest.raises(ValueError, match=wrong) as caught:
            call()
        assert "\n" not in str(caught.value)
    many = make_sweep({"learning_rate": tuple(np.geomspace(1e-3, 1e-2, 41).tolist())}, seeds=1).run(bar=False)
    with pytest.raises(ValueError, match="41 settings are too many lines"):
        strip(many)


def test_a_strip_is_told_in_words(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    show_strip(results, by="learning_rate")
    words = " ".join(capsys.readouterr().out.split())
    counts = [sum(p.settings.learning_rate == rate for p in results.trials) for rate in results.grid["learning_rate"]]
    assert words.startswith(f"learning rate {format_number(results.grid['learning_rate'][0])}: {counts[0]} runs: ")
    assert words.count("failed") == len(counts)
