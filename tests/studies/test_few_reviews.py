"""The study of a pull to the pre-trained weights that lies in the package, and the runs that make it anew."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import pytest

from stablelab.stability.sweeps.execution import one_thread
from stablelab.studies import few_reviews


def test_every_run_is_there_once_and_judged_three_times() -> None:
    kept = few_reviews.few_reviews()
    ends = kept[kept.step == few_reviews.STEPS]
    assert sorted(zip(ends.learning_rate, ends.pull, ends.seed, strict=True)) == sorted(few_reviews.all_runs())
    assert len(kept) == len(few_reviews.EVALUATED) * len(ends)
    assert not kept.isna().to_numpy().any()
    assert "torch" in few_reviews.made_by()


@pytest.mark.slow
def test_a_run_of_it_begins_again_as_it_did() -> None:
    rate, pull, seed = few_reviews.PULLED_RATE, few_reviews.PULLS[1], 3
    with one_thread():
        run = few_reviews.training(few_reviews.task_of(seed), rate, pull, seed)
        losses = [loss for loss, _ in itertools.islice(run, 2)]
    assert losses == pytest.approx(few_reviews.kept_losses(rate, pull, seed)[:2].tolist(), rel=5e-3)


def test_the_command_writes_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(rate: float, pull: float, seed: int) -> dict[str, Any]:
        lists = ("losses", "test_losses", "test_accuracies")
        return {"learning_rate": rate, "pull": pull, "seed": seed} | {name: [0.5] * 3 for name in lists}

    monkeypatch.setattr(few_reviews, "all_runs", lambda: [(3e-4, 0.0, seed) for seed in range(3)])
    monkeypatch.setattr(few_reviews, "run", run)
    monkeypatch.setattr(sys, "argv", ["few_reviews", "--out", str(tmp_path)])
    few_reviews.main()
    old = few_reviews.few_reviews()
    monkeypatch.setattr(few_reviews, "FILE", tmp_path / "few_reviews.npz")
    runs = few_reviews.few_reviews()
    assert runs.dtypes.tolist() == old.dtypes.tolist()
    assert runs.seed.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2] and runs.step.tolist() == 3 * list(few_reviews.EVALUATED)
