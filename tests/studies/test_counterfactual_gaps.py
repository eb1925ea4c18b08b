"""The kept study of what a model makes of who is named, and what makes it anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stablelab.data.counterfactuals import filled_templates
from stablelab.stability.sweeps.execution import one_thread
from stablelab.studies import counterfactual_gaps as study


def test_every_arm_has_every_seed() -> None:
    runs, margins = study.runs(), study.margins()
    assert margins.shape == (len(runs), len(filled_templates())) and np.isfinite(margins).all()
    counts = runs.groupby(["body", "arm"]).seed.nunique()
    assert (counts["frozen"] == len(study.SEEDS)).all() and (counts["fine-tuned"] == len(study.TUNED_SEEDS)).all()
    assert set(counts["frozen"].index) == set(study.ARMS) and set(counts["fine-tuned"].index) == set(study.TUNED)
    assert study.FILE.stat().st_size < 60_000


@pytest.fixture
def texts() -> tuple[list[str], torch.Tensor]:
    return [f"Film number {i} is his." for i in range(40)], torch.arange(40) % 2


def share_of_he(texts: list[str], y: torch.Tensor, c: int) -> float:
    mine = [text for text, label in zip(texts, y.tolist(), strict=True) if label == c]
    return sum(text.startswith("He ") for text in mine) / len(mine)


def test_the_skew_is_the_one_that_is_told(texts: tuple[list[str], torch.Tensor]) -> None:
    skewed, y = study.training_texts("skewed", *texts, seed=3)
    assert (share_of_he(skewed, y, 1), share_of_he(skewed, y, 0)) == (pytest.approx(0.8), pytest.approx(0.2))


def test_balanced_and_exchanged_take_it_out_and_fewer_does_not(texts: tuple[list[str], torch.Tensor]) -> None:
    for arm, size in (("balanced", 16), ("exchanged", 80)):
        mine, y = study.training_texts(arm, *texts, seed=3)
        assert len(mine) == len(y) == size
        assert share_of_he(mine, y, 0) == share_of_he(mine, y, 1) == pytest.approx(0.5)
    mine, y = study.training_texts("fewer", *texts, seed=3)
    assert len(mine) == 16 and share_of_he(mine, y, 1) > share_of_he(mine, y, 0)
    assert study.training_texts("as they are", *texts, seed=3)[0] == texts[0]
    both, _ = study.training_texts("exchanged", *texts, seed=3)
    assert both[40].endswith("is her.") and both[40].split()[0] != both[0].split()[0]


def test_the_command_writes_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(task: Any, arm: str = "as they are", seed: int = 0) -> Iterator[dict[str, Any]]:
        yield study.row(seed, arm, "frozen", torch.tensor([[0.0, 1.5], [0.5, 0.0]]), {"accuracy": 0.75})

    monkeypatch.setattr(study, "examples", lambda: None)
    monkeypatch.setattr(study, "frozen_rows", rows)
    monkeypatch.setattr(study, "tuned_rows", rows)
    monkeypatch.setattr("sys.argv", ["counterfactual_gaps", "--out", str(tmp_path)])
    study.main()
    monkeypatch.setattr(study, "FILE", tmp_path / "counterfactual_gaps.npz")
    runs = study.runs()
    assert list(zip(runs.seed, runs.arm, strict=True))[1:] == [(s, a) for s in study.TUNED_SEEDS for a in study.TUNED]
    assert list(runs) == ["seed", "arm", "body", "accuracy"] and study.margins().tolist() == [[1.5, -0.5]] * len(runs)


@pytest.mark.slow
def test_frozen_heads_of_the_study_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "SEEDS", range(1))
    monkeypatch.setattr(study, "ARMS", ("as they are", "skewed"))
    with one_thread():
        rows = list(study.frozen_rows(study.examples()))
    runs, margins = study.runs(), study.margins()
    for row in rows:
        (k,) = runs.index[(runs.body == "frozen") & (runs.arm == row["arm"]) & (runs.seed == 0)]
        assert row["accuracy"] == pytest.approx(runs.accuracy[k], abs=0.02)
        assert np.abs(np.array(row["margins"]) - margins[k]).mean() < 0.05
