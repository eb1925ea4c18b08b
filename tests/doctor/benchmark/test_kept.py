"""What is kept of the benchmark: runs done again are judged alike, and peers were tuned on the development tasks."""

from __future__ import annotations

import pytest
import torch

from stablelab.doctor.benchmark import peers
from stablelab.doctor.benchmark.peers import PUBLISHED, SCALES, TUNED, tuned
from stablelab.doctor.benchmark.record import load_records
from stablelab.doctor.benchmark.runs import KEPT, plan
from stablelab.doctor.benchmark.scoring import examined, harms, health
from stablelab.doctor.benchmark.tasks import PARTS
from stablelab.studies.keeping import provenance_of


@pytest.mark.parametrize(("part", "every"), [*zip(PARTS, (331, 401), strict=True)])
@pytest.mark.slow
def test_runs_done_again_are_judged_as_the_kept_ones(part: str, every: int) -> None:
    kept = {(each.task, each.kind, each.seed): each for each in load_records(KEPT / f"{part}.npz")}
    jobs = plan(part)
    assert set(kept) == {(job.task, job.kind, job.seed) for job in jobs}
    assert "python -m stablelab.doctor.benchmark" in provenance_of(KEPT / f"{part}.npz")
    again = jobs[5::every]  # of every task; a tenth of them takes four minutes: --tenth
    assert {job.task for job in again} == {job.task for job in jobs}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        new = [job.do() for job in again]
    finally:
        torch.set_num_threads(threads)
    before = [kept[job.task, job.kind, job.seed] for job in again]
    agree = [bool(examined(a).alarms) == bool(examined(b).alarms) for a, b in zip(new, before, strict=True)]
    assert sum(agree) >= len(again) - 1, dict(zip(again, agree, strict=True))


@pytest.mark.slow
def test_tuned_peers_have_the_scale_that_is_best_on_the_development_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    records = load_records(KEPT / "development.npz")
    hurt = {(row.task, row.fault) for row in harms(records).itertuples() if row.hurts}
    well = {(row.task, row.variant) for row in health(records).itertuples() if row.healthy}
    records = [each for each in records if (each.task, each.kind) in hurt | well]
    sick = [(each.task, each.kind) in hurt for each in records]
    for peer, scale in zip(PUBLISHED, TUNED, strict=True):
        near = tuple(sorted({1.0, scale, 2 * scale, scale / 2} & set(SCALES)))  # all 29 take a minute
        monkeypatch.setattr(peers, "SCALES", near)
        assert tuned(peer, records, sick).scale == scale, peer.name
