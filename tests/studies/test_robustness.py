"""The kept results of notebook 10, and what makes them anew."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import stablelab as lab
from stablelab.stability.sweeps.execution import one_thread
from stablelab.studies import robustness


def test_every_contender_has_five_seeds_on_all_digits() -> None:
    runs, wrong = robustness.study(), robustness.wrong()
    counts = runs.groupby(["steps", "name", "statistics"]).seed.nunique()
    assert len(runs) == counts.sum()  # no seed twice
    assert (counts == len(robustness.SEEDS)).all() and len(counts) == 9 + 15
    assert wrong.shape == (len(runs), 19, robustness.TEST)
    assert 0 < wrong[:, 0].mean() < 0.1 < wrong[:, 1:].mean() < 0.3
    assert runs.train_loss.isna().tolist() == runs["name"].str.startswith("answers").tolist()
    assert robustness.FILE.stat().st_size < 100_000


def test_the_learning_rate_of_each_recipe_has_the_lowest_validation_loss() -> None:
    table = robustness.tuning().groupby(["recipe", "rate"]).loss.mean().unstack()
    assert table.idxmin(axis=1).to_dict() == robustness.TUNED


@pytest.mark.slow
def test_its_loop_is_that_of_fine_tune() -> None:
    task = robustness.digit_task()
    one, other = lab.resnet(task), lab.resnet(task)
    with one_thread():
        run = lab.fine_tune(
            one,
            task,
            learning_rate=1e-3,
            warmup_steps=5,
            rotation=20.0,
            batch_size=32,
            steps=2,
            seed=3,
            evaluate_every=0,
        )
        run.start()
        run.wait()
        settings = robustness.settings_of("rotation", schedule="constant")
        assert len(list(robustness.training(other, task, settings, 2, 3))) == 2
    assert torch.equal(one.fc.weight, other.fc.weight)


@pytest.mark.slow
def test_new_statistics_are_those_of_the_clean_training_digits() -> None:
    task = robustness.digit_task()
    model = lab.resnet(task)
    again = robustness.anew(task, model)
    with torch.no_grad():
        pixels = torch.cat([x for x, _ in task.train.batches(50)])
        entering = again.conv1(pixels)
    assert again.bn1.running_mean == pytest.approx(entering.mean(dim=(0, 2, 3)), abs=1e-4)
    assert torch.equal(again.fc.weight, model.fc.weight)


@pytest.mark.slow
def test_statistics_under_noise_are_those_of_the_training_digits_with_the_recipes_own_noise() -> None:
    task = robustness.digit_task()
    model = lab.resnet(task)
    noisy = robustness.anew_under_noise(task, model, seed=1)
    settings = robustness.settings_of("noise")
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        entering = noisy.conv1(torch.cat([robustness.augment(x, settings) for x, _ in task.train.batches(50)]))
    assert noisy.bn1.running_mean == pytest.approx(entering.mean(dim=(0, 2, 3)), abs=1e-4)
    assert noisy.bn1.running_mean != pytest.approx(robustness.anew(task, model).bn1.running_mean, abs=1e-2)
    assert torch.equal(noisy.fc.weight, model.fc.weight)


@pytest.mark.slow
def test_kept_features_of_sentences_are_what_bert_comes_to() -> None:
    kept = robustness.sentences()
    assert {name: len(y) for name, (_, y) in kept.items() if name.startswith("movies")} == {
        "movies, train": 500,
        "movies, test": 200,
    }
    films = lab.reviews("movies", train=500, validation=20, test=200, max_tokens=32)
    pairs = lab.negation_pairs(films)
    with one_thread():
        live = robustness.mean_pooled(lab.bert(2).eval(), pairs)
    np.testing.assert_allclose(live, kept["pairs"][0], atol=2e-3)
    assert torch.equal(pairs.targets, kept["pairs"][1])


@pytest.mark.slow
def test_a_small_cut_of_the_study_goes_from_the_command_to_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut: dict[str, Any] = {"SEEDS": range(1), "SHORT": 1, "LONG": 3, "RATES": (1e-3,), "TEST": 4}
    for name, small in cut.items():
        monkeypatch.setattr(robustness, name, small)
    digits = lab.digits(train=64, validation=10, test=4, size=16)
    first = lab.resnet(digits)
    monkeypatch.setattr(robustness, "digit_task", lambda: digits)
    monkeypatch.setattr(robustness, "resnet", lambda task, seed=0: deepcopy(first))  # made once
    films = lab.reviews("movies", train=20, validation=4, test=4, max_tokens=32)
    monkeypatch.setattr(robustness, "sentence_splits", lambda: {"movies, test": films.test})
    files = {name: tmp_path / getattr(robustness, name).name for name in ("FILE", "TEXTS")}
    monkeypatch.setattr("sys.argv", ["robustness", "--out", str(tmp_path)])
    robustness.main()
    for name, file in files.items():
        monkeypatch.setattr(robustness, name, file)
    runs = robustness.study()
    assert sorted(runs.steps.tolist()) == [1] * 9 + [3] * 15
    assert robustness.wrong().shape == (24, 19, 4)
    assert robustness.tuning().recipe.tolist() == [name for name in robustness.RECIPES for _ in range(2)]
    assert robustness.sentences()["movies, test"][0].shape == (4, 384)
