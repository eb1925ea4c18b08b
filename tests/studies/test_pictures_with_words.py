"""The kept study of CLIP on emoji, and what makes it anew."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge

from stablelab.data.emoji import FOLDS, emoji_pixels, emoji_places, emoji_table
from stablelab.stability.sweeps.execution import one_thread
from stablelab.studies import pictures_with_words as study


def test_every_contender_has_five_folds_and_one_tuned_setting_in_each() -> None:
    runs = study.contenders()
    tuned = runs[runs.tuned]
    counts = tuned.groupby("method").fold.agg(["size", "nunique"])
    assert (counts["nunique"] == FOLDS).all()
    assert (counts["size"] == [FOLDS * len(study.SCALES) if m == "held" else FOLDS for m in counts.index]).all()
    best = runs.groupby(["method", "fold"]).merit.max()
    assert tuned[tuned.method == "ridge"].set_index("fold").merit.to_dict() == best["ridge"].to_dict()
    met = study.languages()
    controls = {"MiniLM as it is", "two regressions", "numbers for pictures", "no picture in both"}
    assert set(met.how) == {*study.MEETINGS, *controls, "regressions, numbers", "regressions, no picture in both"}
    assert (met.groupby("how").fold.agg(["size", "nunique"]) == FOLDS).all().all()
    assert set(study.encoders().encoder) == {f"{name}, {size} px" for name, size in study.ENCODERS}
    assert study.FILE.stat().st_size < 1_000_000


def test_the_encoder_that_is_kept_is_the_best_of_those_tried() -> None:
    means = study.encoders().groupby("encoder").recall.mean()
    assert means.idxmax() == study.CHOSEN


def test_languages_that_never_met_the_english_or_the_chinese_are_at_chance() -> None:
    met = study.languages()
    for how in ("Chinese alone", "English alone"):
        assert met[met.how == how]["test zh-en@10"].mean() < 2 * 10 / 329


def test_kept_features_are_those_of_the_encoder() -> None:
    some = torch.tensor([0, 400, 900, 1600])
    with one_thread():
        found = study.features_of(emoji_pixels()[some], "EfficientNet-Lite0", 96)
    torch.testing.assert_close(found, study.features()[some], rtol=0, atol=6 / 255)


def test_ridge_regression_is_scikit_learns() -> None:
    g = torch.Generator().manual_seed(0)
    x, t = torch.randn(40, 7, generator=g), torch.randn(40, 3, generator=g)
    theirs = Ridge(alpha=0.3 * 40, fit_intercept=False).fit(x.numpy(), t.numpy()).coef_.T
    torch.testing.assert_close(study.ridge(x, t, 0.3), torch.from_numpy(theirs), rtol=1e-3, atol=1e-4)


def test_characters_that_training_has_not_seen_count_nothing() -> None:
    found = study.character_counts(["狗脸", "猫脸", "龙"], [0, 1])
    assert found.shape == (3, 3) and not found[2].any()
    torch.testing.assert_close(found[0] @ found[1], torch.tensor(0.5))


def test_a_batch_order_goes_through_all_before_it_begins_anew() -> None:
    found = list(study.batches(600, 4, torch.Generator().manual_seed(0)))
    assert [len(b) for b in found] == [256] * 4
    assert len(torch.cat(found[:2]).unique()) == 512


@pytest.mark.slow
def test_a_kept_fold_comes_again() -> None:
    runs = study.contenders()
    kept = runs[(runs.method == "contrastive") & (runs.fold == 2) & (runs.rate == 1e-2) & (runs.setting == 0.0)].iloc[0]
    with one_thread():
        fold = study.fold_of(2, study.features())
        train = fold.places["train"]
        W, scale = study.contrastive(fold.x[train], fold.t[train], 1e-2, 2)
        found = study.measures(fold.x[fold.places["test"]] @ W, fold, "test")
    assert scale == pytest.approx(kept.scale, rel=0.03)
    for name, value in found.items():
        assert value == pytest.approx(kept[f"test {name}"], abs=0.03)


@pytest.mark.slow
def test_a_small_cut_of_the_study_goes_from_the_command_to_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = study.features()

    def quick(pixels: torch.Tensor, encoder: str, size: int) -> torch.Tensor:
        return x[: len(pixels)]

    t = F.normalize(torch.randn(len(emoji_table()), 384, generator=torch.Generator().manual_seed(0)), dim=1)
    cut: dict[str, Any] = {"ENCODERS": study.ENCODERS[-1:], "FOLDS": 1, "PENALTIES": (1.0,), "RATES": (1e-2,)}
    cut |= {"DROPOUTS": (0.0,), "SCALES": (14.0,), "STEPS": 2, "LANGUAGE_STEPS": 2, "SEEDS": range(2)}
    cut |= {"IMAGE_CORRUPTIONS": ("noise",), "features_of": quick, "sentence_vectors": lambda: (t, t, t[:8])}
    for name, value in cut.items():
        monkeypatch.setattr(study, name, value)
    monkeypatch.setattr("sys.argv", ["pictures_with_words", "--out", str(tmp_path)])
    study.main()
    monkeypatch.setattr(study, "FILE", tmp_path / "pictures_with_words.npz")
    assert len(study.contenders()) == 2 + 3 + 1 + 1 and len(study.languages()) == 6 + len(study.MEETINGS)
    assert study.robust("contrastive").clean.shape == (2, len(emoji_places(0)["test"]))
    assert study.answers("captions").shape == (2, 329)
    assert np.isfinite(study.contenders()["test pictures@10"].to_numpy()).sum() == 6
    assert math.isfinite(study.encoders().recall[0])
