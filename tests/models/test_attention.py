"""Attention maps: the weights that the model computes with, and nothing of the model changed."""

from __future__ import annotations

import copy

import pytest
import torch
from torchvision import models as vision
from torchvision.models.resnet import BasicBlock
from transformers import (
    FNetConfig,
    FNetForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    XLNetConfig,
    XLNetForSequenceClassification,
)

from stablelab import models
from stablelab.data import tokenizer_for

SENTENCE = "A film that is not good, unfortunately."
SMALL = {"vocab_size": 30522, "num_labels": 2, "pad_token_id": 0}


def inputs() -> dict[str, torch.Tensor]:
    encoded = tokenizer_for()(SENTENCE, return_tensors="pt")
    return {name: encoded[name] for name in ("input_ids", "attention_mask")}


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_the_weights_are_those_of_a_forward_pass_that_says_them(small_bert, implementation) -> None:
    small_bert.set_attn_implementation(implementation)
    small_bert.train()
    state, config = torch.get_rng_state(), copy.deepcopy(small_bert.config)
    maps = models.attention_maps(small_bert, SENTENCE)
    assert small_bert.training and torch.equal(torch.get_rng_state(), state)
    assert small_bert.config.to_dict() == config.to_dict()
    assert small_bert.config._attn_implementation == implementation, "it is put back"
    plain = small_bert.eval()(**inputs()).logits
    small_bert.set_attn_implementation("eager")
    told = small_bert(**inputs(), output_attentions=True)
    torch.testing.assert_close(told.logits, plain)
    assert torch.equal(maps.weights, torch.cat(told.attentions).detach())


def test_a_map_is_picked_by_layer_and_head(small_bert) -> None:
    maps = models.attention_maps(small_bert, SENTENCE)
    T = len(maps.tokens)
    assert maps.weights.shape == (2, 2, T, T) and maps.tokens[3:6] == ("that", "is", "not")
    torch.testing.assert_close(maps.weights.sum(dim=-1), torch.ones(2, 2, T))
    assert torch.equal(maps.of(), maps.weights[1].mean(dim=0))
    assert torch.equal(maps.of(0, -1), maps.weights[0, 1])
    assert (maps.called(), maps.called(0, 1)) == ("layer 2 of 2, mean of 2 heads", "layer 1 of 2, head 2 of 2")
    assert repr(maps) == f"attention of 2 layers × 2 heads over {T} tokens"


def test_the_strongest_links_lead_to_another_token() -> None:
    weights = torch.tensor([[0.9, 0.1, 0.0], [0.5, 0.2, 0.3], [0.0, 0.7, 0.3]]).view(1, 1, 3, 3)
    maps = models.AttentionMaps(("a", "b", "c"), weights)
    assert [(who, whom) for who, whom, _ in maps.strongest(2)] == [("c", "b"), ("b", "a")]
    assert maps.strongest(1)[0][2] == pytest.approx(0.7) and len(maps.strongest(99)) == 6


def test_other_families() -> None:
    xlnet = XLNetForSequenceClassification(XLNetConfig(d_model=16, n_layer=2, n_head=2, d_inner=32, **SMALL))
    gpt2 = GPT2ForSequenceClassification(
        GPT2Config(n_embd=16, n_layer=2, n_head=2, bos_token_id=101, eos_token_id=102, **SMALL)
    )
    for model in (xlnet, gpt2):
        weights = models.attention_maps(model, SENTENCE).weights
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:-1]))
    assert weights.triu(1).abs().max() == 0, "a token of GPT-2 looks only back"


def test_models_without_attention_weights_say_so_in_one_line() -> None:
    fnet = FNetForSequenceClassification(FNetConfig(hidden_size=16, num_hidden_layers=1, intermediate_size=32, **SMALL))
    resnet = vision.ResNet(BasicBlock, [1, 1, 1, 1], num_classes=2)
    for model, message in (
        (fnet, "FNetForSequenceClassification gives no attention weights"),
        (resnet, "ResNet does not read sentences; give a Hugging Face model for texts, such as bert's"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            models.attention_maps(model, SENTENCE)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("layer", "head", "message"),
    [
        (2, None, "layer is 2; there are 2: 0 to 1, or -1 for the last"),
        (0, -3, "head is -3; there are 2"),
        (0, True, "head is True"),
        (0.5, None, "layer is 0.5"),
    ],
)
def test_a_layer_that_is_not_there_is_refused(small_bert, layer, head, message) -> None:
    with pytest.raises(ValueError, match=message):
        models.attention_maps(small_bert, SENTENCE).of(layer, head)
