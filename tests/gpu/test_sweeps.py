"""Sweeps on a GPU: heads trained together, whole runs one by one, and in processes that share the device."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from support.gpu import DEVICE
from support.tiny import tiny_model

import stablelab as lab
from stablelab.stability import new_heads, train_heads
from stablelab.training import Settings

pytestmark = pytest.mark.gpu

OPTIMIZERS = ("sgd", "momentum", "nesterov", "adam", "adamw")


class Order:
    """Batches of 16 in an order of its own for each seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def positions(self, k: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1000 * self.seed + k // 4)
        return torch.randperm(64, generator=generator).split(16)[k % 4]


@pytest.mark.parametrize("clip", ["norm", "tensor", "value"])
def test_heads_trained_together_are_those_of_a_processor(clip):
    generator = torch.Generator().manual_seed(0)
    features, targets = torch.randn(64, 12, generator=generator), torch.randint(3, (64,), generator=generator)
    settings = [
        Settings(optimizer=optimizer, learning_rate=rate, max_norm=max_norm, clip=clip, weight_decay=0.1)
        for optimizer in OPTIMIZERS
        for rate in (1e-2, 1e-1)
        for max_norm in (None, 0.05)
    ]
    orders = [Order(i % 2).positions for i in range(len(settings))]
    start = new_heads(12, 3, range(len(settings)))
    found = []
    for device in (DEVICE, torch.device("cpu")):
        data = [each.to(device) for each in (features, targets, *start)]
        found.append(train_heads(*data, orders, settings, 12))
    ours, theirs = found
    for name in ("weights", "biases", "losses", "norms"):
        assert getattr(ours, name).device.type == DEVICE.type
        torch.testing.assert_close(getattr(ours, name).cpu(), getattr(theirs, name), rtol=1e-3, atol=1e-4)
    assert torch.equal(ours.clipped.cpu(), theirs.clipped)


def test_heads_that_diverge_end_there():
    features, targets = torch.randn(64, 12, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 3
    settings = [Settings(optimizer="sgd", learning_rate=rate) for rate in (1e38, 1e-2)]
    start = new_heads(12, 3, range(2))
    data = [each.to(DEVICE) for each in (features, targets, *start)]
    heads = train_heads(*data, [Order(0).positions] * 2, settings, 12)
    assert heads.diverged[0] is not None and heads.diverged[1] is None
    assert heads.losses[1].isfinite().all() and heads.losses[0, heads.diverged[0] :].isnan().all()


def test_positions_outside_of_the_features_are_refused():
    data = [each.to(DEVICE) for each in (torch.randn(8, 12), torch.arange(8) % 3, *new_heads(12, 3, [0]))]
    with pytest.raises(ValueError, match=r"positions of batch 0 lie outside 0\.\.7"):
        train_heads(*data, [lambda k: torch.tensor([3, 8])], [Settings(optimizer="sgd")], 2)


def outcomes(sweep: lab.Sweep, **arguments) -> list:
    results = sweep.run(bar=False, **arguments)
    assert len(results) == len(sweep.trials)
    return [(each.validation_loss, each.losses) for each in results.outcomes]


def close(some, others, tolerance: float) -> None:
    for (loss, losses), (expected, curve) in zip(some, others, strict=True):
        assert loss == pytest.approx(expected, abs=tolerance)
        np.testing.assert_allclose(losses, curve, atol=tolerance)


GRID = {"learning_rate": [1e-3, 1e-2]}


def test_a_sweep_of_heads_is_that_of_a_processor(digits):
    plan = {"train": "head", "steps": 8, "batch_size": 10, "seeds": range(2)}
    together = outcomes(lab.sweep(lab.resnet, digits, GRID, device=DEVICE, **plan))
    alone = outcomes(lab.sweep(lab.resnet, digits, GRID, device=DEVICE, **plan), one_by_one=True)
    processor = outcomes(lab.sweep(lab.resnet, digits, GRID, device="cpu", **plan))
    close(together, alone, 1e-3)
    close(together, processor, 5e-3)


def test_processes_that_share_the_device_come_to_the_same(tiny_task):
    plan = {"steps": 6, "batch_size": 10, "seeds": range(2), "device": DEVICE}
    here = outcomes(lab.sweep(tiny_model(), tiny_task, GRID, **plan))
    beside = outcomes(lab.sweep(tiny_model(), tiny_task, GRID, **plan), n_jobs=2)
    processor = outcomes(lab.sweep(tiny_model(), tiny_task, GRID, **{**plan, "device": "cpu"}))
    close(here, beside, 1e-5)
    close(here, processor, 1e-3)


def test_each_worker_has_a_gpu_of_its_own(tiny_task, tmp_path):
    make = tiny_model()

    def model(task, seed):
        where = torch.cuda.current_device() if torch.cuda.is_available() else None
        (tmp_path / f"{os.getpid()} {where}").touch()
        return make(task, seed)

    plan = {"steps": 40, "batch_size": 10, "seeds": range(12), "device": DEVICE}
    outcomes(lab.sweep(model, tiny_task, **plan), n_jobs=2)
    seen = [tuple(each.name.split()) for each in tmp_path.iterdir()]
    workers = {process: gpu for process, gpu in seen if int(process) != os.getpid()}
    assert len(workers) == len([process for process, _ in seen if int(process) != os.getpid()])  # one GPU each
    assert len(set(workers.values())) == min(len(workers), max(1, torch.cuda.device_count()))


def test_sharpness_is_measured_at_the_end_of_each_run(digits):
    results = lab.sweep(lab.resnet, digits, steps=2, batch_size=10, seeds=[0], sharpness=20, device=DEVICE).run(
        bar=False
    )
    assert all(each.sharpness > 0 for each in results.outcomes)
