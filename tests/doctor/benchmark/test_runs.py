"""The benchmark goes on where it was stopped, and is told what to do on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.tiny_recipes import picture_recipe, text_recipe

from stablelab.doctor.benchmark import __main__ as command
from stablelab.doctor.benchmark import runs
from stablelab.doctor.benchmark.record import RunRecord, load_records
from stablelab.doctor.benchmark.runs import Job, gather, keep, missing, plan, run
from stablelab.studies.keeping import provenance_of

KINDS = ["clean", "labels_shifted"]


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, recipe in (("digits", picture_recipe), ("movies", text_recipe)):
        monkeypatch.setitem(runs.TASKS, name, recipe)
    monkeypatch.setitem(runs.PARTS, "development", ("digits", "movies"))


@pytest.mark.slow
def test_the_plan_holds_each_kind_on_each_task_that_can_have_it() -> None:
    jobs = plan("development")
    kinds = {task: {job.kind for job in jobs if job.task == task} for task in ("digits", "movies")}
    assert "mask_ignored" in kinds["movies"] - kinds["digits"]
    assert "small_batch_norm" in kinds["digits"] - kinds["movies"]
    assert {job.seed for job in jobs} == set(range(8)) and len(set(jobs)) == len(jobs)
    tenth = plan("development", tenth=True)
    assert len(tenth) == -(-len(jobs) // 10) and {job.task for job in tenth} == {"digits", "movies"}
    with pytest.raises(ValueError, match="gremlins"):
        plan("development", ["gremlins"])


@pytest.mark.slow
def test_a_stopped_benchmark_goes_on_and_loses_one_run_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = plan("development", KINDS, seeds=1)
    done = 0
    do = Job.do

    def killed(job: Job) -> RunRecord:
        nonlocal done
        done += 1
        if done == 3:
            raise KeyboardInterrupt
        return do(job)

    monkeypatch.setattr(Job, "do", killed)
    with pytest.raises(KeyboardInterrupt):
        list(run(jobs, tmp_path))
    assert len(missing(jobs, tmp_path)) == 2
    again = list(run(jobs, tmp_path))
    assert [(each.task, each.kind) for each in again] == [(job.task, job.kind) for job in jobs[2:]]
    assert list(run(jobs, tmp_path)) == [] and list(run(jobs, tmp_path, seconds=0)) == []
    records = gather(jobs, tmp_path)
    assert [Job(each.task, each.kind, each.seed) for each in records] == jobs
    assert all(each.probes["duplicates"] for each in records)
    keep(records, tmp_path / "kept" / "development.npz", "a command")
    assert len(load_records(tmp_path / "kept" / "development.npz")) == 4
    assert provenance_of(tmp_path / "kept" / "development.npz").startswith("a command; 4 runs, seeds 0 to 0, ")
    jobs[0].file(tmp_path).write_bytes(b"half of a file")
    with pytest.raises(ValueError, match="delete it and run again"):
        gather(jobs, tmp_path)


@pytest.mark.slow
def test_the_command_does_its_share_and_prints_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--part", "development", "--seeds", "2", "--folder", str(tmp_path)]
    given += [word for kind in KINDS for word in ("--only", kind)]
    for share in ("0/2", "1/2"):
        assert command.main([*given, "--share", share]) == 0
    said = capsys.readouterr().out
    assert said.count("labels_shifted") == 4 and said.count("clean") == 4
    assert command.main(given) == 0  # nothing is left to train
    said = capsys.readouterr().out
    assert "development, 0 runs are missing" in said and "all examiners" in said and "doctor, log only" in said
