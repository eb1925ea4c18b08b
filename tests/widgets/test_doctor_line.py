"""The line that says how a run is: a word, findings, cures that change settings, proof, silence."""

from __future__ import annotations

import gc
import re
import threading
import weakref

import ipywidgets
import pytest
from ipywidgets.widgets.widget import _instances
from support.helpers import threads_of_ours, until

from stablelab.doctor.examination import examine_log
from stablelab.doctor.live import doctor_of
from stablelab.doctor.reading import read
from stablelab.training.own_loop import OwnLoop
from stablelab.widgets import Dashboard

SICK = {"learning_rate": 30.0, "optimizer": "sgd"}


def text(widget) -> str:
    return " ".join(re.sub("<[^>]*>", " ", widget.value).split())


def row(board: Dashboard, rule: str):
    return next(each for each in board.doctor.rows if each.rule == rule)


@pytest.fixture
def sick(make_run):
    """A dashboard of a run with a rate far too high that stands still after 80 steps."""
    run = make_run(100_000, **SICK)
    board = Dashboard(run).show()
    run.step(80)
    run.wait_paused()
    until(lambda: "runaway" in [each.rule for each in board.doctor.rows])
    yield board
    run.stop()
    board.close()


@pytest.mark.slow
def test_the_word_stands_first_and_unfolds_into_the_finding(sick) -> None:
    doctor = sick.doctor
    assert re.match(r"✕ ill : the loss was thrown far above its start", text(doctor.line))
    assert "role='status'" in doctor.line.value and "aria-hidden='true'>✕" in doctor.line.value
    said = text(row(sick, "runaway").text)
    for part in ("(certain)", "It began at", "Likely: 1. the learning rate is too high", "Cure: ", "Source: "):
        assert part in said
    assert "(learning rate 30 → 3)" in said
    assert "No sign of:" in text(doctor.rest) and "Could not be checked:" in text(doctor.rest)


@pytest.mark.slow
def test_a_healthy_run_is_called_healthy_so_far_and_at_the_end_healthy(make_run) -> None:
    run = make_run(60, learning_rate=0.03)
    board = Dashboard(run).show()
    until(lambda: text(board.doctor.line).endswith("too early : nothing is said of fewer than 10 steps"))
    run.step(50)
    run.wait_paused()
    until(lambda: "healthy so far : nothing wrong is found" in text(board.doctor.line))
    run.resume()
    board.wait()
    assert "healthy : nothing wrong is found" in text(board.doctor.line)
    assert [each.box.layout.display for each in board.doctor.rows] == ["none"] * 3
    board.close()


@pytest.mark.slow
def test_the_cure_is_a_change_like_any_other(sick) -> None:
    run, cure = sick.run, row(sick, "runaway").cure_button
    assert not cure.disabled
    cure.click()
    assert run.control.settings.learning_rate == 3.0
    assert sick.controls.inputs["learning_rate"].value == 3.0
    until(lambda: cure.disabled and "treated" in text(sick.doctor.line))
    assert cure.tooltip == "its cure is in force" and "(waits for the next step)" in text(row(sick, "runaway").text)
    run.step(1)
    run.wait_paused()
    until(lambda: "in force since step 81" in text(sick.doctor.line))
    until(lambda: [line.text.value for line in sick.status.log.lines] != [])
    assert "step 81: learning rate 30 → 3" in text(sick.status.log.lines[0].text)
    (gesture,) = run.history.gestures()
    assert gesture.changes == (("learning_rate", 30.0, 3.0),)
    cure.click()
    assert run.control.settings.learning_rate == 3.0  # pressed again by mistake, it is no second tenth


@pytest.mark.slow
def test_an_alarm_is_silenced_and_heard_again(sick) -> None:
    doctor = sick.doctor
    assert doctor.speak.layout.display == "none"
    for each in list(doctor_of(sick.run).said):
        row(sick, each.finding.rule).silence_button.click()
    until(lambda: "silenced" in text(doctor.line) and "Silenced: the loss was thrown" in text(doctor.rest))
    assert doctor.speak.layout.display is None
    doctor.speak.click()
    until(lambda: "ill :" in text(doctor.line))
    doctor.silence_all.click()
    until(lambda: "silenced" in text(doctor.line) and doctor.silence_all.layout.display == "none")
    doctor.speak.click()
    until(lambda: "ill :" in text(doctor.line))


