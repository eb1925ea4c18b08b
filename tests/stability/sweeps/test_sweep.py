"""Sweeps: the same numbers wherever a run is run, and nothing lost."""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from support.disk import read_only_folder

import stablelab as lab
from stablelab.stability import Results
from stablelab.stability.sweeps.ledger import SEALED, _checksum

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
        (newer, "newer.sqlite is a sweep of version 99, and this stablelab reads version 2"),
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


@pytest.mark.parametrize("train", ["all", "head"])  # one by one, and many in one computation
def test_a_full_disk_ends_the_sweep_in_one_line(make_sweep: MakeSweep, tmp_path: Path, train: str) -> None:
    file = tmp_path / "sweep.sqlite"
    sweep = make_sweep(GRID, file=file, train=train)
    sweep.watchers.append(
        lambda _: sweep.ledger._base.execute(
            f"PRAGMA max_page_count={sweep.ledger._base.execute('PRAGMA page_count').fetchone()[0]}"
        )
    )
    with pytest.raises(ValueError) as caught:
        sweep.run(bar=False)
    assert str(caught.value) == (
        f"{file} cannot be used as the file of a sweep: database or disk is full; "
        "what was done before is kept: run the sweep again once that is mended"
    )
    done = sweep.done
    assert 0 < done < 8
    again = make_sweep(GRID, file=file, train=train)
    assert again.done == done and len(again.run(bar=False)) == 8


def test_a_file_that_is_read_only_is_said_in_one_line(make_sweep: MakeSweep) -> None:
    with read_only_folder(lambda folder: make_sweep(file=folder / "sweep.sqlite").run(bar=False)) as folder:
        with pytest.raises(ValueError, match="cannot be used as the file of a sweep: .*readonly database; what was"):
            make_sweep(file=folder / "sweep.sqlite")
        with pytest.raises(ValueError, match="cannot be used as the file of a sweep: unable to open database file"):
            make_sweep(file=folder / "other.sqlite")
        assert len(Results.read(folder / "sweep.sqlite")) == 2


@contextmanager
def editing(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection of its own to a file that no process is at work on any more, and that is one file then."""
    gc.collect()
    with closing(sqlite3.connect(file, isolation_level=None)) as base:
        base.execute("PRAGMA journal_mode=DELETE")
        yield base


@pytest.mark.slow
def test_a_damaged_row_is_named_and_run_anew_and_hides_no_other(
    make_sweep: MakeSweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "sweep.sqlite"
    before = make_sweep(GRID, file=file).run(bar=False)
    with editing(file) as base:
        base.execute("UPDATE runs SET numbers=replace(numbers, '0.', '1.') WHERE rowid=2")
        base.execute("UPDATE runs SET arrays=substr(arrays, 1, 300) WHERE rowid=4")
        base.execute("UPDATE runs SET point=replace(point, '\"init\": 1', '\"init\": 9') WHERE rowid=6")
        base.execute("UPDATE runs SET state='dome', owner='?', sign='?', tries='?' WHERE rowid=8")
    whole = Results.read(file)
    assert capsys.readouterr().err == (
        f"4 of 8 runs in {file} are damaged and left out; make their sweep again to have them run anew\n"
    )
    assert [outcome.seconds for outcome in whole.outcomes] == [each.seconds for each in before.outcomes[::2]]
    again = make_sweep(GRID, file=file)
    assert capsys.readouterr().err == f"of the 8 runs in {file} these are damaged and run anew: 2, 4, 6, 8\n"
    assert again.done == 4
    after = again.run(bar=False)
    np.testing.assert_array_equal(after.logits, before.logits)
    assert [a.seconds == b.seconds for a, b in zip(after.outcomes, before.outcomes, strict=True)] == [True, False] * 4
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_a_damaged_page_takes_only_its_own_rows_along(
    make_sweep: MakeSweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "sweep.sqlite"
    before = make_sweep(GRID, file=file).run(bar=False)
    with editing(file) as base:
        size = base.execute("PRAGMA page_size").fetchone()[0]
        pages = base.execute("SELECT pageno FROM dbstat WHERE name='runs' AND pagetype='leaf'").fetchall()
    content = bytearray(file.read_bytes())
    start = (pages[len(pages) // 2][0] - 1) * size
    content[start : start + 100] = b"\xff" * 100
    file.write_bytes(content)
    count = len(Results.read(file))
    assert 0 < count < 8
    assert f"{file} is damaged; {count} runs can still be read\n" in capsys.readouterr().err
    again = make_sweep(GRID, file=file)
    assert again.done == count
    said = capsys.readouterr().err
    assert f"the damaged file is {file}.damaged-1 from now on\n" in said
    assert (tmp_path / "sweep.sqlite.damaged-1").read_bytes() == content
    after = again.run(bar=False)
    np.testing.assert_array_equal(after.logits, before.logits)
    assert sum(a.seconds == b.seconds for a, b in zip(after.outcomes, before.outcomes, strict=True)) == count


@pytest.mark.slow
def test_a_file_of_before_there_were_checksums_is_brought_along(make_sweep: MakeSweep, tmp_path: Path) -> None:
    file = tmp_path / "sweep.sqlite"
    before = make_sweep(GRID, file=file).run(bar=False)
    with editing(file) as base:
        for table in ("descriptions", "runs"):
            base.execute(f"ALTER TABLE {table} DROP COLUMN checksum")
        base.execute("UPDATE runs SET arrays=substr(arrays, 1, 300) WHERE rowid=4")
        base.execute("PRAGMA user_version=1")
    assert len(Results.read(file)) == 7
    again = make_sweep(GRID, file=file)
    assert again.done == 7
    after = again.run(bar=False)
    np.testing.assert_array_equal(after.logits, before.logits)
    assert again.ledger._base.execute("PRAGMA user_version").fetchone() == (2,)
    assert again.ledger._base.execute("SELECT count(checksum) FROM runs").fetchone() == (8,)


@pytest.mark.slow
def test_a_run_that_was_sealed_anew_must_still_be_a_run(make_sweep: MakeSweep, tmp_path: Path) -> None:
    """Someone who means harm can make the checksum fit; what comes out has the right types, or is left out."""
    file = tmp_path / "sweep.sqlite"
    make_sweep(GRID, file=file).run(bar=False)
    odd = ["null", "[]", "[" * 100_000, '{"seconds": 1}']
    with editing(file) as base:
        for number, text in enumerate(odd, 1):
            base.execute("UPDATE runs SET numbers=? WHERE rowid=?", (text, number))
        rows = base.execute(f"SELECT rowid, {SEALED} FROM runs").fetchall()
        for rowid, *row in rows:
            base.execute("UPDATE runs SET checksum=? WHERE rowid=?", (_checksum(*row), rowid))
    assert len(Results.read(file)) == 8 - len(odd)
