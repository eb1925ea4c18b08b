"""Trainings in miniature for the tests of probes: a net with batch norm and dropout on pictures, a BERT on tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, BertForSequenceClassification

from stablelab.doctor.setup import TensorExamples, TrainingSetup
from stablelab.doctor.training_log import TrainingLog

WORDS, PAD = 60, 0


def pictures(n: int = 240, seed: int = 0) -> TensorExamples:
    """Three classes: where the bright spot is."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(n)[torch.randperm(n, generator=generator)] % 3
    x = torch.randn(n, 1, 8, 8, generator=generator)
    for i, c in enumerate(targets.tolist()):
        x[i, 0, 2 * c : 2 * c + 3, 2 * c : 2 * c + 3] += 1.2
    return TensorExamples(x, targets)


def sentences(n: int = 240, seed: int = 0, length: int = 10) -> TensorExamples:
    """Two classes: which half of the vocabulary most words are of; padded, with an attention mask."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(2, (n,), generator=generator)
    ids = torch.randint(5, WORDS, (n, length), generator=generator)
    half = (WORDS - 5) // 2
    telling = torch.rand(n, length, generator=generator) < 0.6
    ids = torch.where(telling, 5 + ids % half + half * targets[:, None], ids)
    ids[:, 0] = 1
    lengths = torch.randint(4, length + 1, (n,), generator=generator)
    mask = (torch.arange(length) < lengths[:, None]).long()
    return TensorExamples({"input_ids": ids * mask, "attention_mask": mask}, targets)


def convolutional(dropout: float = 0.2) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(dropout), nn.Linear(96, 3))


def tiny_bert() -> nn.Module:
    shape: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return BertForSequenceClassification(
        BertConfig(**shape, intermediate_size=32, vocab_size=WORDS, num_labels=2, pad_token_id=PAD)
    )


def trained(
    model: nn.Module,
    train: TensorExamples,
    validation: TensorExamples,
    *,
    steps: int = 60,
    batch_size: int = 24,
    learning_rate: float = 1e-2,
    training: bool = True,
    validating: bool = False,
    zero_grad: bool = True,
    loss: Any = F.cross_entropy,
    optimizer: torch.optim.Optimizer | None = None,
) -> TrainingSetup:
    """What a plain loop leaves, with its log: in training or evaluation mode, validated in either."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        optimizer = optimizer or torch.optim.AdamW(model.parameters(), lr=learning_rate)
        losses = []
        for _ in range(steps):
            model.train(training)
            inputs, targets = train.collate(torch.randint(len(train), (batch_size,)))
            each = loss(logits(model, inputs), targets)
            if zero_grad:
                optimizer.zero_grad()
            each.backward()
            optimizer.step()
            losses.append(each.item())
        model.train(validating)
        with torch.no_grad():
            inputs, targets = validation.collate(torch.arange(len(validation)))
            judged = float(F.cross_entropy(logits(model, inputs), targets))
        model.train(training)
    log = TrainingLog(
        source="a tiny loop",
        steps=np.arange(1.0, steps + 1),
        losses=np.array(losses),
        learning_rates=np.full(steps, learning_rate),
        validation_steps=np.array([float(steps)]),
        validation_losses=np.array([judged]),
        accuracies=np.array([np.nan]),
        batch_size=batch_size,
        over=True,
    )
    classes = int(train.targets.max()) + 1
    return TrainingSetup(model, train, validation, optimizer, loss, batch_size, classes, log=log)


def logits(model: nn.Module, inputs: Any) -> Tensor:
    output = model(**inputs) if isinstance(inputs, dict) else model(inputs)
    return getattr(output, "logits", output)


def conv_setup(**changes: Any) -> TrainingSetup:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = convolutional()
    return trained(model, pictures(), pictures(90, seed=1), **changes)


def bert_setup(**changes: Any) -> TrainingSetup:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = tiny_bert()
    return trained(model, sentences(), sentences(90, seed=1), **changes)


def with_data(setup: TrainingSetup, **parts: Any) -> TrainingSetup:
    """The same with other inputs or targets: ``train_targets=...``, ``validation_inputs=...``."""
    made = {}
    for name in ("train", "validation"):
        old: Any = getattr(setup, name)
        inputs, targets = parts.get(f"{name}_inputs", old.inputs), parts.get(f"{name}_targets", old.targets)
        made[name] = TensorExamples(inputs, targets)
    return replace(setup, **made)
