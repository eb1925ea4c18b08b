"""Judging a model on a split it does not learn from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .protocols import Inputs, Loss, Split
from .records import Evaluation


def forward(model: Callable[..., Any], inputs: Inputs) -> Tensor:
    """Logits (B, C) of any classifier: torchvision's take a tensor, Hugging Face's take keywords."""
    output: Any = model(**inputs) if isinstance(inputs, Mapping) else model(inputs)
    return getattr(output, "logits", output)


def to_device(inputs: Inputs, device: torch.device) -> Inputs:
    """The same inputs where the model is."""
    if isinstance(inputs, Mapping):
        return {name: tensor.to(device) for name, tensor in inputs.items()}
    return inputs.to(device)


@contextmanager
def mode(model: nn.Module, training: bool) -> Iterator[None]:
    """The model in training or evaluation mode; afterwards each part is in its own mode again."""
    before = {module: module.training for module in model.modules()}
    model.train(training)
    try:
        yield
    finally:
        for module, was in before.items():
            module.training = was


@torch.no_grad()
def predict(model: nn.Module, split: Split, batch_size: int = 64) -> tuple[Tensor, Tensor]:
    """Logits (N, C) and targets (N,) of a split, on the CPU, in the split's batch order; the mode is put back after."""
    device = next(model.parameters()).device
    with mode(model, training=False):
        pairs = [(forward(model, to_device(x, device)).float().cpu(), y) for x, y in split.batches(batch_size)]
    logits, targets = zip(*pairs, strict=True)
    return torch.cat(logits), torch.cat(targets)


def evaluate(model: nn.Module, split: Split, loss: Loss, step: int = 0, batch_size: int = 64) -> Evaluation:
    """Loss, accuracy and macro-averaged precision, recall and F1 (scikit-learn) of a model on a split."""
    from sklearn.metrics import precision_recall_fscore_support

    began = time.perf_counter()
    logits, targets = predict(model, split, batch_size)
    guesses = logits.argmax(dim=1)
    precision, recall, f1, _ = precision_recall_fscore_support(
        targets.numpy(), guesses.numpy(), average="macro", zero_division=0
    )
    return Evaluation(
        step=step,
        loss=float(loss(logits, targets)),
        accuracy=float((guesses == targets).double().mean()),
        precision=float(precision),
        recall=float(recall),
        f1=float(f1),
        seconds=time.perf_counter() - began,
    )
