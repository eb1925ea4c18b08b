"""A run examined while it trains: new steps only, a hundredth of its time, the same in the end, and silence."""

from __future__ import annotations

import gc
import math
import time
import weakref
from dataclasses import replace

import numpy as np
import pytest
from support.helpers import until
from support.views import invented_history

import stablelab as lab
from stablelab.doctor.cures import changes_for, why_not_applied
from stablelab.doctor.examination import examine_log
from stablelab.doctor.findings import Cause, Finding
from stablelab.doctor.live import SHARE, Budget, Course, LiveDoctor, doctor_of, is_lost
from stablelab.doctor.reading import read
from stablelab.doctor.step_columns import StepColumns
from stablelab.training.history import History
from stablelab.training.knobs import Knobs
from stablelab.training.records import Evaluation
from stablelab.training.watched import Watched


class Recorded(Watched):
    """A run whose steps a test writes."""

    def __init__(self, losses=(), **knobs) -> None:
        super().__init__("recorded", Knobs.of(knobs), total_steps=None)
        self.begin()
        self.add(losses)

    def add(self, losses) -> None:
        for loss in losses:
            self.add_step(float(loss), learning_rates=(1.0,))

    def set(self, **changes) -> None:
        self.control.change(**changes)
        self.next_turn()


def rising(n: int) -> np.ndarray:
    """A loss that is thrown far above its start at step 11."""
    scatter = np.random.default_rng(0).normal(0, 0.02, n)
    return np.where(np.arange(n) < 10, 0.7, 30.0) * np.exp(scatter)


def falling(n: int, start: float = 0.7) -> np.ndarray:
    return start * np.exp(-np.arange(n) / n) * np.exp(np.random.default_rng(1).normal(0, 0.02, n))


# -- new steps only ----------------------------------------------------------------------------------------------------


def test_columns_that_grow_equal_those_read_at_once_and_read_no_step_twice() -> None:
    steps = invented_history([1.0 / k for k in range(1, 600)]).since(0)
    asked: list[tuple[int, int]] = []

    class Counted(History):
        def since(self, n: int):
            found = super().since(n)
            asked.append((n, len(found)))
            return found

    history, columns = Counted(), StepColumns()
    for i, step in enumerate(steps):
        history.append(step)
        if i % 37 == 0 or i == len(steps) - 1:
            columns.read(history)
    history.add_evaluation(Evaluation(len(steps), loss=0.5, accuracy=0.9))  # a validation that comes after its step
    columns.read(history)
    grown, whole = columns.log("a"), StepColumns(history.since(0)).log("a")
    for name, value in vars(whole).items():
        np.testing.assert_equal(getattr(grown, name), value, err_msg=name)
    assert whole.accuracies[-1] == 0.9 and len(whole) == len(steps)
    read = sum(count for _, count in asked[:-1])
    assert read <= len(steps) + len(asked)  # but for the newest of each time, whose validation may be still to come


def test_the_log_of_the_later_steps_begins_after_them() -> None:
    history = invented_history([1.0] * 20 + [math.nan] + [2.0] * 20 + [math.nan])
    columns = StepColumns(history.since(0))
    assert columns.log("a").not_finite == 21
    later = columns.log("a", after=21)
    assert (later.steps[0], later.not_finite, len(later), later.begins) == (22, 42, 21, False)
    assert later.validation_steps.tolist() == [30, 40]


@pytest.mark.slow
def test_a_run_examined_as_it_trains_comes_to_what_examine_finds(make_run) -> None:
    for settings in ({"learning_rate": 1e-2}, {"learning_rate": 30.0, "optimizer": "sgd"}):
        run = make_run(120, pause=0.0005, **settings)
        doctor = doctor_of(run)
        run.start()
        seen = set()
        while run.state == "running":
            doctor.look(run, run.state)
            seen.add(doctor.version)
            time.sleep(0.01)
        doctor.look(run, run.state)
        assert doctor.report == examine_log(read(run))
        assert doctor.verdict.word == ("healthy" if settings["learning_rate"] < 1 else "ill")


# -- a hundredth of the time -------------------------------------------------------------------------------------------


def test_after_an_examination_of_t_seconds_the_next_one_waits_for_100_t_of_training() -> None:
    now = [0.0]
    budget = Budget(lambda: now[0])

    def passes(seconds: float, running: bool = True) -> None:
        now[0] += seconds
        budget.passes(running)

    budget.passes(True)
    assert not budget.due  # nothing was trained yet
    passes(1.0)
    assert budget.due
    budget.measure(lambda: now.__setitem__(0, now[0] + 0.02))
    passes(1.9)
    assert not budget.due
    passes(0.0, running=False)
    passes(60.0, running=False)  # a pause is no training
    budget.passes(True)
    assert not budget.due
    passes(0.2)
    assert budget.due and budget.spent == pytest.approx(0.02)
    assert budget.spent <= SHARE * budget.trained


