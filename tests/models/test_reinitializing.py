from __future__ import annotations

import pytest
import torch
from torch import nn

from stablelab import models
from stablelab.models import reinitialize_layers


def changed(before: dict[str, torch.Tensor], model: nn.Module) -> set[str]:
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


@pytest.mark.parametrize("layers", [1, 2])
def test_the_top_of_a_bert_is_as_before_pre_training_and_all_else_as_it_was(layers: int) -> None:
    model = models.bert(2, seed=3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    assert reinitialize_layers(model, layers, seed=3) is model
    assert torch.equal(torch.get_rng_state(), state)
    tops = ("bert.pooler.", *(f"bert.encoder.layer.{5 - i}." for i in range(layers)))
    new = {name for name in before if name.startswith(tops)}
    assert changed(before, model) == new - {"bert.pooler.dense.bias"}  # which was 0 before
    assert len(new) == 16 * layers + 2
    for name in new:
        tensor = model.state_dict()[name]
        if tensor.dim() == 2:
            assert tensor.std() == pytest.approx(0.02, rel=0.02) and tensor.mean() == pytest.approx(0, abs=2e-4)
        else:
            assert torch.equal(tensor, torch.full_like(tensor, float("LayerNorm.weight" in name)))
    assert model.stablelab_source.endswith(f", {layers} new top layer" + "s" * (layers > 1))


@pytest.mark.slow
def test_the_seed_decides_what_is_drawn_and_the_head_is_another_stream() -> None:
    drawn = [reinitialize_layers(models.bert(2, seed=seed), 1, seed) for seed in (0, 0, 1)]
    one, same, other = (model.bert.pooler.dense.weight for model in drawn)
    assert torch.equal(one, same) and not torch.equal(one, other)
    first = drawn[0].bert.encoder.layer[5].attention.self.query.weight.flatten()[:768]
    assert not torch.equal(first, drawn[0].classifier.weight.flatten())


def test_any_other_model_is_drawn_by_its_own_layers() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Linear(4, 2))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    reinitialize_layers(model)
    assert changed(before, model) == {"2.weight", "2.bias"}


def test_more_layers_than_there_are_are_refused() -> None:
    with pytest.raises(ValueError, match="layers is 3; under its head this model has 1"):
        reinitialize_layers(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), 3)
    with pytest.raises(ValueError, match="the model is not on the CPU"):
        reinitialize_layers(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).to("meta"))
