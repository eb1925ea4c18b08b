"""A run without an end: it goes on by epochs until it is stopped, and can do all that others can."""

from __future__ import annotations

import itertools
import math

import pytest
from support.helpers import same_weights, timeless, until

from stablelab import training
from stablelab.training import Run, Settings


@pytest.fixture
def make_run(clouds, make_network):
    def make(**given) -> Run:
        arguments = {"settings": Settings(learning_rate=0.02), "epochs": math.inf, **given}
        return Run(make_network(), clouds, batch_size=20, seed=5, **arguments)

    return make


def trained(run: Run, steps: int) -> Run:
    run.step(steps)
    return run.wait_paused()


@pytest.mark.slow
def test_it_goes_on_by_epochs_until_it_is_stopped(make_run, make_network, clouds) -> None:
    run = make_run()
    assert run.total_steps is None and run.message == "ready: without an end, until it is stopped"
    run.start()
    until(lambda: len(run.history) > 45)
    run.stop()
    done = len(run.history)
    assert run.state == "stopped" and run.message == f"stopped at step {done}"
    assert run.history[done - 1].epoch == done / 10
    judged = [step.step for step in run.history if step.evaluation]
    assert judged[:40] == list(range(1, 41)), "as often as in a run of one epoch, which has ten batches"
    ended = Run(make_network(), clouds, batch_size=20, seed=5, steps=40, evaluate_every=1, settings=run.settings)
    assert timeless(ended.start().wait(60).history) == timeless(run.history)[:40]


@pytest.mark.slow
def test_checkpoints_thin_out_as_it_goes_on(make_run) -> None:
    run = trained(make_run(evaluate_every=0), 1500)
    kept = [each.step for each in run.checkpoints]
    assert len(kept) <= 64 and kept[0] == 0 and kept[-1] > 1400
    assert max(b - a for a, b in itertools.pairwise(kept)) < 300
    run.stop()


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_a_schedule_that_needs_the_end_is_refused_in_one_line(make_run, schedule) -> None:
    ends = Settings(schedule=schedule)
    assert make_run(epochs=None, steps=30, settings=ends).total_steps == 30
    with pytest.raises(ValueError, match=f"'{schedule}', which ends with the run, but this run has no end"):
        make_run(settings=ends)
    run = trained(make_run(), 5)
    with pytest.raises(ValueError, match="this run has no end"):
        run.control.change(schedule=schedule)
    with pytest.raises(ValueError, match="this run has no end"):
        run.branch(3, schedule=schedule)
    assert run.branches == [] and run.control.settings.schedule == "constant"
    run.control.change(schedule="exponential", warmup_steps=3)
    assert len(trained(run, 5).history) == 10
    run.stop()


def test_a_length_that_cannot_be(make_run) -> None:
    with pytest.raises(ValueError, match="epochs or steps, not both"):
        make_run(steps=5)
    for epochs in (-math.inf, math.nan, 0):
        with pytest.raises(ValueError, match="it must be a finite number above 0"):
            make_run(epochs=epochs)


@pytest.mark.slow
def test_branches_replays_and_saves(make_run, make_network, clouds, tmp_path, capsys) -> None:
    run = trained(make_run(), 12)
    run.control.change(learning_rate=0.1)
    trained(run, 13).stop()
    branch = trained(run.branch(12), 13)
    assert branch.total_steps is None and timeless(branch.history)[:12] == timeless(run.history)[:12]
    assert timeless(run.untouched().history) == timeless(run.history)[:12]
    branch.stop()

    log = training.Log.from_dict(run.log().to_dict())
    assert str(log).splitlines() == [
        "clouds: seed 5, 25 steps, AdamW · torch fused",
        "step 13: learning rate 0.02 → 0.1",
    ]
    again = trained(training.replay(log, make_network(), clouds), 25)
    assert timeless(again.history) == timeless(run.history)
    again.stop()

    folder = run.save(tmp_path / "run")
    loaded = training.load(folder, make_network(1), clouds)
    assert loaded.total_steps is None and timeless(loaded.history) == timeless(run.history)
    reopened = trained(training.reopen(folder, make_network(1), clouds), 7)
    assert "reopened at step 25 (checkpoint of" in capsys.readouterr().out
    assert len(reopened.history) == 32
    reopened.stop()
    whole = make_run()
    trained(whole, 12).control.change(learning_rate=0.1)
    trained(whole, 20).stop()
    assert timeless(reopened.history) == timeless(whole.history) and same_weights(reopened.model, whole.model)


def test_it_can_stop_early_and_end_that_way(make_run) -> None:
    run = make_run(settings=Settings(learning_rate=3.0, optimizer="sgd", early_stopping=2)).start().wait(60)
    assert run.state == "finished" and run.history[-1].stopped_early and "best weights" in run.message


def test_a_folder_says_where_it_stands(make_run, tmp_path) -> None:
    run = trained(make_run(folder=tmp_path), 5)
    until(lambda: any(tmp_path.glob("checkpoint-5/run.json")))
    with pytest.raises(ValueError, match=r"a run that has not ended \(step 5\): reopen it"):
        make_run(folder=tmp_path)
    run.stop()
