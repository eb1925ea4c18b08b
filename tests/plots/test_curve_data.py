"""From a history to columns, and to fewer rows that look the same."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from stablelab.plots.curve_data import (
    COLUMNS,
    EVALUATION_COLUMNS,
    INDEX,
    PANELS,
    CurveData,
    RunningMean,
    chart_layout,
    decimate,
)


def test_reads_only_what_is_new(make_history) -> None:
    history = make_history([1.0] * 12)
    data = CurveData(history, 100)
    assert (data.update(), data.update()) == (12, 0)
    history.append(history[0])
    assert data.update() == 1
    assert data.rows.shape == (13, len(COLUMNS))


def test_columns_marks_and_evaluations(make_history) -> None:
    data = CurveData(make_history([2.0, 1.0] * 10), 100)
    data.update()
    first = dict(zip(INDEX, data.rows[0].tolist(), strict=True))
    assert (first["step"], first["loss"], first["norm_before"], first["norm_after"]) == (1, 2.0, 2.0, 1.0)
    assert data.clipped == 20
    assert data.evaluations[:, 0].tolist() == [10, 20]
    assert [mark["text"] for mark in data.marks] == ["step 5: learning rate 1e-3 → 1e-4"]
    assert data.last == {"step": 20, "learning_rate": 1e-3, "loss": 1.0, "max_norm": 1.0}


def test_no_clipping_is_not_a_number(make_history) -> None:
    data = CurveData(make_history([1.0] * 3, max_norm=None), 10)
    data.update()
    assert np.isnan(data.rows[:, INDEX["max_norm"]]).all()
    assert data.last is not None and data.last["max_norm"] is None


def test_a_divergence_is_marked_and_is_valid_json(make_history) -> None:
    data = CurveData(make_history([math.inf], diverged=True), 10)
    data.update()
    assert data.marks == [{"step": 1, "kind": "diverged", "text": "step 1: diverged"}]
    assert data.last is not None and data.last["loss"] is None


def test_many_more_points_than_there_was_room_for(make_history) -> None:
    losses = [float(i) for i in range(1000)]
    data = CurveData(make_history(losses), 1000)
    data.update()
    assert data.rows[:, 1].tolist() == losses


def test_running_mean_of_a_constant_is_the_constant_from_the_start() -> None:
    mean = RunningMean(400)
    assert [mean.add(3.0) for _ in range(5)] == pytest.approx([3.0] * 5)


def test_running_mean_leaves_out_what_is_not_finite() -> None:
    mean = RunningMean(400)
    assert math.isnan(mean.add(math.nan))
    mean.add(2.0)
    assert mean.add(math.inf) == pytest.approx(2.0)


def test_the_chart_is_told_the_columns_and_what_stands_in_which_panel(make_history) -> None:
    data = CurveData(make_history([1.0] * 10), 10)
    data.update()
    layout = json.loads(json.dumps(chart_layout(data)))
    assert data.rows.shape[1] == len(layout["columns"]) == len(COLUMNS)
    assert data.evaluations.shape[1] == len(layout["evaluation_columns"]) == len(EVALUATION_COLUMNS)
    names = [column["name"] for column in layout["columns"]]
    assert names == [*INDEX] and len(set(names)) == len(names)
    judged = [column["name"] for column in layout["evaluation_columns"]]
    for panel in layout["panels"]:
        assert {*panel["columns"], panel["earlier"]} <= {*names} and {*panel["evaluations"]} <= {*judged}
    assert [panel.name for panel in PANELS if panel.log] == ["norm"], "its threshold is lost at the bottom else"
    assert layout["columns"][1] == {"name": "loss", "label": "training loss", "unit": "nats"}


def _rows(count: int) -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
    rows[:, 0] = np.arange(1, count + 1)
    return rows


def test_few_points_all_stay() -> None:
    assert decimate(_rows(100), limit=100).tolist() == list(range(100))


def test_no_points() -> None:
    assert len(decimate(_rows(0))) == 0


def test_single_spikes_and_the_ends_survive() -> None:
    rows = _rows(50_000)
    rows[31_234, 1], rows[777, 3] = 90.0, -90.0
    kept = decimate(rows, limit=4000)
    assert len(kept) <= 4000
    assert {0, 31_234, 777, 49_999} <= set(kept.tolist())
    assert (np.diff(kept) > 0).all()
    for column in (1, 3):
        assert rows[kept, column].max() == rows[:, column].max()
        assert rows[kept, column].min() == rows[:, column].min()


def test_every_stretch_keeps_its_bumps() -> None:
    rows = _rows(10_000)
    kept = decimate(rows, limit=402, columns=(1,))
    assert len(kept) > 350
    assert np.diff(kept).max() <= 2 * (10_000 // 200)


def test_values_that_are_not_finite_do_not_hide_the_others() -> None:
    rows = _rows(10_000)
    rows[::2, 1] = np.nan
    rows[5001, 1] = np.inf
    rows[7001, 1] = 50.0
    assert 7001 in decimate(rows, limit=400)


def test_too_small_a_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 6"):
        decimate(_rows(10), limit=5)


def titles(data: CurveData) -> list[str]:
    return [panel.title for panel in data.panels]


def test_a_further_scalar_has_a_column_and_a_panel_of_its_own_from_the_step_it_is_seen(make_history) -> None:
    history = make_history([1.0] * 3)
    data = CurveData(history, 100)
    data.update()
    before = data.layout
    for step in make_history([1.0] * 3, scalars={"sharpness": 7.0, "loss": 2.0}):
        history.append(step)
    data.update()
    assert data.layout > before, "the page has to be told"
    assert titles(data) == ["loss (nats)", "gradient norm ‖g‖", "learning rate", "sharpness", "loss"]
    assert [column.label for column in data.columns][-2:] == ["sharpness", "loss"]
    assert np.isnan(data.rows[:3, -2:]).all() and data.rows[3:, -2:].tolist() == [[7.0, 2.0]] * 3
    assert len({column.name for column in data.columns}) == len(data.columns)
    layout = data.layout
    history.append(history[5])
    data.update()
    assert data.layout == layout, "nothing new"


def test_what_was_never_recorded_has_no_panel(make_history) -> None:
    data = CurveData(make_history([1.0] * 3, norm_before=math.nan, norm_after=math.nan, learning_rates=()), 10)
    assert len(titles(data)) == 3, "as long as nothing is known nothing moves"
    data.update()
    assert titles(data) == ["loss (nats)"]
    assert data.last == {"step": 3, "learning_rate": None, "loss": 1.0, "max_norm": 1.0}


def test_a_divergence_at_the_first_step_takes_no_panel_away(make_history) -> None:
    data = CurveData(make_history([math.nan], diverged=True, norm_before=math.nan), 10)
    data.update()
    assert len(titles(data)) == 3


def test_a_validation_may_join_the_newest_step(make_history) -> None:
    history = make_history([1.0] * 10)
    judged, data = history[9], CurveData(history, 100)
    history._steps[9] = dataclasses.replace(judged, evaluation=None)
    data.update()
    history._steps[9] = judged
    assert (data.update(), len(data.evaluations), data.update(), len(data.evaluations)) == (0, 1, 0, 1)


def test_bumps_of_further_scalars_survive(make_history) -> None:
    history = make_history([1.0] * 9000, scalars={"sharpness": 1.0})
    history._steps[4321] = dataclasses.replace(history[4321], scalars={"sharpness": 50.0})
    data = CurveData(history, 9000)
    data.update()
    kept = data.thinned_out()
    assert 4321 in kept and len(kept) < 9000
