"""train="head" with cached features against the ordinary loop over a frozen body, per epoch after the first."""

from __future__ import annotations

import contextlib
import io
import time

import material
import torch
from timing import Row, alternate, seconds
from torch import nn

import stablelab as lab


def frozen_epoch(model: nn.Module, batches: list) -> None:
    """The ordinary way: the frozen body runs for every batch of every epoch."""
    head = lab.models.head_of(model)[1]
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, fused=True)
    for inputs, targets in batches:
        optimizer.zero_grad()
        logits = model(**inputs).logits if isinstance(inputs, dict) else model(inputs)
        loss = nn.functional.cross_entropy(logits, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        loss.item()


def compare(what: str, model: nn.Module, task: lab.data.Task) -> Row:
    """The epochs of one run after its first, timed step by step, against frozen epochs."""
    run_epochs = 8
    lab.models.freeze(model)
    batches = task.batches(0, 16)
    epoch = [batches(k) for k in range(batches.per_epoch)]

    def ours() -> float:
        run = lab.fine_tune(
            model, task, train="head", learning_rate=1e-3, max_norm=1.0, epochs=run_epochs, evaluate_every=0
        )
        run.step(batches.per_epoch)  # the first epoch computes the features
        while not run.control.waiting:
            time.sleep(0.001)
        rest = seconds(lambda: (run.resume(), run.wait()))
        return rest / (run_epochs - 1)

    a, b = alternate(ours, lambda: seconds(lambda: frozen_epoch(model, epoch)), repeats=5)
    return Row(f"{what}, head on cached features", a, "frozen body in every epoch", b, 1 / 20)


def rows() -> list[Row]:
    """A row for BERT and one for ResNet."""
    with contextlib.redirect_stdout(io.StringIO()):
        resnet = lab.resnet(10, weights="random")
    digits = lab.digits(train=320, validation=50, test=50)
    return [compare("BERT", material.bert(), material.reviews()), compare("ResNet-18", resnet, digits)]
