"""The study of clipped ResNets that lies in the package, and the runs that make it anew."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stablelab.exercises.clipping_loops import choose_max_norm
from stablelab.stability.sweeps.execution import one_thread
from stablelab.studies import clipped_resnets as study


def test_every_run_is_there_once() -> None:
    kept = study.clipped_resnets()
    seeds = sorted((*study.JUDGED, *study.TUNING))
    arms = [(rate, math.inf) for rate in study.FREE] + list(study.CLIPPED)
    there = sorted(zip(kept.learning_rate, kept.factor, kept.seed, strict=True))
    assert there == sorted((*arm, seed) for arm in arms for seed in seeds)
    assert "torch" in study.made_by()


def test_its_thresholds_are_those_of_the_exercise() -> None:
    norms = torch.randn(20, generator=torch.Generator().manual_seed(0)).exp()
    chosen = choose_max_norm(norms, study.SKIPPED, study.SHARE, study.AT, 0.5)
    assert study.threshold(norms.tolist(), 0.5) == pytest.approx(float(chosen))


@pytest.mark.slow
def test_a_run_of_it_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "STEPS", 3)
    with one_thread():
        losses, norms = study.train(study.small_digits(), 0.005, None, 3)
    assert len(norms) == 3
    # of another processor: at other seeds and rates these networks magnify rounding a thousandfold in a step
    assert losses == pytest.approx(study.kept_losses(0.005, math.inf, seed=3)[:3].tolist(), rel=5e-3)


def test_the_command_clips_by_the_record_of_the_same_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[float, float | None]] = []

    def run(task: Any, rate: float, limit: float | None, seed: int) -> dict[str, Any]:
        done.append((rate, limit))
        norms = [1.0, 1.0, 1.0, 2.0, 4.0]
        return {"learning_rate": rate, "max_norm": limit or math.inf, "seed": seed, "losses": [0.5], "norms": norms}

    monkeypatch.setattr(study, "JUDGED", range(1))
    monkeypatch.setattr(study, "TUNING", range(0))
    monkeypatch.setattr(study, "FREE", (0.05, 0.5))
    monkeypatch.setattr(study, "CLIPPED", ((0.05, 1.0), (0.5, 0.1)))
    monkeypatch.setattr(study, "run", run)
    monkeypatch.setattr(study, "small_digits", lambda: None)
    monkeypatch.setattr(sys, "argv", ["clipped_resnets", "--out", str(tmp_path)])
    study.main()
    assert done == [(0.05, None), (0.5, None), (0.05, 4.0), (0.5, pytest.approx(0.04))]
    with np.load(tmp_path / "clipped_resnets.npz") as kept:
        assert kept["max_norm"].tolist() == [math.inf, math.inf, 4.0, pytest.approx(0.04)]
        assert kept["factor"].tolist() == [math.inf, math.inf, 1.0, 0.1]
