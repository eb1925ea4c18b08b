"""What the tests of sweeps share: a task and a model so small that a run takes a moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

import stablelab as lab
from stablelab.data import Task
from stablelab.models.rng import seeded_rng


def tiny_model() -> Callable[..., nn.Module]:
    def make(task: Task, seed: int) -> nn.Module:  # a function inside a function travels to a worker as a whole
        with seeded_rng(seed):
            return nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Linear(8, len(task.classes)))

    return make


@pytest.fixture(scope="session")
def tiny_task() -> Task:
    return lab.digits(train=60, validation=40, test=40, size=8)


@pytest.fixture(scope="session")
def make_sweep(tiny_task: Task) -> Callable[..., lab.Sweep]:
    """``lab.sweep`` of the tiny model on the tiny task, six steps long unless told otherwise."""

    def make(grid: Any = None, **arguments: Any) -> lab.Sweep:
        arguments = {"steps": 6, "batch_size": 10, "seeds": range(2)} | arguments
        if "inits" in arguments or "orders" in arguments:
            del arguments["seeds"]
        return lab.sweep(tiny_model(), tiny_task, grid, **arguments)

    return make