@pytest.mark.slow
def test_a_doctor_keeps_to_its_budget_however_often_it_is_asked(make_run) -> None:
    run = make_run(100_000, pause=0.0005)
    doctor = doctor_of(run)
    run.start()
    until(lambda: doctor.look(run, "running") or doctor.budget.trained > 1.2)
    run.control.pause()
    assert doctor.report is not None
    last = doctor.budget.spent
    assert last <= SHARE * doctor.budget.trained + 0.05  # one examination may be ahead of its time
    version = doctor.version
    run.wait_paused()
    doctor.look(run, "paused")
    doctor.look(run, "paused")
    assert doctor.version <= version + 1  # standing still, it is examined once


# -- what came and went ------------------------------------------------------------------------------------------------


def test_an_alarm_that_vanishes_is_said_to_have_gone() -> None:
    run, course = Recorded(), Course()
    spike = np.concatenate([falling(120, 2.0), np.full(25, 1.9), np.full(200, 0.7)])
    spike *= np.exp(np.random.default_rng(2).normal(0, 0.01, len(spike)))
    seen: list[str] = []
    for end in (120, 145, 345):
        run.add(spike[len(run.history) : end])
        course.add(lab.examine(run.history), end)
        seen.append(", ".join(each.finding.rule for each in course.alarms))
    assert seen[0] == "" and "diverged" in seen[1] and seen[2] == ""
    (gone,) = (each for each in course.gone if each.finding.rule == "diverged")
    assert str(gone) == "no longer: the loss has come up again and stayed there (seen after 145 steps, gone after 345)"


def test_the_word_says_how_it_is() -> None:
    run = Recorded(falling(5), learning_rate=1.0)
    doctor = LiveDoctor()
    assert str(doctor.verdict) == "too early: nothing is said of fewer than 10 steps"
    run.add(falling(200))
    doctor.look(run, "paused")
    assert str(doctor.verdict) == "healthy so far: nothing wrong is found"
    run = Recorded(rising(40), learning_rate=1.0)
    doctor.look(run, "paused")  # another history: all is forgotten
    assert str(doctor.verdict) == "ill: the loss was thrown far above its start, and 1 more"


def test_a_rule_that_breaks_takes_nothing_down(monkeypatch) -> None:
    run, doctor = Recorded(falling(50)), LiveDoctor()
    monkeypatch.setattr("stablelab.doctor.live.examine_log", lambda log: 1 / 0)
    doctor.look(run, "paused")
    assert str(doctor.verdict) == "no answer: the examination failed: ZeroDivisionError: division by zero"


def test_a_run_is_lost_that_never_came_away_from_guessing_but_not_one_that_was_thrown_back() -> None:
    def found(losses):
        log = replace(StepColumns(invented_history(list(losses)).since(0)).log("a"), classes=2, over=False)
        return [each.rule for each in examine_log(log).alarms if is_lost(each, log)]

    standing = 0.7 + np.random.default_rng(0).normal(0, 0.01, 120)
    assert found(standing) == ["failed_run"]
    assert found(np.concatenate([falling(100, 0.7) - 0.2, standing])) == []
    assert found([*standing[:20], math.nan, math.nan]) == ["not_finite"]


# -- silence -----------------------------------------------------------------------------------------------------------


def test_an_alarm_is_silenced_for_this_run_and_heard_again() -> None:
    run, other = Recorded(rising(60), learning_rate=1.0), Recorded(rising(60), learning_rate=1.0)
    for each in (run, other):
        doctor_of(each).look(each, "paused")
    doctor = doctor_of(run)
    rules = [each.finding.rule for each in doctor.said]
    assert "runaway" in rules
    for rule in rules:
        doctor.silence(rule)
    assert doctor.verdict.word == "silenced" and not doctor.said
    assert doctor.report is not None and doctor.report.alarms  # they stand, they are not said
    assert doctor_of(run) is doctor and doctor_of(other).verdict.word == "ill"
    doctor.speak()
    assert [each.finding.rule for each in doctor.said] == rules
    doctor.silence()
    run.add(rising(60))
    doctor.look(run, "paused")
    assert doctor.verdict.word == "silenced"
    doctor.speak()
    assert doctor.verdict.word == "ill"


