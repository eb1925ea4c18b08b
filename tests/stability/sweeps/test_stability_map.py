"""The map against single runs, cell by cell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stablelab.data.batching import Batches
from stablelab.stability import StabilityMap, new_heads, stability_map
from stablelab.training import Control, Settings, steps

AXES: dict[str, Any] = {"learning_rates": (0.01, 0.5, 3e38), "max_norms": (0.1, None)}
SGD = Settings(optimizer="sgd")


@dataclass
class Points:
    inputs: Tensor
    targets: Tensor

    @property
    def store(self) -> SimpleNamespace:
        return SimpleNamespace(lengths=None)

    def __len__(self) -> int:
        return len(self.targets)

    def collate(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        return self.inputs[positions], self.targets[positions]


class Clouds:
    """Two overlapping clouds of features."""

    classes = ("a", "b")

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        targets = torch.arange(80) % 2
        inputs = torch.randn(80, 5, generator=generator) + targets[:, None]
        self.train, self.validation = Points(inputs[:50], targets[:50]), Points(inputs[50:], targets[50:])

    def batches(self, seed: int, batch_size: int) -> Batches:
        return Batches(self.train, seed, batch_size)  # type: ignore[arg-type]


def mapped(**changes: Any) -> StabilityMap:
    arguments: dict[str, Any] = AXES | {"seeds": (0, 3), "settings": SGD, "steps": 12, "batch_size": 8}
    found = stability_map(Clouds(), **(arguments | changes))
    assert found is not None
    return found


def single(seed: int, settings: Settings) -> tuple[float, float]:
    """Validation loss and accuracy of one run by the real loop."""
    task, model = Clouds(), nn.Linear(5, 2)
    with torch.no_grad():
        for parameter, new in zip(model.parameters(), new_heads(5, 2, [seed]), strict=True):
            parameter.copy_(new[0])
    cross_entropy = nn.functional.cross_entropy
    for step in steps(model, task.batches(seed, 8), cross_entropy, Control(settings), total_steps=12):
        if step.diverged:
            return math.inf, math.nan
    with torch.no_grad():
        logits = model(task.validation.inputs)
    loss = float(cross_entropy(logits, task.validation.targets))
    right = logits.argmax(dim=1) == task.validation.targets
    return loss, float(right.float().mean()) if math.isfinite(loss) else math.nan


def test_each_cell_is_the_run_alone() -> None:
    found = mapped()
    assert found.losses.shape == (3, 2, 2)
    for i, rate in enumerate(found.learning_rates):
        for j, bound in enumerate(found.max_norms):
            for s, seed in enumerate(found.seeds):
                loss, accuracy = single(seed, SGD.replace(learning_rate=rate, max_norm=bound))
                assert found.losses[i, j, s] == pytest.approx(loss, rel=1e-5)
                assert found.accuracies[i, j, s] == pytest.approx(accuracy, nan_ok=True)
    assert (found.clipped[:2, 0] > 0).all() and (found.clipped[:, 1] == 0).all()


def test_mean_and_spread_over_the_seeds() -> None:
    found = mapped(seeds=(0, 1, 2))
    fine = slice(0, 2)
    np.testing.assert_allclose(found.mean_loss[fine], found.losses[fine].mean(axis=2))
    np.testing.assert_allclose(found.spread_loss[fine], found.losses[fine].std(axis=2, ddof=1))
    np.testing.assert_allclose(found.mean_accuracy[fine], found.accuracies[fine].mean(axis=2))
    np.testing.assert_allclose(found.spread_accuracy[fine], found.accuracies[fine].std(axis=2, ddof=1))
    assert np.isnan(mapped(seeds=[4]).spread_loss[0]).all()


def test_a_cell_that_diverges_says_so() -> None:
    found = mapped()
    assert (found.diverged_share[2, 1], found.failed_share[2, 1]) == (1, 1)  # a rate of 3e38, not clipped
    assert found.mean_loss[2, 1] == found.spread_loss[2, 1] == np.inf
    assert np.isnan(found.mean_accuracy[2, 1]) and np.isnan(found.spread_accuracy[2, 1])
    assert not found.diverged[:2].any() and (found.failed >= found.diverged).all()


def test_it_can_be_given_up() -> None:
    asked: list[int] = []

    def stop() -> bool:
        asked.append(len(asked))
        return len(asked) == 3

    assert stability_map(Clouds(), **AXES, settings=SGD, stop=stop) is None
    assert len(asked) == 3
    done: list[tuple[int, int]] = []
    mapped(progress=lambda *at: done.append(at), stop=lambda: False)
    assert done[-1] == (12 * 12, 12 * 12)


def test_bad_input_is_refused_in_one_line() -> None:
    pictures = Clouds()
    pictures.train.inputs = torch.zeros(50, 3, 4, 4)
    with pytest.raises(ValueError, match=r"shape \(1, 3, 4, 4\), not features .* hand over models.cached_features"):
        stability_map(pictures, **AXES)
    for changes, message in (
        ({"learning_rates": [0.1, 0.1]}, "learning_rate has 0.1 twice"),
        ({"max_norms": [0.0]}, "max_norm is 0.0"),
        ({"seeds": [1, 1]}, "seeds has 1 twice"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 51}, "only 50 training examples"),
        ({"settings": SGD.replace(schedule="plateau")}, "run 0 cannot.*plateau"),
    ):
        with pytest.raises(ValueError, match=message):
            mapped(**changes)
