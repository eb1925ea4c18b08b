from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from support.helpers import normal
from torch import nn
from torch.nn.utils import prune

from stablelab.formulas import gradual_sparsity, magnitude_masks


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.901, 1.0])
def test_the_masks_are_those_of_torchs_global_pruning(sparsity: float) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(32, 5))
    net[2].weight.data *= 3  # so that one threshold for all is not one for each
    ours = magnitude_masks([net[0].weight, net[2].weight], sparsity)
    prune.global_unstructured(
        [(net[0], "weight"), (net[2], "weight")], pruning_method=prune.L1Unstructured, amount=sparsity
    )
    for mask, layer in zip(ours, (net[0], net[2]), strict=True):
        assert torch.equal(mask.float(), layer.weight_mask)
    assert sum(int((~mask).sum()) for mask in ours) == round(sparsity * (216 + 160))


def test_the_largest_stay_whatever_tensor_they_are_in() -> None:
    weights = [torch.tensor([[0.1, -5.0], [2.0, 0.0]]), torch.tensor([0.2, -0.3])]
    first, second = magnitude_masks(weights, 0.5)
    assert first.tolist() == [[False, True], [True, False]] and second.tolist() == [False, True]


def test_pruning_again_takes_what_was_pruned_first() -> None:
    weights = [normal(30, 20)]
    before = magnitude_masks(weights, 0.4)[0]
    after = magnitude_masks([weights[0] * before], 0.7)[0]
    assert torch.equal(after, magnitude_masks(weights, 0.7)[0]) and not (after & ~before).any()


def test_the_sparsity_grows_fast_then_slowly() -> None:
    steps = [gradual_sparsity(k, 10, 110, 0.8) for k in range(130)]
    assert steps[:11] == [0.0] * 11 and steps[110:] == [0.8] * 20
    assert steps[60] == pytest.approx(0.8 * (1 - 0.5**3))
    rises = [b - a for a, b in pairwise(steps[10:111])]
    assert all(a > b > 0 for a, b in pairwise(rises))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: magnitude_masks([], 0.5), "at least one tensor"),
        (lambda: magnitude_masks([normal(3)], 1.5), "sparsity is 1.5"),
        (lambda: magnitude_masks([torch.tensor([math.nan, 1.0])], 0.5), "nan"),
        (lambda: gradual_sparsity(3, 5, 5, 0.5), "last is 5"),
        (lambda: gradual_sparsity(-1, 0, 5, 0.5), "step"),
    ],
)
def test_bad_input_is_one_line(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert words in str(caught.value) and "\n" not in str(caught.value)
