from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.models import small_bert
from torch import Tensor, nn
from transformers import BertForSequenceClassification

import stablelab as lab
from stablelab import formulas

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
    model = lab.lora(small_bert, rank=3)
    assert torch.equal(logits(model), before)
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name.split("lora_")[0] for name in learning if "lora_" in name} == {
        f"base_model.model.bert.encoder.layer.{i}.attention.self.{name}." for i in (0, 1) for name in ("query", "value")
    }
    assert {name.rpartition(".")[0] for name in learning if "lora_" not in name} == {
        "base_model.model.classifier.modules_to_save.default"
    }
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    losses = trained(model)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, start[name])}
    assert losses[-1] < losses[0] and moved == learning


def test_a_layer_does_what_the_formula_says_and_merged_it_is_plain_again(
    small_bert: BertForSequenceClassification,
) -> None:
    plain = {name: p.shape for name, p in small_bert.named_parameters()}
    model = lab.lora(small_bert.double(), rank=3, alpha=12.0)
    trained(model)
    layer: Any = model.get_submodule("base_model.model.bert.encoder.layer.0.attention.self.query")
    A, B = layer.lora_A.default.weight, layer.lora_B.default.weight
    assert B.abs().max() > 0
    x = torch.randn(5, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = formulas.lora(x, layer.base_layer.weight, A, B, 12.0, layer.base_layer.bias)
    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-12)
    learned = logits(model)
    merged = model.merge_and_unload()
    assert {name: p.shape for name, p in merged.named_parameters()} == plain
    torch.testing.assert_close(logits(merged), learned, rtol=1e-8, atol=1e-10)


def test_the_random_numbers_are_the_seeds() -> None:
    plain = [nn.ModuleDict({"query": nn.Linear(24, 24)}) for _ in range(3)]
    state = torch.get_rng_state()
    models = [lab.lora(each, "query", trained=(), seed=seed) for each, seed in zip(plain, (1, 1, 2), strict=True)]
    assert torch.equal(torch.get_rng_state(), state)
    one, again, other = (next(p for n, p in model.named_parameters() if "lora_A" in n) for model in models)
    assert torch.equal(one, again) and not torch.equal(one, other)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda m: lab.lora(m, ["q_proj", "v_proj", "query"]),
            "no linear layer named q_proj or v_proj; there are query, key, value, dense, classifier",
        ),
        (lambda m: lab.lora(nn.Sequential(nn.Conv2d(3, 4, 3))), "no linear layer named query or value; there is none"),
        (lambda m: lab.lora(m, trained=["head"]), "no module named head; there are bert, dropout, classifier"),
        (lambda m: lab.lora(m, []), "targets is empty"),
        (lambda m: lab.lora(m, rank=0), "rank is 0"),
        (lambda m: lab.lora(m, alpha=-1.0), "alpha is -1.0"),
    ],
)
def test_bad_input_is_one_line_and_the_model_is_as_it_was(
    small_bert: BertForSequenceClassification, call: Callable[[nn.Module], Any], words: str
) -> None:
    names = [name for name, _ in small_bert.named_parameters()]
    with pytest.raises(ValueError) as caught:
        call(small_bert)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert all(p.requires_grad for p in small_bert.parameters())
    assert [name for name, _ in small_bert.named_parameters()] == names
