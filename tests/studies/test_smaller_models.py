"""The kept study of smaller models, and what makes it anew."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import stablelab as lab
from stablelab.formulas import magnitude_masks
from stablelab.stability.sweeps.execution import one_thread
from stablelab.studies import making_smaller, smaller_models


@pytest.fixture(scope="module")
def digit_model() -> nn.Module:
    return making_smaller.full_model("ResNet-18", smaller_models.task_of("ResNet-18"), 0)


def test_every_contender_has_five_seeds_and_students_every_rate_at_those_that_choose() -> None:
    runs = smaller_models.runs()
    tuned = runs[runs.tuned]
    counts = tuned.groupby(["model", "method", "setting"]).seed.agg(["size", "nunique"])
    assert (counts == len(smaller_models.SEEDS)).all().all() and len(counts) == (14 + 1 + 3) + (14 + 1 + 2)
    for name, setup in smaller_models.SETUPS.items():
        of = runs[runs.model == name]
        assert set(of[of.method == "full"].rate) == set(setup.rates)
        students = of[of.method.isin(["distilled", "student alone"]) & of.seed.isin(smaller_models.TUNING)]
        assert len(students) == 4 * len(setup.student_rates) * len(smaller_models.TUNING)
    assert smaller_models.predictions().shape == (len(runs), 200)
    assert smaller_models.FILE.stat().st_size < 300_000


def test_accuracies_are_those_of_the_predictions() -> None:
    runs, predictions = smaller_models.runs(), smaller_models.predictions()
    for name in smaller_models.SETUPS:
        here = (runs.model == name).to_numpy()
        right = smaller_models.task_of(name).test.targets.numpy()
        assert (predictions[here] == right).mean(axis=1) == pytest.approx(runs.accuracy[here].to_numpy(), abs=1e-6)


@pytest.mark.parametrize(("name", "steps"), [("BERT", 3), ("ResNet-18", 3)])
@pytest.mark.slow
def test_lora_and_students_begin_as_what_they_are_made_of(name: str, steps: int) -> None:
    task = lab.reviews("movies", train=64, validation=20, test=20, max_tokens=24) if name == "BERT" else None
    task = task or lab.digits(train=64, validation=20, test=20)
    full, student = making_smaller.full_model(name, task, 1), making_smaller.student_model(name, task, 1)
    assert making_smaller.stored_bytes(student) < making_smaller.stored_bytes(full)
    if name == "BERT":
        with_lora = making_smaller.lora_model(name, task, 1)
        torch.testing.assert_close(
            making_smaller.answers(with_lora, task.test), making_smaller.answers(full, task.test), atol=1e-5, rtol=0
        )
        assert making_smaller.stored_bytes(with_lora, "adapter") == 4 * (6 * 2 * 8 * (384 + 384) + 384 * 2 + 2)
    setup, teacher = smaller_models.SETUPS[name], making_smaller.answers(full, task.train)
    with one_thread():
        losses = list(smaller_models.training_losses(student, task, setup, 1e-3, 0, steps, teacher, 2.0))
    assert len(losses) == steps and np.isfinite(losses).all()


@pytest.mark.slow
def test_pruning_at_once_is_what_the_formula_says_and_gradual_ends_there(digit_model: nn.Module) -> None:
    task = smaller_models.task_of("ResNet-18")
    model = copy.deepcopy(digit_model)
    weights = [module.weight.detach().clone() for module, _ in making_smaller.prunable(model)]
    acting = [w[w != 0] for w in weights]
    making_smaller.leave_out_what_never_acts(model)
    making_smaller.prune_to(model, 0.8, sum(map(len, acting)))
    masks = [module.weight_mask for module, _ in making_smaller.prunable(model)]
    stay = torch.cat([w[mask.bool()].abs() for w, mask in zip(weights, masks, strict=True)])
    meant = torch.cat([w[kept].abs() for w, kept in zip(acting, magnitude_masks(acting, 0.8), strict=True)])
    assert torch.equal(stay.sort().values, meant.sort().values)  # which of two equal weights goes is anyone's choice
    setup = smaller_models.Setup(8, 1, 4, 1, (), (), ())
    with one_thread():
        gradual = smaller_models.pruned(digit_model, task, setup, 1e-3, 0, 0.8, gradual=True)
    left = sum(int(module.weight.count_nonzero()) for module, _ in making_smaller.prunable(gradual))
    assert left == sum(map(len, acting)) - round(0.8 * sum(map(len, acting)))
    assert not any("mask" in name for name, _ in gradual.named_buffers())


def test_int8_by_torchao_says_which_extra_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao", None)  # as where it is not installed
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(ImportError, match=r"torchao is not here; run: pip install 'stablelab\[int8\]'"):
        making_smaller.in_torchao(nn.Linear(4, 4), activations=False)


@pytest.mark.slow
def test_a_kept_run_of_lora_comes_again() -> None:
    runs = smaller_models.runs()
    kept = runs[(runs.model == "BERT") & (runs.method == "LoRA") & (runs.seed == 1) & (runs.rate == 1e-3)].iloc[0]
    with one_thread():
        (row,) = smaller_models.trained_rows("BERT", smaller_models.task_of("BERT"), "LoRA", 1e-3, 1)
    assert row["accuracy"] == pytest.approx(kept.accuracy, abs=0.02)
    assert row["validation_loss"] == pytest.approx(kept.validation_loss, abs=0.05)


@pytest.mark.slow
def test_a_small_cut_of_the_study_goes_from_the_command_to_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = smaller_models.Setup(8, 1, 3, 1, (1e-3,), (1e-3,), ("noise",))
    task = lab.digits(train=64, validation=10, test=200, size=32)
    cut = {"SETUPS": {"ResNet-18": small}, "SEEDS": range(1), "TUNING": range(1), "SPARSITIES": (0.9,), "ROUNDS": 1}
    for name, value in {**cut, "TEMPERATURES": (2.0,), "STATISTICS_AT": 0.9, "task_of": lambda name: task}.items():
        monkeypatch.setattr(smaller_models, name, value)
    monkeypatch.setattr("sys.argv", ["smaller_models", "--out", str(tmp_path), "--model", "ResNet-18"])
    smaller_models.main()
    assert not (tmp_path / "smaller_models.npz").exists()
    part = tmp_path / "smaller_models.ResNet-18.part.jsonl"
    lines = part.read_text()
    monkeypatch.setattr("sys.argv", ["smaller_models", "--out", str(tmp_path)])
    smaller_models.main()  # goes on: nothing is left to do but the file
    assert part.read_text() == lines
    old = smaller_models.runs()
    monkeypatch.setattr(smaller_models, "FILE", tmp_path / "smaller_models.npz")
    runs = smaller_models.runs()
    assert runs.dtypes.tolist() == old.dtypes.tolist() and runs.tuned.all()
    methods = ["full", "student alone", "distilled", "trained on", "pruned at once", "pruned gradually", "int8"]
    methods += ["pruned at once, new statistics", "pruned gradually, new statistics"]
    assert runs.method.tolist() == methods and smaller_models.predictions().shape == (9, 200)
    assert set(smaller_models.times().method) == {"full", "student alone", "int8", "pruned at once"}
