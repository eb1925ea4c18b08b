"""The loop of the benchmark is a plain one, and its record comes back from a file as it was."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny_recipes import picture_recipe, text_recipe
from torch.nn import functional as F

from stablelab.doctor.benchmark.recipe import train
from stablelab.doctor.benchmark.record import RunRecord, load_records, save_records
from stablelab.studies.keeping import provenance_of


def test_the_loop_is_the_plain_loop_of_torch_bit_for_bit() -> None:
    recipe = picture_recipe()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = recipe.make_model()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        losses = []
        for k in range(recipe.steps):
            if k % 6 == 0:
                order = torch.randperm(96)
            batch = order[k % 6 * 16 : (k % 6 + 1) * 16]
            for group in optimizer.param_groups:
                group["lr"] = 0.1 * (1 - k / recipe.steps)
            loss = F.cross_entropy(model(recipe.train.inputs[batch]), recipe.train.targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    record = train(recipe, 3)
    assert record.log.losses.tolist() == losses
    for ours, plain in zip(record.setup().model.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, plain)


@pytest.mark.slow
def test_what_an_observer_and_validations_look_at_changes_no_number_and_no_random_state() -> None:
    before = torch.get_rng_state()
    first = train(text_recipe(), 0)
    again = train(text_recipe(), 0)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(first.log.losses, again.log.losses)
    assert not np.array_equal(first.log.losses, train(text_recipe(), 1).log.losses)


def test_it_tells_each_step_to_a_dashboard() -> None:
    said: list[dict[str, float]] = []
    log = train(picture_recipe(), 0, record=lambda **numbers: said.append(numbers)).log
    assert [each["loss"] for each in said] == log.losses.tolist()
    assert [each["learning_rate"] for each in said] == log.learning_rates.tolist()
    assert [each["validation_loss"] for each in said if "validation_loss" in each] == log.validation_losses.tolist()
    assert len(log.validation_losses) == 12


@pytest.mark.slow
def test_a_record_comes_back_from_a_file_without_its_model(tmp_path: Path) -> None:
    records = [train(picture_recipe(), 0), train(replace(text_recipe(), half=True), 1, kind="half", severity=0.5)]
    records[1].probes = {"a": {"x": math.nan, "y": 2.5}, "b": "it cannot be known"}
    save_records(tmp_path / "two.npz", records, "made by a test")
    assert provenance_of(tmp_path / "two.npz") == "made by a test"
    for before, after in zip(records, load_records(tmp_path / "two.npz"), strict=True):
        assert (before.task, before.kind, before.severity, before.seed) == (
            after.task,
            after.kind,
            after.severity,
            after.seed,
        )
        for part, tolerance in (("log", 1e-6), ("observed", 5e-3)):
            mine, read = getattr(before, part), getattr(after, part)
            for each in fields(mine):
                one, other = getattr(mine, each.name), getattr(read, each.name)
                if isinstance(one, np.ndarray):
                    np.testing.assert_allclose(one, other, rtol=tolerance, equal_nan=True, err_msg=each.name)
                elif isinstance(one, float):
                    assert one == pytest.approx(other), each.name
                else:
                    assert one == other, each.name
    assert math.isnan(after.probes["a"]["x"]) and after.probes["b"] == "it cannot be known"  # type: ignore[index]
    with pytest.raises(ValueError, match="movies, half, seed 1 was read: its model is gone"):
        after.setup()
    after.save(tmp_path / "one.npz")
    assert RunRecord.load(tmp_path / "one.npz").kind == "half"
