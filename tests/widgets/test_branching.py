"""Going back in the dashboard: branches are shown beside their parent, and nothing is lost on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.helpers import until

from stablelab.plots import earlier_runs
from stablelab.widgets import Dashboard


def timeless(history) -> list:
    return [
        replace(s, seconds=0, examples_per_second=0, evaluation=s.evaluation and replace(s.evaluation, seconds=0))
        for s in history
    ]


def pick(board: Dashboard, step: int | None) -> None:
    """As the page does when the learner clicks on the curve."""
    data = {"method": "custom", "content": {"type": "pick", "step": step}}
    board.chart._handle_msg({"content": {"data": data}, "buffers": []})


@pytest.fixture
def shown(make_run):
    """A dashboard of a run that is over; 30 steps."""
    board = Dashboard(make_run(30).start().wait()).show()
    yield board
    board.close()


@pytest.fixture
def slow(make_run):
    """A dashboard of a run that trains."""
    run = make_run(100_000, pause=0.002)
    board = Dashboard(run).show()
    run.start()
    until(lambda: len(run.history) > 8)
    yield board
    for each in board.branch_buttons.runs:
        each.stop()
    board.close()


@pytest.mark.slow
def test_a_step_is_picked_the_slider_moved_and_the_button_pressed(shown) -> None:
    parent, back = shown.run, shown.branch_buttons
    assert back.branch_button.disabled and back.branch_button.description == "click on the curve to branch"
    pick(shown, 12)
    until(lambda: not back.branch_button.disabled)
    assert back.branch_button.description == "branch from step 12"
    shown.controls.inputs["learning_rate"].field.value = "1e-3"
    back.branch_button.click()
    until(lambda: shown.run is not parent)
    branch = shown.wait().run
    assert (branch.parent, branch.born, branch.state) == (parent, 12, "finished")
    assert timeless(branch.history)[:12] == timeless(parent.history)[:12]
    assert [step.learning_rates[0] for step in branch.history][12:] == [1e-3] * 18
    assert [str(each) for each in branch.history.interventions()] == ["step 13: learning rate 0.01 → 1e-3"]
    assert parent.control.settings.learning_rate == 1e-2, "the change was meant for the branch"
    assert back.branch_button.disabled, "nothing is picked any more"


@pytest.mark.slow
def test_the_parent_is_drawn_over_its_whole_length(shown) -> None:
    parent = shown.run
    branch = shown.branch(12, learning_rate=1e-3)
    shown.wait()
    earlier = shown._family.beside[0]
    assert earlier.parent and earlier.label.startswith("parent: ring · AdamW") and earlier.steps == 30
    assert earlier.rows[:12, :3].tolist() == shown._data.rows[:12, :3].tolist()
    assert (shown._data.branched_at, branch.parent) == (12, parent)
    assert "run 2 · from 12 · branch of ring" in shown.status.line.value


def test_a_running_parent_waits_and_can_be_gone_back_to(slow) -> None:
    parent = slow.run
    branch = slow.branch(5)
    until(lambda: parent.state == "paused" and branch.state == "running")
    assert parent.watchers == [] and len(branch.watchers) == 1
    until(lambda: not slow.branch_buttons.run_choice.layout.display)
    assert [name for name, _ in slow.branch_buttons.run_choice.options] == ["run 1 · ring", "run 2 · from 5"]
    assert slow.branch_buttons.run_choice.value == 1
    slow.branch_buttons.run_choice.value = 0
    until(lambda: "paused" in slow.status.line.value)
    assert slow.run is parent and branch.state == "running", "looking at another run stops none"
    assert not slow.buttons.buttons["resume"].disabled
    slow.buttons.buttons["resume"].click()
    until(lambda: parent.state == "running")


@pytest.mark.slow
def test_what_if_i_had_not_touched_it(make_run) -> None:
    quiet, run = make_run(40).start().wait(), make_run(40)
    board = Dashboard(run).show()
    run.step(10)
    until(lambda: len(run.history) == 10 and run.state == "paused")
    until(lambda: "step <b>10</b>" in board.status.pace.value)
    assert board.branch_buttons.untouched_button.disabled, "nothing was touched yet"
    board.controls.inputs["learning_rate"].field.value = "0.1"
    board.buttons.buttons["resume"].click()
    until(lambda: not board.branch_buttons.untouched_button.disabled)
    run.wait()
    board.branch_buttons.untouched_button.click()
    until(lambda: board.run is not run)
    board.wait()
    assert board.run.born == 10 and board.run.history.interventions() == ()
    assert timeless(board.run.history) == timeless(quiet.history) != timeless(run.history)
    until(lambda: board.controls.inputs["learning_rate"].field.value == "0.01")
    assert board.branch_buttons.run_choice.options[1][0] == "run 2 · untouched at 11"
    board.close()


@pytest.mark.slow
def test_waiting_follows_the_run_that_is_shown(slow) -> None:
    parent = slow.run
    slow.branch(5)
    slow.run.stop()
    slow.wait(20)
    assert parent.state == "paused"
    slow.branch_buttons.run_choice.value = 0
    with pytest.raises(TimeoutError, match="the run is still paused after 0.3 s, at step"):
        slow.wait(0.3)


@pytest.mark.slow
def test_pictures_instead_of_a_live_chart_turn_too(make_run) -> None:
    board = Dashboard(make_run(30).start().wait(), chart="picture").show()
    board.wait()
    before = board.picture.image.value
    board.branch(29)
    board.wait()
    assert before[:4] == b"\x89PNG" and board.picture.image.value != before
    board.close()


def test_what_cannot_be_is_one_line_and_changes_nothing(slow) -> None:
    parent = slow.run
    with pytest.raises(ValueError, match="branch at one of them"):
        slow.branch(10_000_000)
    with pytest.raises(ValueError, match="nothing was changed by hand"):
        slow.untouched()
    with pytest.raises(ValueError, match="learning_rate is -1"):
        slow.branch(3, learning_rate=-1)
    slow.branch_buttons.untouched_button.click()
    until(lambda: "what if: nothing was changed by hand" in slow.status.line.value)
    done = len(parent.history)
    until(lambda: len(parent.history) > done)
    assert slow.run is parent and parent.branches == [] and parent.state == "running"


@pytest.mark.parametrize("step", [30, 31, -1])
@pytest.mark.slow
def test_only_a_step_that_can_be_gone_on_from_can_be_branched_from(shown, step) -> None:
    pick(shown, 3)
    until(lambda: not shown.branch_buttons.branch_button.disabled)
    pick(shown, step)
    until(lambda: shown.branch_buttons.branch_button.disabled)


def test_nonsense_from_the_page_is_no_pick(shown) -> None:
    for nonsense in ("4", 4.0, True, [4]):
        pick(shown, nonsense)
        assert shown.chart.picked is None


@pytest.mark.slow
def test_a_family_is_listed_in_the_order_it_was_born(shown) -> None:
    first = shown.branch(10, learning_rate=1e-3, max_norm=0.5, optimizer="sgd")
    shown.wait()
    shown.branch(20)
    shown.wait()
    first.branch(15, weight_decay=0.1)
    first.branch(15, weight_decay=0.1)
    board = Dashboard(first).show()
    board._refresher.flush()
    names = [name for name, _ in board.branch_buttons.run_choice.options]
    assert names == [
        "run 1 · ring",
        "run 2 · from 10 · learning rate 0.01 → 1e-3 · optimizer adamw → sgd · 1 more",
        "run 3 · from 20",
        "run 4 · from 15 · weight decay 0 → 0.1",
        "run 5 · from 15 · weight decay 0 → 0.1",
    ]
    assert [earlier.parent for earlier in board._family.beside] == [True, False]
    board.close()


@pytest.mark.slow
def test_a_relative_that_trains_unseen_is_drawn_as_far_as_it_has_come(slow, monkeypatch) -> None:
    monkeypatch.setattr("stablelab.widgets.family.SECONDS", 0.1)
    parent = slow.run
    branch = slow.branch(5)
    until(lambda: len(branch.history) > 10)
    slow.branch_buttons.run_choice.value = 0
    until(lambda: any(earlier.of(branch) for earlier in slow._family.beside))
    before = slow._family.beside[0].steps
    until(lambda: slow._family.beside[0].steps > before)
    assert parent.state == "paused"


@pytest.mark.slow
def test_reset_of_the_parent_leaves_the_branch_its_curve_but_no_parent(shown) -> None:
    parent = shown.run
    branch = shown.branch(12)
    shown.wait()
    assert earlier_runs.parent_of(branch) is not None
    parent.reset()
    assert earlier_runs.parent_of(branch) is None
    assert [earlier.parent for earlier in earlier_runs.beside(branch)] == [False]


def test_closing_a_dashboard_of_a_branch_leaves_no_trace(slow) -> None:
    parent, branch = slow.run, slow.branch(5)
    slow.close()
    assert parent.watchers == parent.starters == branch.watchers == branch.starters == []
    assert branch.alive and slow.branch_buttons.run_choice.comm is None
