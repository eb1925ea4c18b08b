"""A loss that has run away is said, without stopping anything; and so is the way back."""

from __future__ import annotations

import math

import pytest

from stablelab.training import Run, Settings
from stablelab.training.runaway import Runaway


def since(make_history, losses: list[float], guessing: float = math.log(3)) -> int | None:
    watch = Runaway(guessing)
    for step in make_history(losses):
        watch.add(step)
    return watch.since


def test_ten_times_the_start_and_above_guessing(make_history) -> None:
    assert since(make_history, [1.0] * 20) is None
    assert since(make_history, [1.0] * 20 + [9.0] * 60) is None
    assert since(make_history, [1.0] * 20 + [11.0] * 60) > 20
    assert since(make_history, [0.01] * 20 + [0.9] * 60) is None, "that is ninety times the start, and still a guess"
    assert since(make_history, [0.01] * 20 + [1.2] * 60) is not None


def test_one_bad_batch_is_no_divergence_and_what_comes_back_is_none_any_more(make_history) -> None:
    assert since(make_history, [1.0] * 20 + [30.0] + [1.0] * 5) is None
    assert since(make_history, [1.0] * 20 + [500.0] + [1.0] * 2) == 21
    assert since(make_history, [1.0] * 20 + [500.0] + [1.0] * 60) is None
    assert since(make_history, [1.0] * 20 + [math.nan, math.inf] + [1.0] * 2) is None


def test_a_start_that_blows_up_at_once_is_seen_too(make_history) -> None:
    assert since(make_history, [1.0, 3e4, 6e9, 6e16, 6e16, 6e16, 6e16]) == 2


@pytest.fixture
def make_run(clouds, make_network):
    return lambda **given: Run(make_network(), clouds, batch_size=20, steps=60, evaluate_every=0, **given)


def test_a_learning_rate_of_1e5_is_not_taken_without_a_word(make_run) -> None:
    run = make_run(settings=Settings(learning_rate=1e5)).start().wait(60)
    assert run.state == "finished", "nothing stopped it"
    assert "it diverges since step" in run.message and "over 10 times its start" in run.message
    assert "a lower learning rate and a reset lead back" in run.message


@pytest.mark.slow
def test_after_a_change_by_hand_the_way_back_is_named_and_leads_back(make_run) -> None:
    run = make_run(settings=Settings(learning_rate=0.02))
    run.step(20)
    run.wait_paused()
    assert "diverges" not in run.message
    run.control.change(learning_rate=1e5)
    run.step(30)
    run.wait_paused()
    assert run.message.startswith("paused, but it diverges since step 2") and "before step 21" in run.message
    assert "“what if I had not touched it?”" in run.message
    run.stop()
    branch = run.branch(50)
    assert "diverges" in branch.start().wait(60).message, "the past of a branch counts"
    assert "diverges" not in run.untouched().start().wait(60).message