@pytest.mark.slow
def test_a_proof_says_how_far_it_is_and_what_came_of_it_and_can_be_stopped(sick) -> None:
    run, prove = sick.run, row(sick, "runaway").prove_button
    assert not prove.disabled
    prove.click()
    until(lambda: prove.description == "stop proving" and "branch " in text(sick.doctor.proof))
    prove.click()
    until(lambda: prove.description == "prove it" and text(sick.doctor.proof) == "" and not sick.doctor.busy)
    row(sick, "runaway").cure_button.click()
    prove.click()
    until(lambda: "95 % interval" in text(sick.doctor.proof), 60)
    assert "with learning rate 3" in text(sick.doctor.proof) and run.branches == []
    until(lambda: not any("proof" in each for each in threads_of_ours()))


def test_a_loop_of_ones_own_can_be_cured_by_its_knobs_and_not_proved() -> None:
    def train(live) -> None:
        for k in range(60):
            live.record(loss=0.7 if k < 10 else 30.0 + k % 3)

    for knobs in ({"learning_rate": 2.0}, {}):
        run = OwnLoop(train, (), knobs)
        board = Dashboard(run).show()
        run.start()
        board.wait()
        found = row(board, "runaway")
        assert found.prove_button.disabled and "lab.fine_tune does" in found.prove_button.tooltip
        assert found.cure_button.disabled is not bool(knobs)
        if not knobs:
            assert "lab.watch(train, learning_rate=...) makes it a knob" in found.cure_button.tooltip
        board.close()


def test_a_cure_that_is_in_the_code_is_said_and_has_no_button() -> None:
    def train(live) -> None:
        for k in range(200):
            live.record(loss=0.7, gradient_norm=1.0 + k)  # as of gradients that are added up

    run = OwnLoop(train, (), {"learning_rate": 0.1})
    board = Dashboard(run).show()
    run.start()
    board.wait()
    found = row(board, "growing_gradient")
    assert "Cure: optimizer.zero_grad() before each backward()" in text(found.text)
    assert found.cure_button.layout.display == "none" and found.prove_button.disabled
    board.close()


@pytest.mark.slow
def test_one_thread_writes_the_line_and_only_when_it_says_something_else(make_run, monkeypatch) -> None:
    run = make_run(100_000, pause=0.002, learning_rate=0.03)
    board = Dashboard(run)
    watched = {each: [] for each in (board.doctor.line, board.doctor.rest, board.doctor.proof)}
    watched |= {each.text: [] for each in board.doctor.rows}

    def note(widget, message, buffers=None) -> None:
        if widget in watched and message.get("method") == "update":
            watched[widget].append(threading.current_thread().name)

    monkeypatch.setattr(ipywidgets.Widget, "_send", note)
    board.show()
    run.start()
    until(lambda: "healthy so far" in text(board.doctor.line))
    doctor = doctor_of(run)
    seen = doctor.version
    until(lambda: doctor.version > seen)
    run.stop()
    board.wait()
    assert {name for names in watched.values() for name in names} == {"stablelab refresher"}
    assert len(watched[board.doctor.line]) <= 4  # too early, healthy so far, healthy; not once per examination
    board.close()


def _closed_while_it_proves(make_run) -> list[weakref.ref]:
    run = make_run(100_000, pause=0.002, **SICK)
    board = Dashboard(run).show()
    run.step(60)
    run.wait_paused()
    until(lambda: "runaway" in [each.rule for each in board.doctor.rows])
    row(board, "runaway").prove_button.click()
    until(lambda: board.doctor.busy)
    run.stop()
    board.close()
    assert not any("proof" in each for each in threads_of_ours())
    return [weakref.ref(each) for each in (board, run, run.model, doctor_of(run))]


@pytest.mark.slow
def test_of_a_dashboard_that_is_closed_while_it_proves_nothing_is_kept(make_run) -> None:
    before = set(_instances)
    kept = _closed_while_it_proves(make_run)
    gc.collect()
    assert set(_instances) == before and [each() for each in kept] == [None] * 4


@pytest.mark.slow
def test_examine_and_the_line_agree(make_run) -> None:
    run = make_run(120, **SICK)
    board = Dashboard(run).show()
    run.start()
    board.wait()
    assert doctor_of(run).report == examine_log(read(run))
    board.close()
