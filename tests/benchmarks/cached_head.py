"""train="head" with cached features, an epoch after the first: against a frozen body, and a bare loop over the same."""

from __future__ import annotations

import contextlib
import io
import time

import material
import torch
from arithmetic import alone
from timing import Row, alternate, seconds
from torch import Tensor, nn

import stablelab as lab

BATCH_SIZE = 16


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


def bare_epochs(head: nn.Linear, features: Tensor, targets: Tensor, epochs: int) -> None:
    """A head on features that lie in memory, without us."""
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, fused=True)
    for _ in range(epochs):
        for positions in torch.randperm(len(targets)).split(BATCH_SIZE):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(head(features[positions]), targets[positions])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimizer.step()
            loss.item()


def our_epoch(model: nn.Module, task: lab.data.Task, epochs: int) -> float:
    """Seconds of an epoch of a run after its first, which computes the features."""
    run = lab.fine_tune(
        model, task, train="head", learning_rate=1e-3, max_norm=1.0, epochs=1 + epochs, evaluate_every=0
    )
    run.step(task.batches(0, BATCH_SIZE).per_epoch)
    while not run.control.waiting:
        time.sleep(0.001)
    return seconds(lambda: (run.resume(), run.wait())) / epochs


def head_flops(model: nn.Module, task: lab.data.Task) -> int:
    """Of an epoch: the logits, and the gradient of the weights; features need none."""
    head = lab.models.head_of(model)[1]
    return 2 * (2 * len(task.train) * head.in_features * head.out_features)


def against_frozen(what: str, model: nn.Module, task: lab.data.Task) -> Row:
    """The ordinary loop, which computes the body again for every batch."""
    lab.models.freeze(model)
    batches = task.batches(0, BATCH_SIZE)
    epoch = [batches(k) for k in range(batches.per_epoch)]
    ours, theirs = alternate(
        lambda: our_epoch(model, task, 7), lambda: seconds(lambda: frozen_epoch(model, epoch)), repeats=5
    )
    limit = alone(head_flops(model, task))
    return Row(f"{what}, head on cached features", ours, "frozen body in every epoch", theirs, 1 / 20, limit)


def against_bare(what: str, model: nn.Module, task: lab.data.Task, epochs: int = 50) -> Row:
    """The same features in a bare loop."""
    kept = lab.models.cached_features(task, model).train
    features, targets = kept.collate(torch.arange(len(kept)))
    head = lab.models.head_of(model)[1]
    ours, theirs = alternate(
        lambda: our_epoch(model, task, epochs),
        lambda: seconds(lambda: bare_epochs(head, features, targets, epochs)) / epochs,
        repeats=5,
    )
    limit = alone(head_flops(model, task))
    return Row(f"{what}, head on cached features", ours, "a bare loop over the same", theirs, 2.0, limit)


def rows() -> list[Row]:
    """Two rows for ResNet, and one for BERT."""
    with contextlib.redirect_stdout(io.StringIO()):
        resnet = lab.resnet(10, weights="random")
    digits = lab.digits(train=320, validation=50, test=50)
    return [
        against_frozen("BERT", material.bert(), material.reviews()),
        against_frozen("ResNet-18", resnet, digits),
        against_bare("ResNet-18", resnet, digits),
    ]
