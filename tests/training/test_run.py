from __future__ import annotations

import asyncio
import math
import time

import pytest
import torch
from support.helpers import timeless, until

from stablelab.formulas import cross_entropy
from stablelab.training import Run, Settings


@pytest.fixture
def make_run(clouds, make_network):
    runs = []

    def make(**arguments) -> Run:
        arguments.setdefault("settings", Settings(learning_rate=0.02))
        arguments.setdefault("steps", 40)
        runs.append(Run(make_network(), clouds, batch_size=20, **arguments))
        return runs[-1]

    yield make
    for run in runs:
        run.stop()


def test_a_run_trains_to_the_end_in_a_daemon_thread(make_run):
    run = make_run()
    assert run.state == "ready"
    run.start().wait(60)
    assert run.state == "finished" and not run.alive and len(run.history) == 40
    assert run.history.evaluations()[-1].accuracy > 0.8
    assert run.message == "finished at step 40 of 40"


@pytest.mark.parametrize("waiting", [lambda run: run.wait(60), lambda run: asyncio.run(run.finished(60))])
def test_who_waits_for_a_run_waits_for_its_thread(make_run, monkeypatch, waiting):
    """A slow machine may take its time between the last record and the end of the thread."""
    ended = Run._end

    def slowly(run, state):
        ended(run, state)
        time.sleep(0.2)

    monkeypatch.setattr(Run, "_end", slowly)
    run = make_run(steps=3).start()
    assert not waiting(run).alive and run.state == "finished"


def test_pause_step_resume_stop(make_run):
    run = make_run(steps=100_000)
    run.start()
    until(lambda: len(run.history) > 3)
    run.pause()
    until(lambda: run.state == "paused")
    n = len(run.history)
    run.step(2)
    until(lambda: len(run.history) == n + 2 and run.state == "paused")
    run.resume()
    until(lambda: len(run.history) > n + 5)
    run.stop()
    assert run.state == "stopped" and not run.alive
    with pytest.raises(ValueError, match="the run is over"):
        run.resume()


def test_a_step_can_be_waited_for(make_run):
    run = make_run(steps=20)
    for done in (3, 4, 11):
        run.step(done - len(run.history))
        assert run.wait_paused().state == "paused" and len(run.history) == done
    run.step(50)
    assert asyncio.run(run.paused()).state == "finished" and len(run.history) == 20


@pytest.mark.slow
def test_pausing_changes_no_number(make_run):
    straight = make_run()
    straight.start().wait(60)
    halting = make_run()
    halting.step(7)
    until(lambda: halting.state == "paused")
    halting.step()
    until(lambda: len(halting.history) == 8 and halting.state == "paused")
    halting.resume()
    halting.wait(60)
    assert timeless(straight.history) == timeless(halting.history)


@pytest.mark.slow
def test_two_runs_at_once_disturb_each_other_in_no_number(make_run):
    alone = make_run(seed=3)
    alone.start().wait(60)
    left, right = make_run(seed=3), make_run(seed=4)
    left.start()
    right.start()
    left.wait(60)
    right.wait(60)
    assert timeless(left.history) == timeless(alone.history)


@pytest.mark.slow
def test_reset_puts_the_first_weights_back_and_keeps_the_latest_settings(make_run):
    run = make_run()
    first = {k: v.clone() for k, v in run.model.state_dict().items()}
    run.start().wait(60)
    record = timeless(run.history)
    run.reset()
    assert run.state == "ready" and len(run.history) == 0 and run.version == 1
    assert all(torch.equal(v, first[k]) for k, v in run.model.state_dict().items())
    run.start().wait(60)
    assert timeless(run.history) == record


def test_a_diverged_run_pauses_says_where_and_can_go_on(make_run):
    run = make_run(settings=Settings(learning_rate=1e38, optimizer="sgd"), steps=60)
    run.start().wait(60)
    assert run.state == "diverged"
    bad = run.history[-1]
    assert bad.diverged and run.message == f"diverged at step {bad.step}; weights of step {bad.kept} kept"
    assert all(torch.isfinite(p).all() for p in run.model.parameters())
    run.control.change(learning_rate=0.05)
    run.resume()
    run.wait(60)
    assert run.state == "finished" and run.history.evaluations()[-1].accuracy > 0.8


def test_an_error_in_the_thread_is_kept_and_raised_by_wait(make_run):
    run = make_run(loss=lambda logits, targets: torch.nn.functional.cross_entropy(logits[:, :1], targets))
    run.start()
    with pytest.raises((IndexError, RuntimeError)):
        run.wait(60)
    assert run.state == "failed" and run.message.startswith("failed: IndexError")


@pytest.mark.slow
def test_wait_in_a_notebook_leaves_the_loop_free(make_run):
    run = make_run(steps=200)
    run.start()
    ticks = []

    async def cell() -> None:
        waiting = asyncio.create_task(run.finished(60))
        while not waiting.done():
            ticks.append(1)
            await asyncio.sleep(0.001)
        await waiting

    asyncio.run(cell())
    assert run.state == "finished" and len(ticks) > 3


def test_waiting_for_a_run_that_never_began_is_refused(make_run):
    with pytest.raises(ValueError, match="has not started"):
        make_run().wait()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"steps": 1.5}, "steps is 1.5"),
        ({"steps": None, "epochs": -1}, "epochs is -1"),
        ({"steps": 5, "epochs": 1}, "not both"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": "a"}, "seed is 'a'"),
        ({"evaluate_every": -2}, "evaluate_every is -2"),
    ],
)
def test_arguments_that_cannot_be(make_run, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_run(**arguments)


def test_what_shows_a_run_is_told_each_time_it_begins(make_run):
    run, told = make_run(steps=5), []
    run.starters.append(lambda: told.append(run.version))
    run.start().wait(60)
    run.reset()
    run.step()
    assert told == [0, 1]


def test_two_runs_of_one_model_at_once_are_refused(clouds, make_network):
    model = make_network()
    one, other = (Run(model, clouds, epochs=math.inf, batch_size=20, evaluate_every=0) for _ in range(2))
    one.step(3)
    for begins in (other.start, other.step):
        with pytest.raises(ValueError, match="Sequential is being trained by another run .*: stop it first") as refused:
            begins()
        assert "\n" not in str(refused.value) and other.state == "ready"
    one.wait_paused()
    with pytest.raises(ValueError, match="stop it first"):  # it could go on at any moment, with the other's weights
        other.start()
    branch = one.branch(1)  # has a model of its own
    branch.step()
    one.stop()
    other.step(2)
    other.wait_paused()
    for run in (other, branch):
        run.stop()
    assert len(other.history) == 2


def test_a_run_that_diverged_is_in_no_other_runs_way(clouds, make_network):
    model, broken = make_network(), [True]

    def loss(logits, targets):
        return cross_entropy(logits, targets) * (math.nan if broken[0] else 1.0)

    one, other = (Run(model, clouds, steps=9, batch_size=20, evaluate_every=0, loss=loss) for _ in range(2))
    one.start().wait(60)
    broken[0] = False
    other.step()
    other.wait_paused()
    with pytest.raises(ValueError, match="stop it first"):
        one.resume()
    other.stop()
    one.resume()
    one.wait(60)
    assert one.state == "finished"
