"""Attributions: complete, captum's own, and of a model that nobody notices having been looked into."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from captum.attr import LayerIntegratedGradients, Occlusion
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    T5Config,
    T5ForSequenceClassification,
    XLNetConfig,
    XLNetForSequenceClassification,
)

from stablelab import models
from stablelab.data import tokenizer_for
from stablelab.data.images import Pictures
from stablelab.models.t5 import MeanPooledT5

SENTENCE = "A film that is not good, unfortunately."
SMALL = {"vocab_size": 30522, "num_labels": 2, "pad_token_id": 0}
T5 = T5Config(d_model=16, num_layers=2, num_heads=2, d_ff=32, d_kv=8, decoder_start_token_id=0, **SMALL)


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)


@pytest.fixture
def convnet() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * 14 * 14, 3)
    return nn.Sequential(*layers)


def louder(model: nn.Module) -> nn.Module:
    """Random weights as they are drawn say next to nothing."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=0.2, generator=generator)
    return model


def state_of(model: nn.Module) -> list[object]:
    """All that a look could leave behind."""
    parameters = [(p.detach().clone(), p.requires_grad, copy.copy(p.grad)) for p in model.parameters()]
    modules = [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    buffers = [b.clone() for b in model.buffers()]
    return [parameters, modules, buffers, torch.get_rng_state(), repr(getattr(model, "config", ""))]


def same(a: object, b: object) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.equal(a, b)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def test_the_shares_of_a_sentence_sum_to_what_the_logit_moved(small_bert) -> None:
    model = louder(small_bert)
    found = models.attributions(model, SENTENCE, target=1, steps=64)
    assert found.tokens[0] == "[CLS]" and found.tokens[-1] == "[SEP]" and "unfortunately" in found.tokens
    assert found.scores.shape == (len(found.tokens),)
    moved = found.logit - found.baseline_logit
    assert abs(moved) > 0.05 and found.completeness_error < 1e-3 * abs(moved)
    assert found.scores[[0, -1]].tolist() == [0, 0], "special tokens are the same in the empty sentence"
    few = models.attributions(model, SENTENCE, target=1, steps=3)
    assert few.completeness_error > found.completeness_error
    names = [name for name, _ in found.strongest(2)]
    assert names[0] == found.tokens[int(found.scores.abs().argmax())] and f"strongest {names[0]} " in repr(found)


def test_it_is_captums_over_the_embedding_layer(small_bert) -> None:
    model = louder(small_bert).eval()
    inputs = {k: v for k, v in tokenizer_for()(SENTENCE, return_tensors="pt").items() if k != "token_type_ids"}
    logits = model(**inputs).logits[0].detach()
    ids = inputs["input_ids"]
    padding = torch.tensor([[101, *[0] * (ids.shape[1] - 2), 102]])
    theirs = LayerIntegratedGradients(lambda x: model(x).logits, model.get_input_embeddings())
    expected = theirs.attribute(ids, padding, target=int(logits.argmax()), n_steps=20).sum(dim=-1)[0]
    model.zero_grad()
    found = models.attributions(model, SENTENCE, steps=20)
    torch.testing.assert_close(found.scores, expected.detach(), rtol=1e-4, atol=1e-6)
    assert found.target == int(logits.argmax())
    assert found.probability == pytest.approx(float(logits.softmax(0).max()), rel=1e-5)
    assert found.logit == pytest.approx(float(logits.max()), rel=1e-4)
    assert found.baseline_logit == pytest.approx(model(padding).logits[0, found.target].item(), rel=1e-4, abs=1e-6)


def test_the_shares_of_a_picture_sum_to_what_the_logit_moved(convnet, picture) -> None:
    found = models.attributions(convnet, picture, classes=("cat", "dog", "cow"))
    convnet.eval()
    pixels = torch.from_numpy(np.stack([picture, np.zeros_like(picture)])).permute(0, 3, 1, 2)
    full, black = convnet(Pictures(pixels).take(torch.arange(2))).detach()
    c = int(full.argmax())
    assert (found.target, found.label) == (c, ("cat", "dog", "cow")[c])
    assert (found.logit, found.baseline_logit) == pytest.approx((float(full[c]), float(black[c])), rel=1e-5, abs=1e-6)
    assert found.scores.shape == (16, 16) and np.array_equal(found.picture, picture)
    assert found.completeness_error < 1e-3 * abs(found.logit - found.baseline_logit)
    assert found.strongest(1)[0][0].startswith("row ")


def test_occlusion_says_by_how_much_the_logit_falls(convnet, picture) -> None:
    found = models.attributions(convnet, picture, target=2, method="occlusion")
    convnet.eval()
    x = Pictures(torch.from_numpy(picture).permute(2, 0, 1)[None]).take(torch.tensor([0]))
    black = Pictures(torch.zeros(1, 3, 16, 16, dtype=torch.uint8)).take(torch.tensor([0]))
    covered = x.clone()
    covered[..., :2, :2] = black[..., :2, :2]  # the only patch that reaches the corner
    fallen = (convnet(x) - convnet(covered))[0, 2].detach()
    assert found.scores[0, 0].item() == pytest.approx(float(fallen), abs=1e-5)
    patch = {"sliding_window_shapes": (3, 2, 2), "strides": (3, 1, 1), "baselines": black, "perturbations_per_eval": 99}
    expected = Occlusion(convnet).attribute(x, target=2, **patch)[0].mean(dim=0)
    torch.testing.assert_close(found.scores, expected, rtol=1e-4, atol=1e-6)


def test_a_models_own_input_is_measured_against_zeros() -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(8, 2))
    x = torch.randn(2, 2, 2)
    found = models.attributions(linear, x, target=0, steps=2)
    expected = (linear[1].weight[0].view(2, 2, 2) * x).sum(dim=0).detach()
    torch.testing.assert_close(found.scores, expected)
    assert (found.picture.min(), found.picture.max()) == (0, 1)


