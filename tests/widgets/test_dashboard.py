"""The dashboard: one writer, honest words, the same numbers with it or without it."""

from __future__ import annotations

import itertools
import math
import sys
import threading
import time
from types import SimpleNamespace

import ipywidgets
import pytest
from support.helpers import until

from stablelab.plots import display
from stablelab.training import Run
from stablelab.widgets import Dashboard


def _numbers(run) -> list[tuple[float, ...]]:
    return [(s.step, s.loss, s.norm_before, s.norm_after, *s.learning_rates) for s in run.history]


@pytest.mark.slow
def test_shown_or_not_the_numbers_are_the_same(make_run) -> None:
    alone, shown = make_run(40, max_norm=0.5), make_run(40, max_norm=0.5)
    alone.start().wait()
    board = Dashboard(shown).show()
    shown.start()
    board.wait()
    assert _numbers(alone) == _numbers(shown)
    for a, b in zip(alone.model.parameters(), shown.model.parameters(), strict=True):
        assert a.equal(b)


def test_one_thread_writes_what_is_shown(make_run, monkeypatch) -> None:
    run = make_run(100_000, pause=0.002)
    board = Dashboard(run)
    status, back = board.status, board.branch_buttons
    watched = [
        board.chart,
        status.line,
        status.log.box,
        status.log.rest,
        status.bar,
        status.pace,
        *board.buttons.buttons.values(),
    ]
    watched += [back.branch_button, back.untouched_button, back.run_choice]
    watched += [each.mark for each in board.controls.inputs.values()]
    writers: set[str] = set()

    def note(widget, message, buffers=None) -> None:
        if widget in watched:
            writers.add(threading.current_thread().name)

    monkeypatch.setattr(ipywidgets.Widget, "_send", note)
    board.show()
    board.chart._handle_msg({"content": {"data": {"method": "custom", "content": {"type": "resync"}}}, "buffers": []})
    run.start()
    until(lambda: len(run.history) > 5)
    board.controls.inputs["learning_rate"].field.value = "nonsense"
    board.controls.inputs["learning_rate"].slider.value = 1e-3
    board.buttons.buttons["pause"].click()
    until(lambda: run.state == "paused")
    board.buttons.buttons["stop"].click()
    until(lambda: run.state == "stopped")
    board.wait()
    assert writers == {"stablelab refresher"}


@pytest.mark.slow
def test_the_refresher_ends_with_the_run_and_comes_back_for_a_reset(make_run) -> None:
    run = make_run(20)
    board = Dashboard(run).show()
    assert board._refresher.alive
    run.start()
    board.wait()
    until(lambda: not board._refresher.alive)
    board.buttons.buttons["reset"].click()
    until(lambda: run.state == "ready" and not board.buttons.buttons["start"].disabled)
    assert "step <b>0</b> of 20" in board.status.pace.value
    board.buttons.buttons["start"].click()
    until(lambda: run.state == "finished")
    board.wait()
    assert [earlier.steps for earlier in board._family.beside] == [20]


@pytest.mark.slow
def test_buttons_steer_the_run_and_show_what_can_be_pressed(make_run) -> None:
    run = make_run(100_000, pause=0.002)
    board = Dashboard(run).show()
    buttons = board.buttons.buttons

    def enabled() -> set[str]:
        return {name for name, button in buttons.items() if not button.disabled}

    until(lambda: enabled() == {"start", "step"})
    buttons["step"].click()
    until(lambda: enabled() == {"step", "resume", "stop", "reset"} and len(run.history) == 1)
    buttons["resume"].click()
    until(lambda: enabled() == {"pause", "stop", "reset"})
    buttons["pause"].click()
    until(lambda: enabled() == {"step", "resume", "stop", "reset"})
    done = len(run.history)
    buttons["step"].click()
    until(lambda: len(run.history) == done + 1 and run.state == "paused")
    buttons["stop"].click()
    until(lambda: enabled() == {"reset"})
    assert not run.alive
    board.close()


@pytest.mark.slow
def test_a_change_reaches_a_later_step_and_the_log(make_run) -> None:
    run = make_run(100_000, pause=0.002)
    board = Dashboard(run).show()
    run.start()
    until(lambda: len(run.history) > 3)
    board.controls.inputs["learning_rate"].field.value = "1e-4"
    board.controls.inputs["optimizer"].dropdown.value = "sgd"
    until(lambda: len(board.status.log.lines) == 2)
    said = [line.text.value for line in board.status.log.lines]
    assert "optimizer adamw → sgd (fresh optimizer state)" in said[0] and "learning rate 0.01 → 1e-4" in said[1]
    assert "fresh optimizer state" in board.status.line.value
    until(lambda: "SGD · torch fused" in board.status.line.value)
    assert run.history[len(run.history) - 1].learning_rates[0] == 1e-4
    run.stop()
    board.close()


