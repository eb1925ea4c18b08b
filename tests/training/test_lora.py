from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch
from support.models import small_bert
from torch import Tensor, nn
from transformers import BertForSequenceClassification

from stablelab.training.lora import LoraLinear, add_lora, merge_lora

__all__ = ["small_bert"]

INPUTS = {"input_ids": torch.randint(1, 100, (6, 10), generator=torch.Generator().manual_seed(0))}
TARGETS = torch.arange(6) % 2


def trained(model: nn.Module, steps: int = 5) -> list[float]:
    """Losses of some steps, without dropout."""
    model.eval()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(**INPUTS).logits, TARGETS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model.eval()(**INPUTS).logits


def test_the_first_function_is_the_models_own_and_only_lora_and_the_head_are_trained(
    small_bert: BertForSequenceClassification,
) -> None:
    before = logits(small_bert)
    found = add_lora(small_bert, rank=3, trained="classifier")
    assert found == [f"bert.encoder.layer.{i}.attention.self.{name}" for i in (0, 1) for name in ("query", "value")]
    assert torch.equal(logits(small_bert), before)
    learning = {name for name, p in small_bert.named_parameters() if p.requires_grad}
    assert learning == {f"{name}.{part}" for name in found for part in "AB"} | {"classifier.weight", "classifier.bias"}
    assert sum(p.numel() for name, p in small_bert.named_parameters() if name.endswith(("A", "B"))) == 4 * 3 * (24 + 24)
    start = {name: p.clone() for name, p in small_bert.named_parameters()}
    losses = trained(small_bert)
    moved = {name for name, p in small_bert.named_parameters() if not torch.equal(p, start[name])}
    assert losses[-1] < losses[0] and moved == learning


def test_five_steps_are_those_of_peft(small_bert: BertForSequenceClassification) -> None:
    small_bert = small_bert.double()
    theirs = copy.deepcopy(small_bert)
    config = peft.LoraConfig(r=3, lora_alpha=12, target_modules=["query", "value"], lora_dropout=0.0)
    theirs = peft.get_peft_model(theirs, config)
    add_lora(small_bert, rank=3, alpha=12)
    for name, module in small_bert.named_modules():
        if isinstance(module, LoraLinear):  # the same random numbers, drawn the same way
            layer = theirs.base_model.model.get_submodule(name)
            A = layer.lora_A["default"].weight
            assert module.A.abs().max().item() == pytest.approx(A.abs().max().item(), rel=0.2)
            module.A.data.copy_(A)
            assert torch.equal(module.B, layer.lora_B["default"].weight)
    torch.testing.assert_close(logits(small_bert), logits(theirs), rtol=1e-12, atol=1e-12)
    assert trained(small_bert) == pytest.approx(trained(theirs), rel=1e-10)
    torch.testing.assert_close(logits(small_bert), logits(theirs), rtol=1e-8, atol=1e-10)
    merge_lora(small_bert)
    torch.testing.assert_close(logits(small_bert), logits(theirs.merge_and_unload()), rtol=1e-8, atol=1e-10)


def test_merged_it_is_the_plain_model_again_and_does_the_same(small_bert: BertForSequenceClassification) -> None:
    names = {name: p.shape for name, p in small_bert.named_parameters()}
    add_lora(small_bert, ("query", "value", "intermediate.dense"), trained="classifier")
    trained(small_bert)
    learned = logits(small_bert)
    merge_lora(small_bert)
    assert {name: p.shape for name, p in small_bert.named_parameters()} == names
    torch.testing.assert_close(logits(small_bert), learned, rtol=1e-4, atol=1e-5)


def test_the_random_numbers_are_the_seeds(small_bert: BertForSequenceClassification) -> None:
    state = torch.get_rng_state()
    other = copy.deepcopy(small_bert)
    for model, seed in ((small_bert, 1), (other, 2)):
        add_lora(model, seed=seed)
    assert torch.equal(torch.get_rng_state(), state)
    both = [model.bert.encoder.layer[0].attention.self.query.A for model in (small_bert, other)]
    assert not torch.equal(*both)
    again = nn.ModuleDict({"query": nn.Linear(24, 24)})
    add_lora(again, "query", seed=1)
    assert torch.equal(again["query"].A, both[0])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda m: add_lora(m, ["q_proj", "v_proj", "query"]),
            "no linear layer named q_proj or v_proj; there are query, key, value, dense, classifier",
        ),
        (lambda m: add_lora(nn.Sequential(nn.Conv2d(3, 4, 3))), "no linear layer named query or value; there is none"),
        (lambda m: add_lora(m, trained=["head"]), "no module named head; there are bert, dropout, classifier"),
        (lambda m: add_lora(m, []), "targets is empty"),
        (lambda m: add_lora(m, ["query", "classifier"], trained="classifier"), "classifier is in targets and in"),
        (lambda m: add_lora(m, rank=0), "rank is 0"),
        (lambda m: add_lora(m, alpha=-1.0), "alpha is -1.0"),
    ],
)
def test_bad_input_is_one_line_and_the_model_is_as_it_was(
    small_bert: BertForSequenceClassification, call: Callable[[nn.Module], Any], words: str
) -> None:
    with pytest.raises(ValueError) as caught:
        call(small_bert)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert all(p.requires_grad for p in small_bert.parameters())
    assert not any(isinstance(each, LoraLinear) for each in small_bert.modules())