@pytest.mark.parametrize("mode", [True, False])
def test_nobody_notices(mode: bool, small_bert, convnet, picture) -> None:
    convnet[0].weight.requires_grad_(False)
    for model, example in ((small_bert, SENTENCE), (convnet, picture)):
        model.train(mode)
        last = list(model.parameters())[-1]
        last.grad = torch.ones_like(last)
        before = state_of(model)
        with torch.no_grad():
            first = models.attributions(model, example, steps=4)
        assert same(state_of(model), before)
        assert torch.equal(models.attributions(model, example, steps=4).scores, first.scores), "no dropout, no chance"


def test_a_frozen_model_is_looked_into_and_stays_frozen(small_bert) -> None:
    with models.freeze(small_bert):
        small_bert.train()
        expected = models.attributions(small_bert, SENTENCE, steps=2)
        assert small_bert.classifier.training and not small_bert.bert.training
    assert torch.equal(models.attributions(small_bert, SENTENCE, steps=2).scores, expected.scores)


@pytest.mark.parametrize("make", [
    lambda: RobertaForSequenceClassification(
        RobertaConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, **SMALL)
    ),
    lambda: GPT2ForSequenceClassification(
        GPT2Config(n_embd=16, n_layer=2, n_head=2, bos_token_id=101, eos_token_id=102, **SMALL)
    ),
    lambda: XLNetForSequenceClassification(XLNetConfig(d_model=16, n_layer=2, n_head=2, d_inner=32, **SMALL)),
    lambda: MeanPooledT5(T5),
])  # fmt: skip
def test_other_families(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    found = models.attributions(make(), SENTENCE, target=0, steps=40)
    assert found.scores.abs().max() > 0
    assert found.completeness_error < 0.05 * float(found.scores.abs().sum())


@pytest.mark.slow
def test_the_bundled_bert() -> None:
    model = models.bert(("negative", "positive"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = models.attributions(model, "good", target="positive", steps=16)
        maps = models.attention_maps(model, "good")
    assert (found.tokens, found.label, found.target) == (("[CLS]", "good", "[SEP]"), "positive", 1)
    assert found.completeness_error < 1e-3
    assert maps.tokens == found.tokens and maps.weights.shape == (6, 12, 3, 3)


def test_a_network_that_works_in_place_and_a_picture_that_is_not_square(picture) -> None:
    model = nn.Sequential(BasicBlock(3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    found = models.attributions(model, np.repeat(picture, 2, axis=1), steps=64)
    assert found.scores.shape == (16, 32)
    assert found.completeness_error < 0.05 * float(found.scores.abs().sum())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"example": " "}, "sentence is ' '; it must be a text of at least one word"),
        ({"steps": 1}, "steps is 1; it must be a whole number, 2 or more"),
        ({"method": "magic"}, "method is 'magic'; there are integrated gradients and occlusion"),
        ({"method": "occlusion"}, "occlusion is for pictures; a sentence takes integrated gradients"),
        ({"target": 2}, "target is 2; it must be a class from 0 to 1, or one of LABEL_0, LABEL_1"),
        ({"target": "good"}, "target is 'good'"),
        ({"target": True}, "target is True"),
        ({"max_tokens": 3}, "max_tokens is 3; it must be a whole number, 4 or more"),
        ({"example": np.zeros((8, 8, 3), np.uint8)}, "reads sentences; give it a text, not ndarray"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(small_bert, arguments, message) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        models.attributions(small_bert, **{"example": SENTENCE, **arguments})
    assert "\n" not in str(caught.value)


def test_models_that_cannot_take_the_input_say_so_in_one_line(convnet, small_bert) -> None:
    refusals: list[tuple[nn.Module, object, str]] = [
        (convnet, SENTENCE, "Sequential does not read sentences; give a Hugging Face model for texts"),
        (convnet, np.zeros((8, 8)), r"the picture is torch.float64 of shape \(8, 8\); it must be uint8 \(H, W, 3\)"),
        (T5ForSequenceClassification(T5), SENTENCE, "embeds other tokens than the sentence's"),
    ]
    for model, example, message in refusals:
        with pytest.raises(ValueError, match=message) as caught:
            models.attributions(model, example)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    small_bert.resize_token_embeddings(500)
    with pytest.raises(ValueError, match="the tokenizer belongs to another model than Bert"):
        models.attributions(small_bert, SENTENCE)