def test_a_schedule_does_not_move_the_slider(make_run) -> None:
    run = make_run(20, schedule="cosine")
    board = Dashboard(run).show()
    run.start()
    board.wait()
    assert run.history[18].learning_rates[0] < 1e-3
    assert board.controls.inputs["learning_rate"].slider.value == pytest.approx(1e-2)
    assert run.history.interventions() == ()


def test_a_divergence_is_told_and_can_be_resumed(make_run) -> None:
    run = make_run(60, learning_rate=1e-2, optimizer="sgd")
    board = Dashboard(run).show()
    with_trouble, run.loss = run.loss, lambda logits, targets: with_trouble(logits, targets) * float("nan")
    run.start()
    board.wait()
    until(lambda: "diverged" in board.status.line.value)
    assert not board.buttons.buttons["resume"].disabled
    run.stop()
    board.close()


def test_an_error_of_the_run_is_one_harmless_line(make_run) -> None:
    run = make_run(10)

    def broken(logits, targets):
        raise RuntimeError("two\nlines <script>alert(1)</script>")

    run.loss = broken
    board = Dashboard(run).show()
    run.start()
    with pytest.raises(RuntimeError):
        board.wait()
    until(lambda: "two lines &lt;script&gt;" in board.status.line.value)
    assert "<script>" not in board.status.line.value


def test_a_button_that_cannot_says_why(make_run) -> None:
    run = make_run(5)
    board = Dashboard(run).show()
    run.start()
    board.wait()
    board.buttons.press("resume")
    until(lambda: "resume: cannot resume: the run is over" in board.status.line.value)


@pytest.mark.slow
def test_a_display_that_breaks_does_not_break_the_run(make_run, monkeypatch) -> None:
    run = make_run(30)
    board = Dashboard(run)
    monkeypatch.setattr(board.chart, "push", lambda *_: 1 / 0)
    board.show()
    run.start()
    board.wait()
    assert run.state == "finished"
    assert "the display failed: ZeroDivisionError" in board.status.line.value


@pytest.mark.slow
def test_pictures_instead_of_a_live_chart(make_run, monkeypatch) -> None:
    drawn = []
    draw = display.to_png
    monkeypatch.setattr(
        sys.modules["stablelab.widgets.dashboard"], "to_png", lambda figure: drawn.append(1) or draw(figure)
    )
    run = make_run(400, pause=0.005)
    board = Dashboard(run, chart="picture").show()
    run.start()
    board.wait()
    assert board.picture.image.value[:4] == b"\x89PNG"
    assert len(drawn) <= 2 + run.history[len(run.history) - 1].step * 0.02, "at most one a second"


def test_an_unknown_kind_of_chart(make_run) -> None:
    with pytest.raises(ValueError, match='"live" or "picture"'):
        Dashboard(make_run(5), chart="film")


def test_a_dashboard_of_a_run_that_is_over(make_run) -> None:
    run = make_run(12)
    run.start().wait()
    board = Dashboard(run).show()
    until(lambda: "<b>12</b> of 12" in board.status.pace.value)
    assert "finished" in board.status.line.value
    until(lambda: not board._refresher.alive)


def test_closing_leaves_the_run_alone(make_run) -> None:
    run = make_run(100_000, pause=0.002)
    board = Dashboard(run).show()
    run.start()
    board.close()
    assert not board._refresher.alive and run.alive and run.watchers == []
    assert board.controls.inputs["learning_rate"].slider.comm is None
    run.stop()


@pytest.mark.slow
def test_the_picture_is_placed_at_the_end_and_taken_away_by_a_reset(make_run, monkeypatch) -> None:
    run = make_run(10)
    board = Dashboard(run)
    placed: list[tuple[bool, bool]] = []  # is there a picture, is there a page

    class Outputs:
        shown = True

        def show(self) -> None:
            pass

        def settle(self, picture, alt, on_a_page) -> None:
            placed.append((picture is not None, on_a_page))

    monkeypatch.setattr(board, "_outputs", Outputs())
    board.show()
    run.start()
    board.wait()
    assert placed == [(True, False)], "when wait() returns the picture is there"
    board.buttons.press("reset")
    until(lambda: placed == [(True, False), (True, True), (False, True)])
    board.close()


@pytest.mark.slow
def test_one_refresh_that_fails_is_said_once_and_the_next_one_goes_on(make_run, monkeypatch) -> None:
    run = make_run(100_000, pause=0.002)
    board = Dashboard(run)
    push, failed = board.chart.push, []

    def fail_once(*arguments) -> None:
        if not failed:
            failed.append(1)
            raise RuntimeError("a moment's trouble")
        push(*arguments)

    monkeypatch.setattr(board.chart, "push", fail_once)
    board.show()
    run.start()
    until(lambda: "step <b>" in board.status.pace.value and len(board._data) > 20)
    said = board.status.line.value
    assert said.count("the display failed: RuntimeError: a moment&#x27;s trouble") == 1
    board.controls.inputs["learning_rate"].field.value = "1e-4"
    until(lambda: "the display failed" not in board.status.line.value)
    run.stop()
    board.close()


