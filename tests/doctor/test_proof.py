"""Whether a cure did it: pairs of short branches, over orders of the batches; the run itself is not touched."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from support.views import small_run

import stablelab as lab
from stablelab.doctor.proof import PAIRS, Cancelled, prove, why_not_proved
from stablelab.training.background import Driver
from stablelab.training.own_loop import OwnLoop


def alarm(run, rule: str):
    return next(each for each in lab.examine(run).alarms if each.rule == rule)


@pytest.fixture(scope="module")
def sick():
    """Thrown far above its start: SGD at a rate of 30 on a small net."""
    return small_run(60, learning_rate=30.0, optimizer="sgd").start().wait()


def numbers(run) -> list[tuple[float, float]]:
    return [(step.loss, step.norm_before) for step in run.history]


@pytest.mark.slow
def test_the_cure_of_a_rate_far_too_high_is_proved_and_the_run_is_not_touched(sick) -> None:
    found = replace(alarm(sick, "runaway"), changes={"learning_rate": 0.03})
    before = numbers(sick), [p.clone() for p in sick.model.parameters()], list(sick.branches)
    done = []
    proof = prove(sick, found, progress=lambda i, of: done.append((i, of)))
    assert proof.proved and 0 < proof.low < proof.mean < proof.high
    assert len(proof.without) == len(proof.cured) == PAIRS and done[-1] == (2 * PAIRS - 1, 2 * PAIRS)
    assert proof.step <= max(0, found.steps[0] - 6) and proof.steps == 30
    assert str(proof).startswith("the cure helps: 30 steps from step ") and "over 6 orders of the batches" in str(proof)
    assert numbers(sick) == before[0] and sick.branches == before[2]
    assert all(a.equal(b) for a, b in zip(sick.model.parameters(), before[1], strict=True))


@pytest.mark.slow
def test_a_placebo_is_not_proved_and_what_harms_is_said(sick) -> None:
    found = alarm(sick, "runaway")
    placebo = prove(sick, replace(found, changes={"beta2": 0.99}), pairs=2)  # of Adam; SGD has none
    assert (placebo.mean, placebo.low, placebo.high) == (0, 0, 0) and not placebo.proved
    assert str(placebo).startswith("not proved: ")
    healthy = small_run(30, learning_rate=0.05).start().wait()
    harm = prove(healthy, replace(found, changes={"learning_rate": 1e-7}, steps=(1, 30)), pairs=3)
    assert harm.high < 0 and str(harm).startswith("the cure makes it worse: ")


@pytest.mark.slow
def test_a_branch_that_is_not_finite_counts_as_ten_times_the_start(sick) -> None:
    run = small_run(40, learning_rate=1e-3).start().wait()
    found = replace(alarm(sick, "runaway"), steps=(5, 40), changes={"learning_rate": 1e38, "optimizer": "sgd"})
    proof = prove(run, found, pairs=2)
    assert all(map(math.isfinite, proof.cured)) and min(proof.cured) > 5 * max(proof.without)


@pytest.mark.slow
def test_what_the_cure_is_held_against_is_how_it_was_before_it(make_run) -> None:
    run = make_run(90, learning_rate=30.0, optimizer="sgd")
    run.step(60)
    run.wait_paused()
    found = alarm(run, "runaway")
    run.control.change(learning_rate=0.03)
    run.resume()
    run.wait()
    late = replace(found, changes={"learning_rate": 0.03}, steps=(found.steps[0], 90))
    assert prove(run, late, at=60, pairs=2).mean > 0
    assert prove(run, late, pairs=2).mean == 0  # at its end the cure was in force: both branches have it


def test_a_proof_is_ended_by_whoever_waits_for_it(sick) -> None:
    asked = []
    with pytest.raises(Cancelled):
        prove(sick, alarm(sick, "runaway"), cancelled=lambda: bool(asked.append(1)) or len(asked) > 3)
    assert len(asked) == 4


def test_where_it_cannot_be_tried_the_reason_is_said(sick) -> None:
    found = alarm(sick, "runaway")
    assert why_not_proved(sick, found) == ""
    own: Driver = OwnLoop(lambda live: None, (), {"learning_rate": 1.0})
    assert why_not_proved(own, found) == "this loop is your own, and keeps no state to go back to; lab.fine_tune does"
    assert "not a setting" in why_not_proved(sick, replace(found, causes=(), changes={}))
    assert "validations" in why_not_proved(sick, replace(found, changes={"early_stopping": 3}))
    with pytest.raises(ValueError, match="^cannot prove it: it acts on validations"):
        prove(sick, replace(found, changes={"early_stopping": 3}))
