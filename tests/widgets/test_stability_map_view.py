"""The stability map on a page is the one that is computed, for the values its sliders have."""

from __future__ import annotations

from dataclasses import dataclass

import ipywidgets as w
import numpy as np
import pytest
import torch
from torch import Tensor

from stablelab.stability.sweeps.stability_map import stability_map
from stablelab.training import Settings
from stablelab.widgets import map_view, slider, stability_map_view
from stablelab.widgets.map_view import as_table

RATES, BOUNDS = (1e-3, 1e-2, 0.1, 1.0), (0.1, 1.0, None)


@dataclass
class Positions:
    n: int
    batch_size: int
    seed: int

    per_epoch = 4

    def positions(self, k: int) -> Tensor:
        generator = torch.Generator().manual_seed(97 * self.seed + k)
        return torch.randint(self.n, (self.batch_size,), generator=generator)


@dataclass
class Split:
    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def collate(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        return self.inputs[positions], self.targets[positions]


class Clouds:
    """Three clouds of points, far enough apart for a linear head."""

    name, classes = "clouds", ("a", "b", "c")

    def __init__(self, dimensions: tuple[int, ...] = (4,)) -> None:
        targets = torch.arange(60) % 3
        shift = torch.zeros(60, *dimensions)
        shift.flatten(1)[torch.arange(60), targets] = 2.0
        inputs = shift + torch.randn(60, *dimensions, generator=torch.Generator().manual_seed(0))
        self.train, self.validation = Split(inputs[:40], targets[:40]), Split(inputs[40:], targets[40:])

    def batches(self, seed: int, batch_size: int) -> Positions:
        return Positions(len(self.train), batch_size, seed)


@pytest.fixture(autouse=True)
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_view, "REST", 0.0)


def test_the_map_is_that_of_the_sliders_values() -> None:
    view = stability_map_view(Clouds(), learning_rates=RATES, max_norms=BOUNDS, steps=12, batch_size=8)
    view.show().wait(30)
    view.controls["weight_decay"].value = 0.25
    view.wait(30)
    settings = Settings(optimizer="momentum", weight_decay=0.25)
    wanted = stability_map(Clouds(), learning_rates=RATES, max_norms=BOUNDS, settings=settings, steps=12, batch_size=8)
    assert wanted is not None and view.cells is not None
    np.testing.assert_allclose(view.cells.mean, wanted.losses.mean(axis=2).T)
    np.testing.assert_allclose(view.cells.std, wanted.losses.std(axis=2, ddof=1).T)
    assert view.cells.runs.tolist() == [[4] * 4] * 3
    assert "learning rate 0.1, clip threshold off" in view.heat.value
    view.close()


def test_a_coarse_map_has_fewer_values_and_as_many_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_view, "COARSE", 3)
    grid = {"learning_rate": RATES, "max_norm": BOUNDS}
    lengths = {"steps": 3, "batch_size": 8}
    told: list[int] = []
    found = map_view._compute(
        Clouds(),
        grid,
        4,
        Settings(),
        lengths,
        "accuracy",
        {"warmup_steps": 1},
        True,
        lambda: False,
        lambda done, total: told.append(done),
    )
    assert found is not None and found.mean.shape == (3, 4) and found.runs.max() == 2 and told
    assert found.columns == (1e-3, 1e-3, 0.1, 0.1) and found.rows == BOUNDS
    np.testing.assert_array_equal(found.mean[:, ::2], found.mean[:, 1::2])


def test_runs_that_diverged_are_counted_and_left_out() -> None:
    found = stability_map(Clouds(), learning_rates=RATES[:2], max_norms=(1.0,), seeds=range(3), steps=2, batch_size=8)
    assert found is not None
    losses, diverged = found.losses.copy(), np.zeros((2, 1, 3), dtype=bool)
    diverged[0, 0, :2], diverged[1, 0, :] = True, True
    object.__setattr__(found, "diverged", diverged)
    cells = as_table(found, "validation_loss")
    assert cells.diverged.tolist() == [[2, 3]] and cells.runs.tolist() == [[3, 3]]
    np.testing.assert_allclose(cells.mean, [[losses[0, 0, 2], np.nan]])
    assert np.isnan(cells.std).all()


def test_what_cannot_be_is_refused_in_one_line_before_anything_is_shown() -> None:
    for arguments, wrong in (
        ({"learning_rates": (0.1, 0.1)}, "0.1 twice"),
        ({"max_norms": (-1.0,)}, "max_norm is -1.0"),
        ({"seeds": 1}, "seeds is 1; it must be a whole number of seeds, 2 or more"),
        ({"steps": 0}, "steps is 0"),
        ({"score": "speed"}, "a map has validation_loss and accuracy"),
        ({"max_norm": slider(1.0, 0.5, 2.0, label="bound")}, "there is no control 'max_norm'"),
        ({"speed": slider(1.0, 0.5, 2.0, label="speed")}, "there is no control 'speed'"),
        ({"gamma": w.HBox()}, "control 'gamma' has no value"),
        ({"settings": Settings(schedule="plateau")}, "plateau"),
    ):
        with pytest.raises(ValueError, match=wrong) as caught:
            stability_map_view(Clouds(), **{"learning_rates": RATES, "max_norms": BOUNDS, **arguments})
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="not features"):
        stability_map_view(Clouds((4, 4)), learning_rates=RATES, max_norms=BOUNDS)


@pytest.mark.parametrize(("optimizer", "named"), [("nesterov", "momentum"), ("adamw", "beta2"), ("sgd", "steps")])
def test_the_usual_sliders_are_those_that_the_optimizer_has(optimizer: str, named: str) -> None:
    view = stability_map_view(Clouds(), learning_rates=RATES, max_norms=BOUNDS, settings=Settings(optimizer=optimizer))
    assert {"weight_decay", "warmup_steps", "steps", named} == set(view.controls)
    view.close()
