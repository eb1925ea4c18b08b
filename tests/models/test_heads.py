from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from transformers import (
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLNetConfig,
    XLNetForSequenceClassification,
)

from stablelab import data, models


def train_a_little(model: nn.Module, task: data.Task, steps: int = 3) -> None:
    """The ordinary loop: train mode before every step, all parameters that want gradients."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    batches = task.batches(0, 8)
    for k in range(steps):
        model.train()
        inputs, targets = batches(k)
        output = model(**inputs).logits if isinstance(inputs, dict) else model(inputs)
        optimizer.zero_grad()
        nn.functional.cross_entropy(output, targets).backward()
        optimizer.step()


def snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(model: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


@pytest.mark.parametrize(("name", "head"), [
    ("resnet18", "fc"), ("vgg11", "classifier.6"), ("densenet121", "classifier"), ("efficientnet_b0", "classifier.1"),
    ("mobilenet_v3_small", "classifier.3"), ("vit_b_16", "heads.head"), ("swin_t", "head"), ("googlenet", "fc"),
    ("squeezenet1_1", "classifier.1"),
])  # fmt: skip
def test_the_head_of_torchvisions_families(name: str, head: str) -> None:
    with torch.device("meta"):
        model = models.resnet(5, name, weights="random")
    assert models.head_of(model) == (head, model.get_submodule(head))


def test_the_head_of_hugging_face_models(small_bert: BertForSequenceClassification) -> None:
    assert models.head_of(small_bert) == ("classifier", small_bert.classifier)
    with torch.device("meta"):
        roberta = RobertaForSequenceClassification(RobertaConfig(num_hidden_layers=1))
    assert models.head_of(roberta) == ("classifier", roberta.classifier)


def test_no_head() -> None:
    with pytest.raises(ValueError, match=r"Sequential has no linear layer that could be its head"):
        models.head_of(nn.Sequential(nn.ReLU()))


@pytest.mark.slow
def test_freezing_holds_weights_and_batch_norm_statistics(digits: data.Task) -> None:
    model = models.resnet(digits)
    before = snapshot(model)
    models.freeze(model)
    train_a_little(model, digits)
    assert changed(model, before) == {"fc.weight", "fc.bias"}  # running_mean, running_var and their counter are still
    assert model.training and model.fc.training and not model.bn1.training
    models.unfreeze(model)
    train_a_little(model, digits, steps=1)
    assert {"bn1.running_mean", "layer4.1.bn2.running_var", "conv1.weight"} <= changed(model, before)


def test_freezing_stills_dropout_before_the_head(movies: data.Task, small_bert: BertForSequenceClassification) -> None:
    inputs, _ = movies.collate(torch.arange(4))
    small_bert.train()
    assert not torch.equal(small_bert(**inputs).logits, small_bert(**inputs).logits)
    with models.freeze(small_bert):
        small_bert.train()
        assert torch.equal(small_bert(**inputs).logits, small_bert(**inputs).logits)
        before = snapshot(small_bert)
        train_a_little(small_bert, movies)
        assert changed(small_bert, before) == {"classifier.weight", "classifier.bias"}
    assert small_bert.dropout.training and all(p.requires_grad for p in small_bert.parameters())
    assert "train" not in vars(small_bert)


def test_freezing_twice_and_releasing_leaves_the_learners_own_choice() -> None:
    model = models.resnet(3)
    model.conv1.weight.requires_grad_(False)
    models.freeze(model)
    models.freeze(model)
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["fc.weight", "fc.bias"]
    models.unfreeze(model)
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["conv1.weight"]
    assert models.unfreeze(model) is model


def test_all_that_is_new_is_trained_where_that_is_more_than_one_module(movies: data.Task) -> None:
    model = DistilBertForSequenceClassification(DistilBertConfig(dim=16, hidden_dim=16, n_layers=1, n_heads=1))
    before = snapshot(model)
    models.freeze(model)
    train_a_little(model, movies)
    assert {name.split(".")[0] for name in changed(model, before)} == {"pre_classifier", "classifier"}


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.slow
def test_a_copy_of_a_frozen_model_is_frozen_by_itself(duplicate: object) -> None:
    model = models.resnet(3)
    models.freeze(model)
    twin = duplicate(model)  # type: ignore[operator]
    twin.train()
    assert not twin.bn1.training and twin.fc.training
    models.unfreeze(twin).train()
    assert twin.bn1.training and not model.bn1.training and not model.conv1.weight.requires_grad


@pytest.mark.slow
def test_what_fits(digits: data.Task, movies: data.Task, small_bert: BertForSequenceClassification) -> None:
    models.check_fits(models.resnet(digits), digits)
    models.check_fits(models.resnet(12), digits)
    models.check_fits(small_bert, movies)
    models.check_fits(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10)), digits)


@pytest.mark.slow
def test_what_does_not_fit(digits: data.Task, movies: data.Task, small_bert: BertForSequenceClassification) -> None:
    with pytest.raises(ValueError, match=r"^digits has 10 classes, but the head of resnet18 has 9 outputs$"):
        models.check_fits(models.resnet(9), digits)
    with pytest.raises(ValueError, match=r"^resnet18 takes images, but movies holds texts$"):
        models.check_fits(models.resnet(2), movies)
    small_bert.config.vocab_size = 100
    with pytest.raises(ValueError, match=r"movies was tokenized for another model than BertForSequenceClassification"):
        models.check_fits(small_bert, movies)
    small_bert.config.vocab_size, small_bert.config.max_position_embeddings = 30522, 16
    with pytest.raises(ValueError, match=r"movies has sentences of 24 tokens; make it with max_tokens=16 for Bert"):
        models.check_fits(small_bert, movies)
    small_bert.config.num_labels = 10
    with pytest.raises(ValueError, match=r"takes texts, but digits holds images"):
        models.check_fits(small_bert, digits)


def test_how_long_a_sentence_may_be(movies: data.Task) -> None:
    size = {"vocab_size": 30522, "num_hidden_layers": 1, "max_position_embeddings": 26, "pad_token_id": 1}
    with torch.device("meta"):
        roberta = RobertaForSequenceClassification(RobertaConfig(**size))  # counts positions from 2
        models.check_fits(roberta, movies)
        roberta = RobertaForSequenceClassification(RobertaConfig(**size | {"max_position_embeddings": 25}))
        xlnet = XLNetForSequenceClassification(
            XLNetConfig(n_layer=1, vocab_size=30522)
        )  # takes sentences of any length
    with pytest.raises(ValueError, match=r"movies has sentences of 24 tokens; make it with max_tokens=23 for Roberta"):
        models.check_fits(roberta, movies)
    models.check_fits(xlnet, movies)
