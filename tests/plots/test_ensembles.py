"""The pictures of an ensemble: every number that is drawn, in the picture and in its words."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from stablelab.plots import ensembles as ensemble_figures
from stablelab.plots import show_ensembles
from stablelab.plots.display import to_png
from stablelab.stability import EnsembleComparison, average, compare_ensembles, spread_by_size, vote

DRAWN = np.random.default_rng(0)
TARGETS = DRAWN.integers(3, size=50)
LOGITS = 1.5 * np.eye(3)[TARGETS] + DRAWN.normal(size=(4, 50, 3))
SIZES = spread_by_size(LOGITS, TARGETS, draws=5)


@pytest.fixture(scope="module")
def comparison() -> EnsembleComparison:
    return compare_ensembles(LOGITS, {"average": average(LOGITS), "vote": vote(LOGITS)}, TARGETS)


def test_members_are_dots_and_combinations_are_marks_with_names(comparison: EnsembleComparison) -> None:
    figure = ensemble_figures.ensembles_figure(comparison)
    (axes,) = figure.axes
    dots, mark, line = axes.lines
    assert np.allclose(np.transpose(dots.get_data()), comparison.members[:, [0, 2]])
    assert np.allclose(np.ravel(mark.get_data()), comparison.combined[0, [0, 2]])
    assert line.get_xdata()[0] == comparison.combined[1, 0]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["member (4)", "average", "vote (no probabilities)"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("accuracy", "expected calibration error")


def test_accuracy_by_size_has_a_band_where_a_spread_is_known(comparison: EnsembleComparison) -> None:
    _, axes = ensemble_figures.ensembles_figure(comparison, SIZES).axes
    assert np.allclose(axes.lines[0].get_ydata(), SIZES["accuracy"])
    corners = axes.collections[0].get_paths()[0].vertices
    assert corners[:, 0].max() == 2 and SIZES["std"].notna().sum() == 2
    assert corners[:, 1].max() == pytest.approx((SIZES["accuracy"] + SIZES["std"]).max())
    assert axes.get_xlabel() == "members in the ensemble"


@pytest.mark.slow
def test_words_say_the_numbers_and_the_picture_is_transparent_and_small(comparison: EnsembleComparison, shown) -> None:
    show_ensembles(comparison, SIZES)
    (data,) = shown
    words = data["text/plain"]
    assert f"4 members: accuracy {comparison.members[:, 0].mean():.3f}" in words
    assert (
        f"average: accuracy {comparison.combined[0, 0]:.3f}, calibration error {comparison.combined[0, 2]:.3f}" in words
    )
    assert f"vote: accuracy {comparison.combined[1, 0]:.3f}." in words
    row = SIZES.iloc[1]
    assert f"2: {row['accuracy']:.3f} ± {row['std']:.3f}" in words and words.endswith(f"4: {SIZES['accuracy'][3]:.3f}.")
    png = to_png(ensemble_figures.ensembles_figure(comparison, SIZES))
    assert np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))[0, 0, 3] == 0
    assert len(png) < 60_000


def test_more_combinations_than_looks_and_none_at_all_are_drawn() -> None:
    mean = average(LOGITS)
    many = compare_ensembles(LOGITS, {f"number {i}": mean for i in range(9)}, TARGETS)
    assert len(ensemble_figures.ensembles_figure(many).axes[0].lines) == 10
    none = compare_ensembles(LOGITS, {}, TARGETS)
    assert ensemble_figures.ensembles_words(none).startswith("4 members: accuracy")
    assert len(ensemble_figures.ensembles_figure(none).axes[0].lines) == 1
