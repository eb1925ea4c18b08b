"""Linear heads trained in one computation, against a plain loop over runs; and the stability map that comes from them.

256 runs of 200 steps on 2,000 examples of 512 features and 10 classes, batch 32, every run with its own learning rate
and clip threshold. In the first rows they are 8 × 8 cells with 4 seeds, so that the 64 runs of a seed see the same
batches; in the last, 256 seeds, each with an order of its own. The plain loop does 16 of the same runs a turn, and its
time is counted 16 times.
"""

from __future__ import annotations

import itertools
import math

import torch
from arithmetic import alone
from timing import Row, alternate, seconds
from torch import Tensor, nn

from stablelab.data import Batches, Task
from stablelab.data.tasks import make_task
from stablelab.stability import new_heads, stability_map, train_heads
from stablelab.training import Settings

N, D, C, BATCH, STEPS = 2000, 512, 10, 32, 200
RUNS, BY_LOOP = 256, 16
MAP_SECONDS = 10.0


class Features:
    """Features as the store of a split."""

    lengths = None

    def __init__(self, features: Tensor) -> None:
        self.features = features

    def __len__(self) -> int:
        return len(self.features)

    def take(self, positions: Tensor) -> Tensor:
        return self.features.index_select(0, positions)

    def digest(self) -> bytes:
        return b"drawn"


def clouds() -> Task:
    """Ten overlapping clouds, cut at zero as a network's features are."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(C, D, generator=generator)
    stores, targets = {}, {}
    for split, n in (("train", N), ("validation", 500), ("test", 10)):
        targets[split] = torch.arange(n) % C
        points = 0.2 * centres[targets[split]] + torch.randn(n, D, generator=generator)
        stores[split] = Features(points.relu())
    return make_task("clouds", "image", [str(c) for c in range(C)], stores, targets)


def plain_run(features: Tensor, targets: Tensor, order: Batches, own: Settings, seed: int) -> float:
    """One run as a good PyTorch programmer writes it."""
    torch.manual_seed(seed)
    head = nn.Linear(D, C)
    kind = torch.optim.SGD if own.optimizer == "sgd" else torch.optim.AdamW
    optimizer = kind(head.parameters(), lr=own.learning_rate, weight_decay=0.0, fused=True)
    for k in range(STEPS):
        positions = order.positions(k)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(head(features[positions]), targets[positions])
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), own.max_norm)
        optimizer.step()
    return loss.item()


def compare(what: str, task: Task, optimizer: str, seeds: int, at_most: float) -> Row:
    """RUNS runs in one computation against the loop over them."""
    features, targets = task.train.collate(torch.arange(N))
    side = math.isqrt(RUNS // seeds)
    rates, bounds = torch.logspace(-4, -1, side).tolist(), torch.logspace(-1, 1, side).tolist()
    grid = [Settings(optimizer=optimizer, learning_rate=r, max_norm=b) for r, b in itertools.product(rates, bounds)]
    runs = [(own, seed) for seed in range(seeds) for own in grid]
    settings, inits = zip(*runs, strict=True)

    def batched() -> float:
        orders = [task.batches(seed, BATCH).positions for seed in range(seeds)]
        positions = [orders[seed] for seed in inits]
        return seconds(lambda: train_heads(features, targets, *new_heads(D, C, inits), positions, settings, STEPS))

    def loop() -> float:
        some = runs[:: RUNS // BY_LOOP]
        once = lambda own, seed: plain_run(features, targets, task.batches(seed, BATCH), own, seed)  # noqa: E731
        return seconds(lambda: [once(own, seed) for own, seed in some]) * (RUNS / BY_LOOP)

    ours, theirs = alternate(batched, loop, 5)
    return Row(what, ours, "loop over runs", theirs, at_most, alone(heads_flops(RUNS)))


def heads_flops(runs: int) -> int:
    """Of the products: the logits, and the gradient of the weights; features need none."""
    return runs * STEPS * 2 * (2 * BATCH * D * C)


def rows() -> list[Row]:
    """Batched heads by SGD and by AdamW, the same with no batch in common, and the map (its peer: ten seconds)."""
    task = clouds()
    one_map = {
        "learning_rates": torch.logspace(-4, 0, 16).tolist(),
        "max_norms": torch.logspace(-2, 1, 16).tolist(),
        "seeds": range(4),
    }
    times = [seconds(lambda: stability_map(task, **one_map, steps=STEPS, batch_size=BATCH)) for _ in range(4)]
    return [
        compare("batched heads, 256 runs by SGD", task, "sgd", 4, 1 / 20),
        compare("batched heads, 256 runs by AdamW", task, "adamw", 4, 1 / 15),
        compare("batched heads, 256 orders, SGD", task, "sgd", RUNS, 1 / 8),
        Row(
            "16x16 map with 4 seeds, 200 steps",
            times[1:],
            "ten seconds",
            [MAP_SECONDS] * 3,
            1.0,
            alone(heads_flops(16 * 16 * 4)),
        ),
    ]
