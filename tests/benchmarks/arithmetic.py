"""How long the products of a piece of work would take alone: its FLOPs over the peak that is measured here."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

CPU = torch.device("cpu")
SIDES = {"cpu": 1024, "cuda": 8192}  # of the square matrices whose product is taken for the peak


@cache
def peak(dtype: torch.dtype = torch.float32, device: torch.device = CPU, repeats: int = 15) -> float:
    """Floating-point operations per second of a product of two large matrices, the fastest of several."""
    side = SIDES[device.type]
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    spent = []
    for _ in range(repeats):
        _wait(device)
        began = time.perf_counter()
        a @ b
        _wait(device)
        spent.append(time.perf_counter() - began)
    return 2 * side**3 / min(spent)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def flops_of(work: Callable[[], object]) -> int:
    """Of the products in it, two for each multiply-add; attention's and convolutions' among them."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def step_flops(model: nn.Module, inputs: Any, targets: torch.Tensor) -> int:
    """Of the products of one forward and backward pass in training."""
    model.train()

    def pass_through() -> None:
        output = model(**inputs) if isinstance(inputs, dict) else model(inputs)
        nn.functional.cross_entropy(getattr(output, "logits", output), targets).backward()

    flops = flops_of(pass_through)
    model.zero_grad()
    return flops


def alone(flops: float, dtype: torch.dtype = torch.float32, device: torch.device = CPU) -> float:
    """Seconds that so many operations take at the peak."""
    return flops / peak(dtype, device)
