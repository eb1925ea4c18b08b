"""The kept study of what a model gives away, and what makes it anew."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from stablelab.stability import private_epsilon
from stablelab.stability.sweeps.execution import one_thread
from stablelab.studies import privacy


def test_every_setting_has_five_pools_and_every_curve_rises_to_1() -> None:
    runs, curves = privacy.membership(), privacy.curves()
    assert "reviews" in set(runs.task) <= set(privacy.TASKS)
    for name in set(runs.task):
        mine = runs[runs.task == name]
        counts = mine.groupby(["factor", "level"]).pool.agg(["size", "nunique"])
        assert (counts == len(privacy.POOLS)).all().all()
        assert set(counts.index) == set(privacy.membership_arms(name))
    for found in curves.values():
        assert found.shape == (len(runs), len(privacy.FALSE_POSITIVE_RATES))
        assert (np.diff(found, axis=1) >= 0).all() and (found[:, -1] == 1).all() and (found >= 0).all()
    assert privacy.FILE.stat().st_size < 150_000


@pytest.mark.slow
def test_drawn_batches_spend_less_and_the_kept_numbers_are_those_of_opacus() -> None:
    spent = privacy.spent()
    assert (spent.prv <= spent.rdp).all() and (spent.prv <= spent["all"]).all()
    for row in spent.iloc[[0, -1]].itertuples():
        found = [private_epsilon(privacy.SIGMA, int(row.steps), privacy.DELTA, row.share, a) for a in ("prv", "rdp")]
        assert found == pytest.approx([row.prv, row.rdp], rel=0.01)


def test_codes_are_planted_as_often_as_is_said_and_no_door_twice() -> None:
    for seed in range(3):
        planted = privacy.planted(seed)
        assert [count for count, _, _ in planted] == [c for c in privacy.DUPLICATES for _ in range(privacy.EACH)]
        assert len({template for _, template, _ in planted}) == len(planted)
        assert all(secret.startswith(template.split("{")[0]) for _, template, secret in planted)
    assert privacy.planted(0) != privacy.planted(1)
    learned = privacy.memorization()
    assert set(learned.groupby(["seed", "epoch", "duplicates"]).bits.size()) == {privacy.EACH}
    assert learned.bits.between(0, math.log2(1000) + 1e-9).all()


def test_heads_on_changed_copies_see_no_other_example() -> None:
    x, y = torch.randn(12, 5, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1] * 6)
    members = torch.arange(12)[None] < 6
    copies = torch.stack([x, x])  # two versions that do not differ: as if there were none
    plain = privacy.shadow_heads(x, y, members, 2, 1e-2, steps=5)
    copied = privacy.shadow_heads(x, y, members, 2, 1e-2, steps=5, copies=copies)
    torch.testing.assert_close(plain, copied)
    copies[:, 6:] = torch.nan  # the others are never read
    assert all(
        w.isfinite().all() for w in privacy.shadow_heads(x, y, members, 2, 1e-2, 5, copies=copies.nan_to_num(1e9))
    )


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cut of the study of a few seconds, on features that are random but for their class."""
    generator = torch.Generator().manual_seed(0)
    for name, classes in (("digits", 3), ("reviews", 2)):
        found = {}
        for split, n in (("train", 120), ("validation", 30), ("test", 60)):
            y = torch.arange(n) % classes
            found |= {f"{split}_x": torch.randn(n, 16, generator=generator) + y[:, None] * 0.5, f"{split}_y": y}
        torch.save(found, tmp_path / f"privacy.{name}.pt")
    torch.save(torch.randn(2, 40, 16, generator=generator), tmp_path / "privacy.shifted 0.1.pt")
    cut = {
        "POOLS": range(1), "HEADS": {"digits": 16, "reviews": 16}, "STEPS": 4, "AUGMENTED": 40, "PASSES": 1,
        "EXAMPLES": {"digits": (6,), "reviews": (8,)}, "REFERENCE": {"digits": 6, "reviews": 8}, "FEWER_STEPS": (2,),
        "DECAYS": {"digits": (10.0,), "reviews": (10.0,)},
        "LANGUAGE_SEEDS": range(1), "REVIEWS": 40, "EPOCHS": 2, "MEASURED": (1, 2), "DUPLICATES": (0, 4), "EACH": 1,
    }  # fmt: skip
    for name, value in cut.items():
        monkeypatch.setattr(privacy, name, value)
    return tmp_path


@pytest.mark.slow
def test_a_small_cut_goes_from_the_command_to_what_is_read(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = [table() for table in (privacy.membership, privacy.spent, privacy.memorization)]
    for only in (*privacy.TASKS, "language"):
        monkeypatch.setattr("sys.argv", ["privacy", "--out", str(small), "--only", only])
        privacy.main()
    assert not (small / "privacy.npz").exists()
    lines = (small / "privacy.digits.part.jsonl").read_text()
    monkeypatch.setattr("sys.argv", ["privacy", "--out", str(small)])
    privacy.main()  # goes on: nothing is left to do but the file
    assert (small / "privacy.digits.part.jsonl").read_text() == lines
    monkeypatch.setattr(privacy, "FILE", small / "privacy.npz")
    new = [table() for table in (privacy.membership, privacy.spent, privacy.memorization)]
    for before, after in zip(old, new, strict=True):
        assert before.dtypes.tolist() == after.dtypes.tolist() and list(before) == list(after)
    assert new[0].groupby("task").size().to_dict() == {"digits": 5, "reviews": 3}


@pytest.mark.slow
def test_a_piece_of_the_kept_study_comes_again(tmp_path: Path) -> None:
    """Pool 0 of the reviews at four examples a class: features of sixteen reviews, and their heads."""
    task, model = privacy.task_and_model("reviews")
    where = privacy.pool(task.train.targets, 4, 0)
    with torch.no_grad(), one_thread():
        seen: list[torch.Tensor] = []
        hook = privacy.head_of(model)[1].register_forward_pre_hook(lambda _, entering: seen.append(entering[0]))
        model.eval()(**task.train.store.take(where))
        hook.remove()
        members = privacy.memberships(privacy.HEADS["reviews"], len(where), 0)
        heads = privacy.shadow_heads(seen[0], task.train.targets[where], members, 2, privacy.RATE["reviews"])
        _, lira, loss = privacy.attacked(*heads, seen[0], task.train.targets[where], members)
    runs, curves = privacy.membership(), privacy.curves()
    kept = runs[(runs.task == "reviews") & (runs.factor == "examples per class") & (runs.level == 4) & (runs.pool == 0)]
    assert np.abs(lira.numpy() - curves["lira"][kept.index[0]]).mean() < 0.02
    assert np.abs(loss.numpy() - curves["loss"][kept.index[0]]).mean() < 0.02