@pytest.mark.slow
def test_a_run_without_an_end_trains_until_it_is_stopped(make_run) -> None:
    given = make_run(5)
    run = Run(given.model, given.task, epochs=math.inf)
    board = Dashboard(run).show()
    board.buttons.press("start")
    until(lambda: len(run.history) > 40 and "step <b>" in board.status.pace.value)
    assert " of " not in board.status.pace.value and "left" not in board.status.pace.value
    board.controls.inputs["schedule"].dropdown.value = "cosine"
    until(lambda: "this run has no end; it stays as it was" in board.status.line.value)
    assert board.controls.inputs["schedule"].dropdown.value == "constant"
    board.branch(10)
    until(lambda: len(board.run.history) > 20)
    board.buttons.press("stop")
    until(lambda: board.run.state == "stopped")
    run.stop()
    board.close()


@pytest.mark.slow
def test_the_last_refresh_of_all_is_tried_again_where_it_fails(make_run, monkeypatch) -> None:
    run = make_run(5).start().wait()
    board = Dashboard(run)
    look, left = board._family.look, [1, 1]
    monkeypatch.setattr(board._family, "look", lambda: left.pop() / 0 if left else look())
    board.show()
    until(lambda: "<b>5</b> of 5" in board.status.pace.value)
    board.close()


@pytest.mark.slow
def test_reset_after_stop_is_always_shown_even_while_the_last_picture_is_drawn(make_run, monkeypatch) -> None:
    dashboards = sys.modules["stablelab.widgets.dashboard"]
    pauses = itertools.cycle([0.0, 0.02, 0.05, 0.1])
    monkeypatch.setattr(dashboards, "draw", lambda *_: time.sleep(0.6) or b"")
    run = make_run(100_000, pause=0.001)
    board = Dashboard(run)
    monkeypatch.setattr(board, "_outputs", SimpleNamespace(shown=True, show=lambda: None, settle=lambda *_: None))
    board.show()
    buttons = board.buttons.buttons
    waits: list[float] = []
    for i in range(25):
        buttons["start"].click()
        until(lambda: run.state == "running" and len(run.history) > 2)
        buttons["stop"].click()
        until(lambda: "stablelab-stopped" in board.status.line.value)
        time.sleep(next(pauses))
        pressed = time.monotonic()
        buttons["reset"].click()
        until(lambda: "stablelab-ready" in board.status.line.value and "<b>0</b> of" in board.status.pace.value)
        waits.append(time.monotonic() - pressed)
        assert board._data.history is run.history and not buttons["start"].disabled, i
    assert sorted(waits)[12] < 0.4, "at once, and not when the picture is done"
    board.close()


def test_a_run_without_an_end_says_how_far_it_is_and_not_how_long_it_takes(make_run) -> None:
    run = make_run(100_000, pause=0.002)
    run.total_steps = None
    board = Dashboard(run)
    board.status.show(run, board._data, "running", "")
    assert "of" not in board.status.pace.value and board.status.bar.value == 0
    assert "memory 0.0 of" in board.status.memory.value
    board.close()


@pytest.mark.slow
def test_a_loss_that_runs_away_is_said_and_what_if_leads_back(make_run) -> None:
    run = make_run(60, optimizer="sgd")
    run.step(20)
    run.wait_paused()
    board = Dashboard(run).show()
    board.controls.preset.dropdown.label = "known to diverge"
    run.step(20)
    until(lambda: "it diverges since step 2" in board.status.line.value)
    until(lambda: "paused" in board.status.line.value)
    assert "“what if I had not touched it?”" in board.status.line.value
    board.branch_buttons.untouched_button.click()
    until(lambda: board.run is not run)
    board.wait()
    assert "diverges" not in board.run.message and board.run.state == "finished"
    run.stop()
    board.close()


def test_what_is_moved_while_another_run_is_taken_up_is_shown(make_run) -> None:
    board = Dashboard(make_run(100_000, pause=0.01, weight_decay=0.1))
    rate, decay = (board.controls.inputs[name] for name in ("learning_rate", "weight_decay"))
    rate.field.observe(lambda _: decay.slider.set_state({"value": 0.001}), "value")
    board.branch_buttons.branch(0, learning_rate=1e-3)
    until(lambda: board._shown_run is board.run)
    board.run.stop()
    board.close()
    assert board.run.control.settings.weight_decay == pytest.approx(0.001)
    assert (decay.value, decay.field.value) == (pytest.approx(0.001), "1e-3")
