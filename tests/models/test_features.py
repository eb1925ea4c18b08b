from __future__ import annotations

import time

import pytest
import torch
from torch import nn
from transformers import (
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from stablelab import data, models


def logits_of(model: nn.Module, inputs: object) -> torch.Tensor:
    output = model(**inputs) if isinstance(inputs, dict) else model(inputs)
    return getattr(output, "logits", output)


def small_roberta() -> RobertaForSequenceClassification:
    """Its head is handed the whole sequence, and has a layer and dropout of its own."""
    config = RobertaConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=16,
        vocab_size=30522,
        pad_token_id=0,
    )
    return RobertaForSequenceClassification(config)


def check_same_numbers(task: data.Task, model: nn.Module) -> None:
    """Head on features against the whole frozen model, in their own loops, step by step."""
    features = models.cached_features(task, model)
    models.freeze(model)
    head = models.head_of(model)[1]
    for module in head.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # drawn anew by each of the two loops
    start = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    curves = []
    for trained, learned in ((model, task), (head, features)):
        head.load_state_dict(start)
        optimizer = torch.optim.SGD(head.parameters(), lr=0.05)  # a high one would magnify rounding
        batches, curve = learned.batches(3, 16), []
        for k in range(2 * batches.per_epoch):
            trained.train()
            inputs, targets = batches(k)
            logits = logits_of(trained, inputs)
            optimizer.zero_grad()
            nn.functional.cross_entropy(logits, targets).backward()
            optimizer.step()
            curve.append(logits.detach())
        curves.append(torch.cat(curve))
    torch.testing.assert_close(curves[0], curves[1], rtol=3e-5, atol=3e-5)
    assert not torch.allclose(curves[0][:16], curves[0][-16:])


@pytest.mark.slow
def test_resnets_head_on_features_is_the_frozen_loop(digits: data.Task) -> None:
    check_same_numbers(digits, models.resnet(digits))


def test_berts_head_on_features_is_the_frozen_loop(
    movies: data.Task, small_bert: BertForSequenceClassification
) -> None:
    check_same_numbers(movies, small_bert)


def test_robertas_head_on_features_is_the_frozen_loop(movies: data.Task) -> None:
    check_same_numbers(movies, small_roberta())


def test_evaluation_has_the_same_examples_in_the_same_order(
    movies: data.Task, small_bert: BertForSequenceClassification
) -> None:
    features = models.cached_features(movies, small_bert)
    small_bert.eval()
    for (inputs, targets), (kept, same) in zip(movies.test.batches(7), features.test.batches(7), strict=True):
        assert torch.equal(targets, same)
        torch.testing.assert_close(logits_of(small_bert, inputs), small_bert.classifier(kept), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_it_is_a_task_like_any_other(digits: data.Task) -> None:
    model = models.resnet(digits)
    features = models.cached_features(digits, model)
    assert repr(features) == repr(digits) and features.fingerprint == digits.fingerprint
    assert features.collate(torch.arange(4))[0].shape == (4, 512)
    assert features.example(2)[1] == digits.example(2)[1]
    models.check_fits(model.fc, features)
    models.check_fits(model, features)


@pytest.mark.slow
def test_computed_on_first_use_once_and_without_a_trace(digits: data.Task) -> None:
    model = models.resnet(digits)
    model.train()
    model.bn1.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    calls: list[tuple[int, int]] = []
    features = models.cached_features(digits, model, progress=lambda done, total: calls.append((done, total)))
    assert calls == []
    features.batches(0, 8)(0)
    assert calls == [(60, 60)]
    features.batches(1, 8)(9)
    assert calls == [(60, 60)]  # kept, and the test split has not been touched
    next(features.validation.batches(8))
    assert calls == [(60, 60), (40, 40)]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training and model.layer1[0].bn1.training and not model.bn1.training
    assert not model.fc._forward_pre_hooks
    assert not features.train.store.all().requires_grad


@pytest.mark.slow
def test_an_epoch_costs_next_to_nothing(digits: data.Task) -> None:
    model = models.resnet(digits)
    features = models.cached_features(digits, model)
    features.batches(0, 10)(0)

    def seconds(task: data.Task, forward: nn.Module) -> float:
        batches = task.batches(0, 10)
        start = time.perf_counter()
        with torch.no_grad():
            for k in range(batches.per_epoch):
                forward(batches(k)[0])
        return time.perf_counter() - start

    model.eval()
    assert seconds(digits, model) > 10 * min(seconds(features, model.fc) for _ in range(3))


def test_heads_whose_output_is_not_the_logits_are_refused(digits: data.Task, movies: data.Task) -> None:
    squeeze = models.resnet(10, name="squeezenet1_1")
    with pytest.raises(ValueError, match=r"what 'classifier\.1' of squeezenet1_1 puts out is not its logits yet"):
        models.cached_features(digits, squeeze)
    gpt2 = GPT2ForSequenceClassification(GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=30522, pad_token_id=0))
    with pytest.raises(ValueError, match=r"what 'score' of GPT2ForSequenceClassification puts out is not its logits"):
        models.cached_features(movies, gpt2)
    distil = DistilBertForSequenceClassification(DistilBertConfig(dim=16, hidden_dim=16, n_layers=1, n_heads=1))
    with pytest.raises(ValueError, match=r"has pre_classifier and classifier as its head, so features cannot be kept"):
        models.cached_features(movies, distil)
