from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

import stablelab as lab
from stablelab.stability import Subsets


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
    parts = part.recipe.prepare(part.points[1])
    assert len(parts.task.train) == 30 and len(parts.task.validation) == 40
    assert whole.keys[0] not in part.keys  # and so they are other runs
