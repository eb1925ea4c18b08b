"""A sweep that is looked at fills in as its runs end, costs it next to nothing, and leaves a picture behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.helpers import until

from stablelab.plots import sweep_tables
from stablelab.plots.sweep_tables import rows_of
from stablelab.stability import Sweep
from stablelab.widgets import sweep_view as sweeping
from stablelab.widgets import view as views
from stablelab.widgets.sweep_view import SweepView, show_sweep

Make = Callable[..., Sweep]


@pytest.fixture
def view(make_sweep: Make) -> Iterator[SweepView]:
    found = show_sweep(make_sweep())
    yield found
    found.close()


def test_before_the_first_run_there_are_empty_cells_and_no_time_left(view: SweepView) -> None:
    assert view.line.value == "<span class='stablelab-progress'><b>0</b> of 18 runs</span>"
    assert view.heat.value.count('class="none"') == 12
    assert "<td>–</td><td>0</td>" in view.table.value


def test_when_the_sweep_returns_everything_is_shown(view: SweepView) -> None:
    view.sweep.run(bar=False)
    assert "<b>18</b> of 18 runs" in view.line.value and "(4 diverged)" in view.line.value
    assert view.bar.value == 1.0 and view.bar.bar_style == "success"
    assert view.heat.value.count('class="none"') == 0 and view.heat.value.count('class="diverged"') == 2
    assert len(view.rows) == 18 and view.message.value == ""
    assert view.table.value.count("<br>") == sweep_tables.LATEST - 1


@pytest.mark.slow
def test_it_fills_in_while_the_sweep_runs(view: SweepView, monkeypatch: Any) -> None:
    monkeypatch.setattr(sweeping, "SECONDS", 0.0)
    go = threading.Event()
    view._refresher._seconds = 0.01
    view.sweep.watchers.append(lambda sweep: go.wait(10) if sweep.done == 7 else None)
    thread = threading.Thread(target=lambda: view.sweep.run(bar=False))
    thread.start()
    until(lambda: len(view.rows) == 7)
    until(lambda: "<b>7</b> of 18 runs" in view.line.value and " left" in view.line.value)
    until(lambda: view.heat.value.count('class="none"') == 2 * 3)
    go.set()
    thread.join(10)
    assert len(view.rows) == 18


def test_a_watched_sweep_of_quick_runs_is_drawn_a_few_times_only(
    view: SweepView, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(view, "_draw", lambda: drawn.append(time.thread_time()))
    view.sweep.run(bar=False)
    assert 1 <= len(drawn) <= 3


def test_a_watcher_takes_no_time_between_the_first_run_and_the_last(view: SweepView) -> None:
    view._left = 1_000_000
    view._refresher.wake()
    began = time.thread_time()
    for _ in range(1000):
        view._run_ended(view.sweep)
    assert (time.thread_time() - began) / 1000 < 1e-4


def test_what_was_done_before_is_there_at_once_and_a_resumed_sweep_goes_on(make_sweep: Make) -> None:
    sweep = make_sweep()
    done = sweep.run(bar=False)
    view = show_sweep(sweep, score="accuracy")
    assert len(view.rows) == 18 and "validation accuracy (share)" in view.heat.value
    assert [row.trial for row in view.rows] == list(done.trials)
    view.close()
    assert sweep.watchers == []


def test_of_one_setting_there_is_a_table_and_no_heatmap(make_sweep: Make) -> None:
    view = show_sweep(make_sweep({}))
    view.sweep.run(bar=False)
    assert view.heat.value == "" and "<td>3</td>" in view.table.value
    picture, words = view._picture_of_all()
    assert picture.startswith(b"\x89PNG") and words.startswith("3 runs: validation accuracy")
    view.close()


def test_runs_that_could_not_be_run_are_told(make_sweep: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = make_sweep()
    monkeypatch.setattr(type(sweep.trainable), "can_batch", lambda *_: False)
    view = show_sweep(sweep)
    sweep.run(bar=False)
    assert "18 could not be run" in view.line.value and view.bar.bar_style == "danger"
    assert "nothing is trained here" in view.message.value
    view.close()


def test_what_fails_while_showing_is_told_and_the_sweep_goes_on(
    view: SweepView, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("a <bad> day")

    monkeypatch.setattr(view, "_draw", broken)
    assert len(view.sweep.run(bar=False)) == 18
    assert view.message.value == "not shown: RuntimeError: a &lt;bad&gt; day"


class Handle:
    """Stands for an output of a cell."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data

    def update(self, data: dict[str, Any], **_: Any) -> None:
        self.data = data


@pytest.mark.slow
def test_a_saved_notebook_has_a_picture_in_place_of_the_view_that_nobody_saw(
    make_sweep: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    import IPython.display

    there: list[Handle] = []
    monkeypatch.setattr(views, "in_notebook", lambda: True)
    monkeypatch.setattr(IPython.display, "display", lambda data, **_: there.append(Handle(data)) or there[-1])
    view = show_sweep(make_sweep())
    live, still = there
    assert "application/vnd.jupyter.widget-view+json" in live.data and "image/png" not in still.data
    view.sweep.run(bar=False)
    assert "image/png" in live.data and "18 runs in 6 of 6 cells" in live.data["text/plain"]
    view.box._view_count = 1  # a page reports
    view._refresher.flush()
    assert "application/vnd.jupyter.widget-view+json" in live.data and "image/png" in still.data
    view.close()


def test_the_runs_that_ended_last_come_first(make_sweep: Make) -> None:
    results = make_sweep({"optimizer": ("adam", "sgd")}).run(bar=False)
    said = sweep_tables.latest(rows_of(results), results.grid, "accuracy").split("<br>")
    assert len(said) == sweep_tables.LATEST
    assert "optimizer sgd · init 2, order 2 · validation accuracy (share) 0.5" in said[0]


@pytest.mark.slow
def test_a_setting_or_score_that_is_not_there_is_refused_in_one_line(make_sweep: Make) -> None:
    with pytest.raises(ValueError, match="score is 'speed'"):
        show_sweep(make_sweep(), score="speed")
    with pytest.raises(ValueError, match="no 'gamma' in this sweep's grid"):
        show_sweep(make_sweep(), x="gamma")