@pytest.mark.slow
def test_what_is_silenced_lives_as_long_as_the_run(make_run) -> None:
    run = make_run(12)
    run.start().wait()
    doctor_of(run).look(run, run.state)
    doctor_of(run).silence("runaway")
    kept = weakref.ref(run), weakref.ref(doctor_of(run))
    del run
    gc.collect()
    assert [each() for each in kept] == [None, None]


# -- cures -------------------------------------------------------------------------------------------------------------


def finding(cause: Cause, cure: str = "do it", **numbers: float) -> Finding:
    return Finding("rule", "ill", "seen", numbers, (1, 9), (cause,), cure, "likely", "here")


@pytest.mark.parametrize(
    ("found", "settings", "changes"),
    [
        (finding(Cause.RATE_TOO_HIGH), {"learning_rate": 3e-2}, {"learning_rate": 3e-3}),
        (finding(Cause.RATE_TOO_LOW), {"learning_rate": 1e-6}, {"learning_rate": 1e-5}),
        (finding(Cause.RATE_TOO_HIGH, cure=""), {"learning_rate": 1.0}, {}),
        (finding(Cause.RATE_TOO_HIGH), {"max_norm": 1.0}, {}),
        (finding(Cause.RATE_TOO_HIGH), {"learning_rate": None}, {}),
        (finding(Cause.NO_ZERO_GRAD), {"learning_rate": 1.0}, {}),
        (finding(Cause.NO_WARMUP), {"bias_correction": False}, {"bias_correction": True}),
        (finding(Cause.NO_WARMUP), {"bias_correction": True}, {}),
        (finding(Cause.CLIPPED_AWAY, norm=2.5151), {"max_norm": 1e-3}, {"max_norm": 2.52}),
        (finding(Cause.CLIPPED_AWAY, norm=2.0), {"max_norm": None}, {"max_norm": 2.0}),
        (finding(Cause.SCHEDULE_OVER), {"schedule": "exponential"}, {"schedule": "constant"}),
        (finding(Cause.WEIGHT_DECAY), {"weight_decay": 1.0}, {"weight_decay": 0.01}),
        (finding(Cause.OVERFITTING), {"early_stopping": 0}, {"early_stopping": 3}),
    ],
)
def test_a_cure_that_is_a_setting_is_computed_from_what_it_is_now(found, settings, changes) -> None:
    assert changes_for(found, settings) == changes


def test_what_cannot_be_applied_says_why() -> None:
    assert why_not_applied(finding(Cause.NO_ZERO_GRAD)) == "this cure is not a setting: it is for you to write"
    assert "lab.watch(train, learning_rate=...) makes it a knob" in why_not_applied(finding(Cause.RATE_TOO_HIGH))
    assert why_not_applied(replace(finding(Cause.RATE_TOO_HIGH), changes={"learning_rate": 1.0})) == ""


def test_examine_gives_the_changes_where_the_settings_are_known() -> None:
    run = Recorded(rising(60), learning_rate=2.0)
    (found,) = (each for each in lab.examine(run).alarms if each.rule == "runaway")
    assert found.changes == {"learning_rate": 0.2} and found.to_dict()["changes"] == {"learning_rate": 0.2}
    (found,) = (each for each in lab.examine(run.history).alarms if each.rule == "runaway")
    assert found.changes == {}


def test_an_alarm_is_treated_once_its_cure_is_in_force_and_raised_anew_where_that_did_not_help() -> None:
    run = Recorded(rising(60), learning_rate=2.0)
    doctor = LiveDoctor()
    doctor.look(run, "paused")
    changes = doctor.treat("runaway", run)
    assert changes == {"learning_rate": 0.2}
    assert str(doctor.verdict).startswith("treated: the loss was thrown far above its start; its cure waits")
    run.set(**changes)
    run.add(falling(40, 30.0))
    doctor.look(run, "paused")
    assert str(doctor.verdict).endswith("cure in force since step 61")
    for alarm in doctor.treated:  # all that a lower rate cures
        assert (alarm.treated, alarm.finding.changes) == (61, {"learning_rate": 0.2})  # not another tenth of it
    assert not doctor.said
    run.add(40 * rising(60))
    doctor.look(run, "paused")
    (alarm,) = (each for each in doctor.said if each.finding.rule == "runaway")
    assert alarm.treated is None and alarm.finding.changes == {"learning_rate": 0.02}


def test_the_slider_moved_by_hand_is_a_treatment_too() -> None:
    run = Recorded(rising(60), learning_rate=2.0)
    doctor = LiveDoctor()
    doctor.look(run, "paused")
    run.set(learning_rate=0.05)
    run.add(falling(40, 30.0))
    doctor.look(run, "paused")
    assert {each.treated for each in doctor.treated} == {61} and not doctor.said
