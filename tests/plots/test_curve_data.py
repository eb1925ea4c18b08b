"""From a history to columns."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stablelab.plots.curve_data import COLUMNS, Feed, RunningMean


def test_reads_only_what_is_new(make_history) -> None:
    history = make_history([1.0] * 12)
    feed = Feed(history, 100)
    assert (feed.update(), feed.update()) == (12, 0)
    history.append(history[0])
    assert feed.update() == 1
    assert feed.rows.shape == (13, len(COLUMNS))


def test_columns_marks_and_evaluations(make_history) -> None:
    feed = Feed(make_history([2.0, 1.0] * 10), 100)
    feed.update()
    first = dict(zip(COLUMNS, feed.rows[0].tolist(), strict=True))
    assert (first["step"], first["loss"], first["norm_before"], first["norm_after"]) == (1, 2.0, 2.0, 1.0)
    assert feed.clipped == 20
    assert feed.evaluations[:, 0].tolist() == [10, 20]
    assert [mark["text"] for mark in feed.marks] == ["step 5: learning rate 1e-3 → 1e-4"]
    assert feed.last == {"step": 20, "learning_rate": 1e-3, "loss": 1.0, "max_norm": 1.0}


def test_no_clipping_is_not_a_number(make_history) -> None:
    feed = Feed(make_history([1.0] * 3, max_norm=None), 10)
    feed.update()
    assert np.isnan(feed.rows[:, COLUMNS.index("max_norm")]).all()
    assert feed.last is not None and feed.last["max_norm"] is None


def test_a_divergence_is_marked_and_is_valid_json(make_history) -> None:
    feed = Feed(make_history([math.inf], diverged=True), 10)
    feed.update()
    assert feed.marks == [{"step": 1, "kind": "diverged", "text": "step 1: diverged"}]
    assert feed.last is not None and feed.last["loss"] is None


def test_many_more_points_than_there_was_room_for(make_history) -> None:
    losses = [float(i) for i in range(1000)]
    feed = Feed(make_history(losses), 1000)
    feed.update()
    assert feed.rows[:, 1].tolist() == losses


def test_running_mean_of_a_constant_is_the_constant_from_the_start() -> None:
    mean = RunningMean(400)
    assert [mean.add(3.0) for _ in range(5)] == pytest.approx([3.0] * 5)


def test_running_mean_leaves_out_what_is_not_finite() -> None:
    mean = RunningMean(400)
    assert math.isnan(mean.add(math.nan))
    mean.add(2.0)
    assert mean.add(math.inf) == pytest.approx(2.0)
