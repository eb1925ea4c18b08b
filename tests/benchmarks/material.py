"""What several benchmarks train: 320 movie reviews, batch 16, the bundled BERT."""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
from collections.abc import Iterator
from functools import cache

import torch
from arithmetic import step_flops
from torch import nn

import stablelab as lab
from stablelab.data import Task

BATCH_SIZE = 16
LEARNING_RATE = 5e-5
TURN = 5  # steps of one rival before the other takes over


@cache
def reviews() -> Task:
    """320 sentences to train on."""
    return lab.reviews("movies", train=320, validation=64, test=64)


@cache
def _bert() -> nn.Module:
    with contextlib.redirect_stdout(io.StringIO()):
        return lab.bert(reviews().classes)


def bert() -> nn.Module:
    """A fresh copy of the bundled BERT."""
    return copy.deepcopy(_bert())


def epoch_batches() -> list[tuple[dict[str, torch.Tensor], torch.Tensor]]:
    """The 20 batches of the first epoch, the same for every rival."""
    batches = reviews().batches(0, BATCH_SIZE)
    return [batches(k) for k in range(batches.per_epoch)]


@cache
def epoch_flops() -> int:
    """Floating-point operations of the products of one epoch."""
    return sum(step_flops(bert(), inputs, targets) for inputs, targets in epoch_batches())


def steps_flops(n: int) -> float:
    """The same for n steps of it on average."""
    return epoch_flops() * n / len(epoch_batches())


def bare_steps(model: nn.Module, batches: list) -> Iterator[float]:
    """The loop as a good PyTorch programmer writes it: fused AdamW, clipping at norm 1, the loss kept; without end."""
    decays = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decays}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, weight_decay=0.01, fused=True)
    model.train()
    for inputs, targets in itertools.cycle(batches):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(**inputs).logits, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        yield loss.item()


def our_run(model: nn.Module, epochs: int = 1, precision: str = "fp32") -> lab.Run:
    """The same as a run of the workbook."""
    return lab.fine_tune(
        model,
        reviews(),
        learning_rate=LEARNING_RATE,
        weight_decay=0.01,
        max_norm=1.0,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        evaluate_every=0,
        precision=precision,
    )


def turn(run: lab.Run, n: int = TURN) -> None:
    """Let a run do n more steps and wait for the last of them."""
    run.step(n)
    run.wait_paused()
