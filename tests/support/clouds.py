"""A small real problem: three clouds of points, a two-layer network with dropout and batch normalization."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn


@dataclass
class Points:
    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def batches(self, batch_size: int):
        for i in range(0, len(self), batch_size):
            yield self.inputs[i : i + batch_size], self.targets[i : i + batch_size]


class PointBatches:
    def __init__(self, split: Points, seed: int, batch_size: int) -> None:
        self.split, self.seed, self.batch_size = split, seed, batch_size
        self.per_epoch = -(-len(split) // batch_size)

    def __call__(self, k: int):
        epoch, place = divmod(k, self.per_epoch)
        order = torch.randperm(len(self.split), generator=torch.Generator().manual_seed(1000 * self.seed + epoch))
        rows = order[place * self.batch_size : (place + 1) * self.batch_size]
        return self.split.inputs[rows], self.split.targets[rows]


class Clouds:
    name = "clouds"
    classes = ("a", "b", "c")
    fingerprint = "clouds-1"

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(7)
        centres = 2 * torch.randn(3, 4, generator=generator)
        targets = torch.arange(300) % 3
        inputs = centres[targets] + torch.randn(300, 4, generator=generator)
        self.train = Points(inputs[:200], targets[:200])
        self.validation = Points(inputs[200:250], targets[200:250])
        self.test = Points(inputs[250:], targets[250:])

    def batches(self, seed: int, batch_size: int) -> PointBatches:
        return PointBatches(self.train, seed, batch_size)


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))


@pytest.fixture
def clouds() -> Clouds:
    return Clouds()


@pytest.fixture
def make_network():
    return network
