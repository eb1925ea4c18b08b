from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

import stablelab as lab
from stablelab.stability import Subsets, Trial
from stablelab.training import Settings


def test_a_sweep_is_every_combination(make_sweep: Callable[..., lab.Sweep]) -> None:
    sweep = make_sweep(
        {"learning_rate": [1e-3, 1e-2], "max_norm": [None, 1.0]}, seeds=[3, 5], subsets=("disjoint", 2), optimizer="sgd"
    )
    assert sweep.total == 2 * 2 * 2 * 2
    assert len(set(sweep.keys)) == sweep.total
    assert {p.settings.optimizer for p in sweep.trials} == {"sgd"}
    assert {(p.init, p.order) for p in sweep.trials} == {(3, 3), (5, 5)}
    assert {p.subset for p in sweep.trials} == {0, 1}


def test_seeds_of_weights_and_of_data_can_be_crossed(make_sweep: Callable[..., lab.Sweep]) -> None:
    sweep = make_sweep(inits=range(2), orders=[7, 8, 9])
    assert [(p.init, p.order) for p in sweep.trials] == [(0, 7), (0, 8), (0, 9), (1, 7), (1, 8), (1, 9)]


def test_a_trial_is_what_it_was_written_as() -> None:
    trial = Trial(Settings(learning_rate=0.3, max_norm=None), init=1, order=2, subset=3)
    assert Trial.from_dict(trial.to_dict()) == trial


@pytest.mark.parametrize(
    ("grid", "arguments", "message"),
    [
        ({"lr": [1e-3]}, {}, "grid: there is no setting 'lr'; there are"),
        ({"learning_rate": 1e-3}, {}, "grid: learning_rate is 0.001; it must be a list of values, such as [0.001]"),
        ({"learning_rate": []}, {}, "grid: learning_rate is []; it must be a list"),
        ({"learning_rate": [1e-3, -1.0]}, {}, "grid: learning_rate is -1.0; it must be a finite number above 0"),
        ({"learning_rate": [1e-3, 1e-3]}, {}, "grid: learning_rate has 0.001 twice"),
        ({"unfrozen": [1, 9]}, {}, "unfrozen is 9, but this model has 2 layers"),
        ({"schedule": ["plateau"]}, {}, 'schedule is "plateau", which looks at validations; give evaluate_every='),
        ({"early_stopping": [2]}, {}, "early_stopping is 2, but it looks at validations"),
        ({"learning_rate": [1e-3]}, {"learning_rate": 1e-2}, "learning_rate is given twice, in the grid and by itself"),
        (None, {"seeds": [1, 2, 1]}, "seeds has 1 twice"),
        (None, {"seeds": []}, "seeds is empty"),
        (None, {"seeds": 3}, "seeds is 3; it must be a list of seeds"),
        (None, {"seeds": [-1]}, "seeds: a seed is -1; it must be a whole number, 0 or more"),
        (None, {"orders": [4, 4]}, "orders has 4 twice"),
        (None, {"subsets": ("bootstrap", 0)}, "subsets: the count is 0"),
        (None, {"subsets": ("halves", 2)}, "subsets: the kind is 'halves'; it must be one of bootstrap, disjoint"),
        (None, {"subsets": "bootstrap"}, "subsets is 'bootstrap'; it must be a pair"),
        (None, {"subsets": ("disjoint", 30)}, "batch_size is 10, but there are only 2 training examples"),
        (None, {"subsets": ("disjoint", 90)}, "60 training examples cannot be dealt out to 90 disjoint subsets"),
        (None, {"batch_size": 100}, "batch_size is 100, but there are only 60 training examples"),
        (None, {"no_such_setting": 1}, "sweep has no argument 'no_such_setting'; "),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    make_sweep: Callable[..., lab.Sweep], grid: object, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError) as caught:
        make_sweep(grid, **arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_seeds_and_inits_exclude_each_other(tiny_task: lab.data.Task) -> None:
    with pytest.raises(ValueError, match="give seeds, or inits and orders, not both"):
        lab.sweep(lab.resnet, tiny_task, seeds=[1], inits=[1])


def test_equal_settings_are_the_same_run_however_they_are_written(make_sweep: Callable[..., lab.Sweep]) -> None:
    whole, real = make_sweep({"max_norm": [1, 2]}), make_sweep({"max_norm": (float(norm) for norm in (1, 2))})
    assert whole.keys == real.keys and whole.total == 4
    assert make_sweep({"learning_rate": np.float32([0.5])}).keys == make_sweep({"learning_rate": [0.5]}).keys


def test_a_model_must_be_made_anew_for_each_seed(tiny_task: lab.data.Task) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 10))
    with pytest.raises(ValueError, match="model must be what makes a fresh model for each seed, such as lab.resnet"):
        lab.sweep(net, tiny_task)
    again = lab.sweep(lambda task, seed: net, tiny_task, steps=1)
    again.run(bar=False)
    assert again.errors == ["ValueError: model gave the same model again; it must make a fresh one each time"] * 3


def test_a_model_that_forgets_its_seed_is_drawn_from_it_all_the_same(tiny_task: lab.data.Task) -> None:
    def forgetful(task: lab.data.Task, seed: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(192, 10))

    def dropping(task: lab.data.Task, seed: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(192, 10))

    first, second, other = (lab.sweep(m, tiny_task, steps=1, seeds=[0, 1]) for m in (forgetful, forgetful, dropping))
    assert first.keys == second.keys
    assert not set(other.keys) & set(first.keys)


def test_disjoint_subsets_deal_out_every_example_once() -> None:
    subsets = Subsets("disjoint", 3, seed=4)
    parts = [subsets.positions(11, i) for i in range(3)]
    assert sorted(torch.cat(parts).tolist()) == list(range(11))
    assert {len(part) for part in parts} == {3, 4}


def test_a_bootstrap_draws_as_many_with_replacement() -> None:
    positions = Subsets("bootstrap", 2).positions(1000, 1)
    assert len(positions) == 1000
    assert abs(len(positions.unique()) / 1000 - (1 - np.exp(-1))) < 0.05
    assert torch.equal(positions, Subsets("bootstrap", 5).positions(1000, 1))  # subset 1 is subset 1
    assert not torch.equal(positions, Subsets("bootstrap", 2).positions(1000, 0))


def test_a_run_learns_from_its_subset_alone(make_sweep: Callable[..., lab.Sweep]) -> None:
    whole, part = make_sweep(), make_sweep(subsets=("disjoint", 2))
    parts = part.trainable.prepare(part.trials[1])
    assert len(parts.task.train) == 30 and len(parts.task.validation) == 40
    assert whole.keys[0] not in part.keys  # and so they are other runs
