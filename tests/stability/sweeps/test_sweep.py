"""Sweeps: the same numbers wherever a run is run, and nothing lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import stablelab as lab
from stablelab.stability import Results

MakeSweep = Callable[..., lab.Sweep]
GRID = {"learning_rate": [1e-3, 3e-2], "max_norm": [None, 0.1]}


def test_a_run_of_a_sweep_is_what_fine_tune_does(make_sweep: MakeSweep, tiny_task: lab.data.Task) -> None:
    results = make_sweep({"learning_rate": [3e-2]}, max_norm=0.5).run(bar=False)
    model = results_model = make_sweep().trainable.model(tiny_task, seed=1)
    run = lab.fine_tune(model, tiny_task, learning_rate=3e-2, max_norm=0.5, steps=6, batch_size=10, seed=1)
    run.start().wait()
    outcome = results.outcomes[1]
    np.testing.assert_allclose(outcome.losses, run.history.frame()["loss"], rtol=1e-5)
    np.testing.assert_allclose(outcome.norms, run.history.frame()["norm_before"], rtol=1e-4)
    assert outcome.accuracy == pytest.approx(run.history.evaluations()[-1].accuracy)
    assert outcome.validation_loss == pytest.approx(run.history.evaluations()[-1].loss, rel=1e-4)
    assert lab.predict(results_model, tiny_task.validation)[0].numpy() == pytest.approx(outcome.logits, abs=1e-4)


def test_each_run_is_a_row(make_sweep: MakeSweep) -> None:
    frame = make_sweep(GRID, sharpness=20).run(bar=False).frame()
    assert list(frame.columns[:5]) == ["learning_rate", "max_norm", "init", "order", "subset"]
    assert len(frame) == 8 and (frame["steps"] == 6).all() and frame["sharpness"].notna().all()
    assert (frame.loc[frame["max_norm"].isna(), "clipped_share"] == 0).all()
    assert (frame.loc[frame["max_norm"].notna(), "clipped_share"] > 0).all()
    assert (frame["validation_loss"] > 0).all()


def test_seeds_of_weights_and_of_data_act_apart(make_sweep: MakeSweep) -> None:
    results = make_sweep(inits=[0, 1], orders=[0, 1]).run(bar=False)
    starts = [outcome.start_loss for outcome in results.outcomes]
    assert starts[0] == starts[1] != starts[2] == starts[3]
    assert len({outcome.validation_loss for outcome in results.outcomes}) == 4


def test_a_diverged_run_ends_and_is_counted(make_sweep: MakeSweep) -> None:
    results = make_sweep({"learning_rate": [1e-3, 1e38]}, optimizer="sgd", seeds=[0]).run(bar=False)
    fine, diverged = results.outcomes
    assert not fine.failed or fine.accuracy <= fine.majority
    assert diverged.diverged is not None and diverged.failed and diverged.validation_loss == float("inf")
    assert np.isnan(diverged.accuracy) and np.isnan(diverged.logits).all() and (diverged.predictions == -1).all()
    assert len(diverged.losses) == diverged.diverged


def test_a_file_keeps_what_is_done(make_sweep: MakeSweep, tmp_path: Path) -> None:
    file = tmp_path / "sweep.sqlite"
    first = make_sweep({"learning_rate": [1e-3]}, file=file)
    before = first.run(bar=False)
    more = make_sweep({"learning_rate": [1e-3, 1e-2]}, file=file)
    assert (more.done, more.total) == (2, 4)
    after = more.run(bar=False)
    assert after.outcomes[0].seconds == before.outcomes[0].seconds  # it was not run again
    again = Results.read(file)
    assert len(again) == 4 and again.grid == {"learning_rate": (1e-3, 1e-2)}
    assert again.description["task"] == "digits" and again.description["numerics"] == 1
    np.testing.assert_array_equal(again.logits, after.logits)


def test_other_data_and_other_lengths_are_other_runs(make_sweep: MakeSweep) -> None:
    usual = make_sweep().keys[0]
    other = lab.sweep(
        make_sweep().trainable.model, lab.digits(train=60, validation=40, test=40, size=8, seed=1), steps=6
    )
    assert len({usual, make_sweep(steps=7).keys[0], make_sweep(batch_size=5).keys[0], other.keys[0]}) == 4


def test_results_can_be_picked(make_sweep: MakeSweep) -> None:
    results = make_sweep(GRID).run(bar=False)
    picked = results.where(learning_rate=3e-2, init=1)
    assert len(picked) == 2 and picked.grid == {"learning_rate": (3e-2,), "max_norm": (None, 0.1)}
    assert picked.logits.shape == (2, 40, 10) and picked.targets.shape == (40,)
    with pytest.raises(ValueError, match=r"no run has learning_rate = 5; there are 0.001, 0.03"):
        results.where(learning_rate=5)
    with pytest.raises(ValueError, match="there is no setting 'lr'"):
        results.where(lr=5)


def test_a_run_that_cannot_be_run_is_told_and_tried_again(
    make_sweep: MakeSweep, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep()
    prepare = type(sweep.trainable).prepare

    def broken(trainable: object, trial: lab.stability.Trial) -> object:
        if trial.init == 1:
            raise RuntimeError("no memory left\nfor this")
        return prepare(trainable, trial)

    monkeypatch.setattr(type(sweep.trainable), "prepare", broken)
    assert len(sweep.run(bar=False)) == 1
    assert capsys.readouterr().err == "1 of 2 runs could not be run: RuntimeError: no memory left\n"
    assert (sweep.done, sweep.failed) == (1, 1)
    monkeypatch.setattr(type(sweep.trainable), "prepare", prepare)
    assert len(sweep.run(bar=False)) == 2 and sweep.failed == 0


def test_watchers_are_called_and_a_bar_shows_the_time_left(
    make_sweep: MakeSweep, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep, seen = make_sweep(), []
    sweep.watchers.append(lambda each: seen.append(each.done))
    sweep.run()
    assert seen == [1, 2]
    assert "2/2" in capsys.readouterr().out


@pytest.mark.parametrize("n_jobs", [0, -2, 1.5, True])
def test_an_impossible_number_of_processes(make_sweep: MakeSweep, n_jobs: object) -> None:
    with pytest.raises(ValueError, match=r"n_jobs is .*; it must be a whole number of processes"):
        make_sweep().run(n_jobs)  # type: ignore[arg-type]


def test_files_that_are_no_sweep(make_sweep: MakeSweep, tmp_path: Path) -> None:
    text, other, newer = tmp_path / "notes.txt", tmp_path / "other.sqlite", tmp_path / "newer.sqlite"
    text.write_text("this is no database, but a text of some length, as people write them")
    with sqlite3.connect(other) as base:
        base.execute("CREATE TABLE things (a)")
    make_sweep(file=newer)
    with sqlite3.connect(newer) as base:
        base.execute("PRAGMA user_version=99")
    for file, message in [
        (text, "notes.txt cannot be used as the file of a sweep: file is not a database"),
        (other, "other.sqlite is a database, but not of a sweep"),
        (newer, "newer.sqlite is a sweep of version 99, and this stablelab reads version 1"),
    ]:
        for use in (lambda file=file: make_sweep(file=file), lambda file=file: Results.read(file)):
            with pytest.raises(ValueError) as caught:
                use()
            assert message in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="there is no file for the sweep"):
        Results.read(tmp_path / "none.sqlite")
    with pytest.raises(FileNotFoundError, match="there is no folder for the sweep"):
        make_sweep(file=tmp_path / "nowhere" / "a.sqlite")
    assert text.read_text().startswith("this is no database")


def test_a_sweep_is_run_once_at_a_time(make_sweep: MakeSweep) -> None:
    sweep = make_sweep()
    refused: list[str] = []

    def again(each: lab.Sweep) -> None:
        with pytest.raises(ValueError) as caught:
            each.run(bar=False)
        refused.append(str(caught.value))

    sweep.watchers.append(again)
    assert len(sweep.run(bar=False)) == 2
    assert refused == ["this sweep is being run already, by another cell or thread; wait until it ends"] * 2


def test_what_goes_wrong_with_the_file_ends_the_sweep(make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = make_sweep()

    def full(key: str, most_tries: int) -> bool:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(sweep.ledger, "claim", full)
    with pytest.raises(sqlite3.OperationalError, match="disk is full"):
        sweep.run(bar=False)
