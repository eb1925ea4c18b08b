"""A run of a model with LoRA is a run like any other, made by peft or by ``lab.lora``."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from support.models import corpora, movies, small_bert
from torch import nn
from transformers import BertForSequenceClassification

import stablelab as lab
from stablelab.data import Task
from stablelab.models import layer_names
from stablelab.models.heads import new_modules

__all__ = ["corpora", "movies", "small_bert"]

RUN = {"steps": 4, "batch_size": 8, "learning_rate": 1e-2, "evaluate_every": 2}


def with_lora(kind: str, model: BertForSequenceClassification) -> Any:
    if kind == "ours":
        return lab.lora(model, rank=2)
    config = LoraConfig(r=2, target_modules=["query", "value"], modules_to_save=["classifier"])
    return get_peft_model(model, config)


def frozen(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}


@pytest.mark.parametrize("kind", ["peft", "ours"])
@pytest.mark.slow
def test_it_trains_what_lora_trains_and_branches_and_is_saved(
    kind: str, small_bert: BertForSequenceClassification, movies: Task, tmp_path: Path
) -> None:
    other = with_lora(kind, copy.deepcopy(small_bert))
    model = with_lora(kind, small_bert)
    before, trained = frozen(model), sum(p.numel() for p in model.parameters() if p.requires_grad)
    run = lab.fine_tune(model, movies, **RUN)
    run.start().wait(60)
    losses = [step.loss for step in run.history]
    assert run.state == "finished" and run.log().parameters == trained == 4 * 2 * (24 + 24) + 24 * 2 + 2
    after = frozen(model)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    branch = run.branch(2)
    branch.start().wait(60)
    assert [step.loss for step in branch.history] == losses
    lab.load(run.save(tmp_path / "run"), other, movies)
    assert all(
        torch.equal(*pair) for pair in zip(model.state_dict().values(), other.state_dict().values(), strict=True)
    )
    assert lab.dashboard(run) is not None


def test_its_layers_are_those_of_the_model_that_peft_wraps(
    small_bert: BertForSequenceClassification, movies: Task
) -> None:
    names, head = layer_names(small_bert), new_modules(small_bert)
    model = with_lora("peft", small_bert)
    assert layer_names(model) == names == ("head", "block 2", "block 1", "embeddings")
    assert [name for name, _ in new_modules(model)] == [f"base_model.model.{name}" for name, _ in head]
    run = lab.fine_tune(model, movies, unfrozen=1, **RUN)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    run.start().wait(60)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, start[name])}
    assert moved == {f"base_model.model.classifier.modules_to_save.default.{part}" for part in ("weight", "bias")}


def test_the_head_alone_can_be_trained(small_bert: BertForSequenceClassification, movies: Task) -> None:
    run = lab.fine_tune(with_lora("peft", small_bert), movies, train="head", **RUN)
    run.start().wait(60)
    assert run.state == "finished" and run.log().parameters == 24 * 2 + 2


@pytest.mark.parametrize("kind", ["peft", "ours"])
def test_its_export_says_in_one_line_why_not(
    kind: str, small_bert: BertForSequenceClassification, movies: Task, tmp_path: Path
) -> None:
    run = lab.fine_tune(with_lora(kind, small_bert), movies, **RUN)
    run.start().wait(60)
    with pytest.raises(ValueError, match="part of its weights is frozen") as caught:
        lab.export(run, tmp_path / "export")
    assert "\n" not in str(caught.value) and not (tmp_path / "export").exists()
