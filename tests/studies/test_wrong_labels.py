"""The kept study of wrong labels, and what makes it anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stablelab.formulas import symmetric_noise
from stablelab.stability.sweeps.execution import one_thread
from stablelab.studies import wrong_labels
from stablelab.studies.wrong_labels import ARMS, DRAWS, RATES, TASKS, Examples


def test_every_arm_was_trained_at_every_rate_and_draw() -> None:
    runs = wrong_labels.runs()
    counts = runs.groupby("what").size().to_dict()
    each = len(TASKS) * len(RATES) * len(DRAWS)
    assert counts["trained"] == each * len(ARMS) and counts["ranked"] == 4 * each
    assert counts["flagged"] == 3 * each and counts["estimated"] == each
    assert counts["outliers"] == 3 * len(TASKS) * len(DRAWS)
    trained = runs[runs.what == "trained"]
    assert trained[["accuracy", "spread", "churn", "share"]].notna().all().all()
    assert wrong_labels.FILE.stat().st_size < 60_000


def test_what_is_flagged_is_never_more_than_there_is() -> None:
    runs = wrong_labels.runs()
    flagged = runs[(runs.what == "flagged") & (runs.rate > 0)]
    found = flagged.precision * flagged.share  # share of all that is flagged and wrong
    assert np.allclose(found, flagged.recall * np.round(800 * flagged.rate) / 800, atol=1e-5)


@pytest.fixture
def clouds(monkeypatch: pytest.MonkeyPatch) -> Examples:
    """Two clouds of points, in place of features."""
    generator = torch.Generator().manual_seed(0)

    def part(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        y = torch.arange(n) % 2
        return torch.randn(n, 16, generator=generator) + 1.2 * (2.0 * y[:, None] - 1), y

    parts = {"train": part(200), "validation": part(80), "test": part(200)}
    examples = Examples(
        {s: x for s, (x, _) in parts.items()}, {s: y for s, (_, y) in parts.items()}, 2, 8 * torch.ones(60, 16)
    )
    monkeypatch.setattr(wrong_labels, "examples_of", lambda name: examples)
    return examples


@pytest.mark.slow
def test_planted_labels_are_found_and_taking_them_out_helps_where_they_are(clouds: Examples) -> None:
    with one_thread():
        rows = list(wrong_labels.found_rows("movies", 0.2, 0))
    by = {(row["what"], row["arm"]): row for row in rows}
    for method in ("loss", "confident", "ensemble"):
        assert by["flagged", method]["precision"] > 0.8 and by["flagged", method]["recall"] > 0.8
    assert by["estimated", "confident"]["share"] == pytest.approx(0.2, abs=0.08)
    assert by["trained", "truth"]["share"] == pytest.approx(0.2)
    assert by["trained", "random"]["share"] == pytest.approx(by["trained", "confident"]["share"])
    assert all(0 <= by["trained", arm]["churn"] < 0.3 for arm in ARMS)


def test_heads_that_judge_have_not_seen_the_example(clouds: Examples) -> None:
    x, y = clouds.x["train"], clouds.y["train"]
    given = symmetric_noise(y, 0.5, 2, torch.Generator().manual_seed(1))  # half wrong: nothing is left to learn
    wide = torch.cat(
        [x, 20 * torch.eye(200)], 1
    )  # and a feature of its own for each, so that all can be learned by heart
    with one_thread():
        judgement = wrong_labels.judged(wide, given, 2, 0, 0.0)
    seen, unseen = (p.argmax(1) == given for p in (judgement.seen, judgement.unseen))
    assert seen.double().mean() > 0.95 and unseen.double().mean() < 0.65
    assert judgement.against.mean() > 0.35


def test_a_few_strangers_are_found_by_their_distance_and_a_crowd_is_not(clouds: Examples) -> None:
    few = torch.cat([clouds.x["train"], 8 * torch.eye(16)[:3] * torch.tensor([[1.0], [-1.0], [1.0]])])
    for scores in wrong_labels.outlier_scores(few).values():
        assert set(scores.topk(3).indices.tolist()) == {200, 201, 202}
    with one_thread():  # 40 equal strangers: they are each other's neighbours, and the covariance takes them in
        rows = {row["arm"]: row["precision"] for row in wrong_labels.outlier_rows("movies", 0)}
    assert rows["neighbours"] == 0 and set(rows) == {"neighbours", "mahalanobis", "loss"}


@pytest.mark.slow
def test_a_piece_of_the_study_comes_again() -> None:
    runs = wrong_labels.runs()
    with one_thread():
        rows = list(wrong_labels.found_rows("digits", 0.2, 1))
    kept = runs[(runs.task == "digits") & np.isclose(runs.rate, 0.2) & (runs.draw == 1)]
    for row in rows:
        mine = kept[(kept.what == row["what"]) & (kept.arm == row["arm"])].iloc[0]
        for name, within in (("precision", 0.05), ("recall", 0.06), ("share", 0.04), ("accuracy", 0.02)):
            if name in row:
                assert row[name] == pytest.approx(mine[name], abs=within), (row["what"], row["arm"], name)


def test_the_command_writes_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def row(task: str, draw: int, **found: Any) -> Iterator[dict[str, Any]]:
        yield {"task": task, "draw": draw, "what": "trained", "arm": "truth", **found}

    monkeypatch.setattr(wrong_labels, "found_rows", lambda name, rate, draw: row(name, draw, rate=rate, accuracy=0.75))
    monkeypatch.setattr(wrong_labels, "outlier_rows", row)
    monkeypatch.setattr("sys.argv", ["wrong_labels", "--out", str(tmp_path)])
    wrong_labels.main()
    old = wrong_labels.runs()
    monkeypatch.setattr(wrong_labels, "FILE", tmp_path / "wrong_labels.npz")
    runs = wrong_labels.runs()
    assert list(runs) == list(old) and runs.churn.isna().all()
    sizes = runs.groupby(["task", "draw"]).rate.agg(["size", "count"]).to_numpy()
    assert (sizes == [len(RATES) + 1, len(RATES)]).all() and len(sizes) == len(TASKS) * len(DRAWS)
    assert runs.draw.iloc[-1] == DRAWS[-1] and runs.accuracy.dropna().unique() == [0.75]
