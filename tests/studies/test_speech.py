"""The kept study of wav2vec 2.0 on spoken digits, and what makes it anew."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import stablelab as lab
from stablelab.models.wav2vec import bundled_weights
from stablelab.stability.sweeps.execution import one_thread
from stablelab.studies import speech


def test_every_contender_has_five_seeds_at_each_budget_and_all_rates_were_tried() -> None:
    runs = speech.runs()
    counts = runs[runs.tuned].groupby(["arm", "labels", "steps"]).seed.agg(["size", "nunique"])
    networks = len(speech.ARMS) * len(speech.FINE_TUNED) * len(speech.BUDGETS)
    controls = len(speech.CONTROLS) * len(speech.LABELS)
    assert (counts == len(speech.SEEDS)).all().all() and len(counts) == networks + controls
    for arm in speech.ARMS:
        assert set(runs[runs.arm == arm].rate) == set(speech.RATES)
    assert speech.FILE.stat().st_size < 300_000


def test_accuracies_are_those_of_the_predictions() -> None:
    runs, right = speech.runs(), lab.spoken_digits().test.targets.numpy()
    assert (speech.predictions() == right).mean(1) == pytest.approx(runs.accuracy.to_numpy(), abs=1e-6)
    worse = speech.corrupted_predictions()
    looked = (worse != speech.UNTOLD).all(axis=(1, 2, 3))
    last = runs.steps.isin([speech.BUDGETS[-1], 0]).to_numpy()
    assert (looked == last).all()


def test_crops_and_numbers_are_functions_of_their_seed_and_of_the_voices_of_their_split() -> None:
    one, again, other = (speech.crops(seed, 3, n=4) for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other) and one.shape == (4, speech.SAMPLES)
    assert one.mean(1).abs().max() < 1e-5 and (one.var(1) - 1).abs().max() < 1e-3
    x, digits = speech.spoken_numbers("test", 5, seed=0)
    assert x.shape == (5, 12_000) and digits.shape == (5, 3) and int(digits.max()) < 10
    again, _ = speech.spoken_numbers("test", 5, seed=0)
    others, _ = speech.spoken_numbers("validation", 5, seed=0)
    assert torch.equal(x, again) and not torch.equal(x, others)


def test_frames_are_as_many_as_the_model_makes() -> None:
    model: Any = speech.pretraining_model(0)
    with torch.no_grad():
        for samples in (4200, 12_000):
            assert model.wav2vec2.feature_extractor(torch.zeros(1, samples)).shape[-1] == speech.frames_of(samples)


@pytest.mark.slow
def test_features_of_a_subset_are_those_of_its_clips() -> None:
    task = lab.spoken_digits(train=10)
    few, every = speech.features(task.train, "log-mel"), speech.features(lab.spoken_digits().train, "log-mel")
    positions = task.train.store.positions  # type: ignore[attr-defined]
    assert few.shape == (10, 8 * 40) and np.array_equal(few, every[positions.numpy()])
    frozen = [speech.features(task.validation, kind) for kind in speech.CONTROLS[1:]]
    assert frozen[0].shape == frozen[1].shape == (200, 8 * 64) and not np.allclose(*frozen)


def test_the_kept_curve_belongs_to_a_pre_training_that_found_something() -> None:
    curve = speech.pretraining_curve()
    assert curve.step.tolist() == [*range(0, speech.PRETRAINING_STEPS, speech.KEPT_EVERY), speech.PRETRAINING_STEPS - 1]
    assert curve.contrastive[0] > curve.contrastive[-3:].mean() + 1
    assert curve.accuracy[-3:].mean() > 3 / 21


@pytest.mark.slow
def test_the_kept_pre_training_begins_again_as_it_was() -> None:
    with one_thread():
        (step,) = speech.pretraining_steps(speech.pretraining_model(0), 0, 1, of=speech.PRETRAINING_STEPS)
    kept = speech.pretraining_curve().iloc[0]
    assert step == pytest.approx({name: kept[name] for name in step}, abs=0.02)
    weights = bundled_weights()
    assert set(weights) == set(speech.pretraining_model(0).state_dict())


@pytest.mark.slow
def test_a_kept_run_and_its_control_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = speech.runs()
    (row,) = speech.control_rows("log-mel", 50, 1)
    kept = runs[(runs.arm == "log-mel") & (runs.labels == 50) & (runs.seed == 1)].iloc[0]
    assert (row["accuracy"], row["rate"]) == (pytest.approx(kept.accuracy, abs=0.02), kept.rate)
    of = runs[(runs.arm == "pre-trained") & (runs.labels == 50) & (runs.seed == 0) & runs.tuned]
    monkeypatch.setattr(speech, "BUDGETS", speech.BUDGETS[:1])
    monkeypatch.setattr(speech, "SEVERITIES", (1,))
    with one_thread():
        (row,) = speech.run_rows("pre-trained", 50, float(of.rate.iloc[0]), 0)
    assert row["accuracy"] == pytest.approx(float(of[of.steps == speech.BUDGETS[0]].accuracy.iloc[0]), abs=0.06)


@pytest.mark.slow
def test_a_small_cut_of_the_study_goes_from_the_command_to_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = speech.runs()
    cut = {
        "SEEDS": range(1),
        "TUNING": range(1),
        "LABELS": (10,),
        "FINE_TUNED": (10,),
        "RATES": (1e-3,),
        "BUDGETS": (1, 2),
    }
    for name, value in {**cut, "SEVERITIES": (1,), "CORRUPTIONS": ("gain",), "PENALTIES": (1.0,)}.items():
        monkeypatch.setattr(speech, name, value)
    monkeypatch.setattr("sys.argv", ["speech", "--out", str(tmp_path)])
    speech.main()
    monkeypatch.setattr(speech, "FILE", tmp_path / "speech.npz")
    runs = speech.runs()
    assert runs.dtypes.tolist() == old.dtypes.tolist() and runs.tuned.all()
    assert list(zip(runs.arm, runs.steps, strict=True)) == [
        *((kind, 0) for kind in speech.CONTROLS),
        *((arm, steps) for arm in speech.ARMS for steps in (1, 2)),
    ]
    assert speech.corrupted_predictions().shape == (7, 1, 1, 200)


@pytest.mark.slow
def test_the_command_makes_weights_that_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "PRETRAINING_STEPS", 2)
    monkeypatch.setattr(speech.pretrain, "__defaults__", (0, 2))
    monkeypatch.setattr("sys.argv", ["speech", "--pretrain", "--out", str(tmp_path)])
    speech.main()
    monkeypatch.setattr(sys.modules["stablelab.models.wav2vec"], "FILE", tmp_path / speech.WEIGHTS.name)
    monkeypatch.setattr(speech, "CURVE", tmp_path / speech.CURVE.name)
    assert set(bundled_weights()) == set(speech.pretraining_model(0).state_dict())
    assert speech.pretraining_curve().step.tolist() == [0, 1]
