"""One gesture is one line, with a button that undoes it as a whole, in every kind of run."""

from __future__ import annotations

import pytest
from support.helpers import until

from stablelab.training import Gesture
from stablelab.widgets import Dashboard
from stablelab.widgets.change_log import LINES, ChangeLog


def gesture(number: int, new: float = 0.1) -> Gesture:
    return Gesture(number, number, number, (("learning_rate", 0.01, new),))


@pytest.fixture
def log():
    pressed = []
    log = ChangeLog(pressed.append)
    log.pressed = pressed
    return log


def said(log: ChangeLog) -> list[str]:
    return [line.text.value.partition("step ")[2].partition(":")[0] for line in log.lines]


def test_the_newest_can_be_undone_and_those_before_are_said(log) -> None:
    assert "no change made by hand yet" in log.rest.value and log.box.children == (log.rest,)
    changes = [gesture(i) for i in range(1, 3)]
    log.show(changes)
    assert said(log) == ["2", "1"] and log.rest.value == ""
    assert all(line.button.tooltip for line in log.lines)
    changes += [gesture(i) for i in range(3, LINES + 4)]
    log.show(changes)
    assert said(log) == [str(i) for i in range(LINES + 3, 3, -1)]
    assert [f"step {i}:" in log.rest.value for i in (3, 2, 1)] == [True] * 3
    log.show(())
    assert log.box.children == (log.rest,), "another run"


def test_a_press_undoes_what_stands_beside_it_whatever_came_since(log) -> None:
    log.show([gesture(1), gesture(2)])
    button = log.lines[1].button
    for i in range(2, LINES):
        log.show([gesture(j) for j in range(1, i + 2)])
        button.click()
    assert {each.number for each in log.pressed} == {1}
    log.show([gesture(1, new=0.5)])
    button.click()
    assert log.pressed[-1] == gesture(1, new=0.5), "a gesture that goes on is undone as it stands now"


@pytest.mark.slow
def test_a_drag_in_a_running_dashboard_is_one_line_one_mark_and_undone_as_a_whole(make_run) -> None:
    run = make_run(100_000, pause=0.002)
    board = Dashboard(run).show()
    run.start()
    until(lambda: len(run.history))  # a change before the first step is what the run begins with
    slider = board.controls.inputs["learning_rate"].slider
    for i in range(12):
        done = len(run.history)
        slider.value = 10 ** (-2.05 - i / 20)
        until(lambda done=done: len(run.history) > done + 1)
    until(lambda: len(board.status.log.lines) == 1 and "0.01 → 2.51e-3" in board.status.log.lines[0].text.value)
    assert len(run.history.interventions()) == 12
    assert [mark["kind"] for mark in board._data.marks] == ["learning_rate"]
    board.status.log.lines[0].button.click()
    until(lambda: run.history[len(run.history) - 1].learning_rates[0] == 1e-2)
    until(lambda: len(board.status.log.lines) == 2)
    assert board.controls.inputs["learning_rate"].field.value == "0.01"
    assert "2.51e-3 → 0.01" in board.status.log.lines[0].text.value
    run.stop()
    board.close()


@pytest.mark.slow
def test_undo_of_a_run_that_is_over_is_for_what_comes_next(make_run) -> None:
    run = make_run(30)
    run.step(5)
    run.wait_paused()
    run.control.change(learning_rate=0.5, max_norm=1.0)
    run.resume()
    run.wait()
    board = Dashboard(run).show()
    until(lambda: len(board.status.log.lines) == 1)
    board.status.log.lines[0].button.click()
    until(lambda: "the run is over: branch or reset to use this" in board.status.line.value)
    assert (run.control.settings.learning_rate, run.control.settings.max_norm) == (1e-2, None)
    board.branch(30 - 10)
    assert board.wait().run.history[-1].learning_rates[0] == 1e-2
    board.close()
