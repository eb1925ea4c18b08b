"""Tests that need CUDA: where there is none these files are not collected, so that nothing is reported as skipped."""

from __future__ import annotations

import copy
import os
import weakref
from collections.abc import Callable, Iterator

import pytest
import torch
from support.gpu import DEVICE, HERE, ON_GPU, TWO_HERE
from support.tiny import tiny_task
from torch import nn

import stablelab as lab
from stablelab.data import Task
from stablelab.training import Run

__all__ = ["tiny_task"]
collect_ignore_glob = [] if TWO_HERE else ["test_two_gpus.py"] if HERE else ["test_*.py"]
if HERE:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before CUDA starts; see the fixture below


@pytest.fixture(autouse=True)
def ieee_products() -> Iterator[None]:
    """Convolutions in fp32 as it is, which torch by itself computes with ten bits on a GPU (TF32)."""
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.fixture
def deterministic() -> Iterator[None]:
    """Sums in a fixed order."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def pretrained(digits: Task, movies: Task) -> dict[str, tuple[nn.Module, Task]]:
    """The workbook's two models, on the processor, each with its task."""
    return {"resnet": (lab.resnet(digits), digits), "bert": (lab.bert(movies.classes), movies)}


@pytest.fixture(params=["resnet", "bert"])
def make_run(
    request: pytest.FixtureRequest, pretrained: dict[str, tuple[nn.Module, Task]]
) -> Iterator[Callable[..., Run]]:
    """A function: a run of twelve steps on the device, of a copy of the model; stopped after the test."""
    model, task = pretrained[request.param]
    runs: weakref.WeakSet[Run] = weakref.WeakSet()  # weakly: a test looks at what is left of a run

    def make(**arguments: object) -> Run:
        rate = 1e-3 if request.param == "resnet" else 1e-4
        plan = {"steps": 12, "batch_size": 10, "learning_rate": rate, "evaluate_every": 4, "seed": 3, "device": DEVICE}
        run = lab.fine_tune(copy.deepcopy(model), task, **(plan | arguments))
        runs.add(run)
        return run

    yield make
    for run in list(runs):
        run.stop()


@pytest.fixture
def memory() -> Callable[[], int]:
    """A function: bytes of the GPU that tensors take, after all that can be let go of is gone."""
    import gc

    def taken() -> int:
        gc.collect()
        if not ON_GPU:
            return 0
        torch.cuda.synchronize(DEVICE)
        torch._C._cuda_clearCublasWorkspaces()
        return torch.cuda.memory_allocated(DEVICE)

    return taken
