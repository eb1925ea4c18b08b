"""The study of pre-training: what is kept is whole, agrees with itself, and is what a run comes to again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from stablelab.models import linear_probe, probe_hits
from stablelab.studies import pretraining as study


def test_every_run_of_the_study_is_kept_once() -> None:
    kept = study.results()
    rows = list(zip(kept.task, kept.features, kept.steps, kept.learning_rate, kept.seed, strict=True))
    assert sorted(rows) == sorted((task, *trial) for task, trial in study.trials())


@pytest.mark.slow
def test_the_accuracy_of_a_row_is_the_share_of_its_hits() -> None:
    kept, hits = study.results(), study.hits()
    sizes = {"digits": 1000, "reviews": 400, "words": len(study.one_gap(study.word_ids()[2], 9)[2])}
    for accuracy, task, row in zip(kept.accuracy, kept.task, hits, strict=True):
        assert row[: sizes[task]].mean() == pytest.approx(accuracy)
        assert not row[sizes[task] :].any()


@pytest.mark.parametrize(("task", "features"), [("digits", "pixels"), ("digits", "PCA"), ("words", "commonest")])
def test_a_control_comes_to_what_is_kept(task: str, features: str) -> None:
    kept = study.results()
    row = kept[(kept.task == task) & (kept.features == features) & (kept.seed == 2)].iloc[0]
    assert study.run(task, study.Trial(features, 0, 0.0, 2))["accuracy"] == pytest.approx(row.accuracy, abs=0.005)


@pytest.mark.slow
def test_the_command_writes_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = [("digits", study.Trial("pixels", 0, 0.0, 0)), ("digits", study.Trial("contrast", 2, 1e-3, 0))]
    few += [("words", study.Trial("commonest", 0, 0.0, 0))]
    monkeypatch.setattr(study, "trials", lambda: iter(few))
    monkeypatch.setattr("sys.argv", ["study", "--out", str(tmp_path)])
    study.main()
    monkeypatch.setattr(study, "FILE", tmp_path / "pretraining.npz")
    assert study.results().features.tolist() == ["pixels", "contrast", "commonest"]
    assert study.results().steps.tolist() == [0, 2, 0]
    assert study.hits()[:2, :1000].mean(axis=1) == pytest.approx(study.results().accuracy[:2])


def test_turned_views_turn_further() -> None:
    x = torch.zeros(64, 1, 14, 14)
    x[:, :, :7] = 1  # the upper half is bright
    random = torch.Generator().manual_seed(0)
    lower = [study._view(x, random, turn)[:, 0, 10:].mean((1, 2)) for turn in (0.25, 3.14)]
    assert lower[0].max() < 0.3 < lower[1].max()


def test_principal_components_are_those_of_a_singular_value_decomposition() -> None:
    x = torch.randn(50, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    basis = np.linalg.svd((x - x.mean(0)).numpy())[2][:2]
    mine = study.principal_components(x, 2)(x).numpy()
    np.testing.assert_allclose(np.abs(mine), np.abs((x - x.mean(0)).numpy() @ basis.T), atol=1e-10)


def test_the_share_of_hits_is_the_accuracy_of_the_probe() -> None:
    random = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, 3, generator=random), torch.arange(40) % 2
    hits = probe_hits(x, y, x + 0.1, y)
    assert hits.dtype == torch.bool
    assert hits.double().mean().item() == linear_probe(x, y, x + 0.1, y)
