"""Sharpness of ResNet-18 on one batch of digits, in gradient steps of plain descent on the same batch."""

from __future__ import annotations

import contextlib
import io

import torch
from arithmetic import alone, flops_of
from timing import Row, alternate, seconds

import stablelab as lab

STEPS = 5  # of descent per turn


def rows() -> list[Row]:
    """The row of this benchmark; the peer is one gradient step, so the ratio counts steps."""
    with contextlib.redirect_stdout(io.StringIO()):
        model = lab.resnet(10, weights="random")
    inputs, targets = lab.digits(train=320, validation=50, test=50).batches(0, 32)(0)
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

    def descend() -> float:
        return seconds(lambda: [step() for _ in range(STEPS)]) / STEPS

    ours, theirs = alternate(lambda: seconds(lambda: lab.sharpness(model, inputs, targets)), descend, 5)
    limit = alone(flops_of(lambda: lab.sharpness(model, inputs, targets)))
    return [Row("sharpness of ResNet-18, 32 digits", ours, "one gradient step", theirs, 25.0, limit)]
