from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

import stablelab as lab
from stablelab import data, models


@pytest.fixture(scope="session")
def corpora() -> Path:
    return data.fetch_corpora()


@pytest.fixture(scope="session")
def efficientnet_file() -> Path:
    return models.fetch_efficientnet()


@pytest.fixture(scope="session")
def digits() -> data.Task:
    return data.digits(train=60, validation=40, test=40, size=32)


@pytest.fixture(scope="session")
def movies(corpora: Path) -> data.Task:
    return data.reviews("movies", train=70, validation=24, test=24, max_tokens=24)


@pytest.fixture
def small_bert() -> BertForSequenceClassification:
    """Two narrow layers with BERT's vocabulary, and much dropout, so that its absence shows."""
    config = BertConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        hidden_dropout_prob=0.4,
        num_labels=2,
    )
    return BertForSequenceClassification(config)


@pytest.fixture(scope="session")
def checked_layers() -> Callable[[nn.Module], tuple[tuple[str, ...], ...]]:
    """A function: a model's layers, after a look at what they promise for any model."""

    def held(model: nn.Module, name: str) -> set[nn.Parameter]:
        try:
            return set(model.get_submodule(name).parameters())
        except AttributeError:
            return {model.get_parameter(name)}

    def check(model: nn.Module) -> tuple[tuple[str, ...], ...]:
        layers, names = models.layers_of(model), models.layer_names(model)
        assert len(names) == len(layers) == len(set(names)) and names[0] == "head" and all(layers)
        flat = [name for layer in layers for name in layer]
        assert sorted(id(p) for name in flat for p in held(model, name)) == sorted(map(id, model.parameters()))
        assert not any(one.startswith(f"{other}.") for one in flat for other in flat)
        return layers

    return check


@pytest.fixture(scope="session")
def tried() -> Callable[..., None]:
    """A function: a model of some family frozen, its features kept or refused, and trained in the ways there are."""

    def attempt(model: nn.Module, task: data.Task, refuses: str = "", **settings: Any) -> None:
        models.check_fits(model, task)
        _frozen(model, task)
        _cached(model, task, refuses)
        _trained(model, task, settings)

    return attempt


def _logits(model: nn.Module, inputs: Any) -> Tensor:
    output = model(**inputs) if isinstance(inputs, dict) else model(inputs)
    return getattr(output, "logits", output)


def _frozen(model: nn.Module, task: data.Task) -> None:
    inputs, targets = task.collate(torch.arange(4))
    with models.freeze(model):
        model.train()
        nn.functional.cross_entropy(_logits(model, inputs), targets).backward()
        learning = [name for name, p in model.named_parameters() if p.grad is not None]
        assert learning and all(name.startswith(models.layers_of(model)[0]) for name in learning)
    model.zero_grad()
    assert all(p.requires_grad for p in model.parameters())


def _cached(model: nn.Module, task: data.Task, refuses: str) -> None:
    if refuses:
        with pytest.raises(ValueError, match=refuses):
            models.cached_features(task, model)
        return
    positions = torch.arange(4)
    kept, _ = models.cached_features(task, model).collate(positions)
    model.eval()
    expected = _logits(model, task.collate(positions)[0])
    torch.testing.assert_close(models.head_of(model)[1](kept), expected, rtol=1e-4, atol=1e-5)


def _trained(model: nn.Module, task: data.Task, settings: dict[str, Any]) -> None:
    """All of it, twice, to the same bits; a layer more at each step; the head alone, in two ways."""
    layers = models.layers_of(model)
    gradual = settings | {"unfrozen": 1, "unfreeze_every": 1, "layer_decay": 0.5}
    plans = (
        (settings, len(layers)),
        (settings, len(layers)),
        (gradual, 3),
        ({"unfrozen": 1}, 1),
        ({"train": "head"}, 1),
    )
    start = copy.deepcopy(model.state_dict())
    curves = []
    for plan, depth in plans:
        model.load_state_dict(start)
        run = lab.fine_tune(model, task, steps=3, batch_size=8, evaluate_every=0, **plan)
        curves.append([step.loss for step in run.start().wait(120).history])
        assert len(curves[-1]) == 3 and all(map(math.isfinite, curves[-1]))
        moved = {name for name, p in model.named_parameters() if not torch.equal(p, start[name])}
        parts = [tuple(f"{part}." for part in layer) for layer in layers]
        learned = [any(f"{name}.".startswith(layer) for name in moved) for layer in parts]
        assert learned == [d < depth for d in range(len(layers))]
    assert curves[0] == curves[1] != curves[2]
    assert curves[3] == pytest.approx(curves[4], abs=1e-4)  # a body that rests is a body whose features are kept
    assert lab.predict(model, task.validation)[0].shape == (len(task.validation), len(task.classes))
