from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import stats
from support.helpers import normal

from stablelab.formulas import attention_rollout, rank_correlation, ranks


@pytest.mark.parametrize("seed", range(5))
def test_ranks_and_their_correlation_are_scipys_with_ties_too(seed: int) -> None:
    a, b = (normal(4, 12, seed=seed + i).mul(2).round() for i in (0, 50))  # whole numbers: many are equal
    assert ranks(a).tolist() == stats.rankdata(a.numpy(), axis=-1).tolist()
    expected = [float(stats.spearmanr(x.numpy(), y.numpy()).statistic) for x, y in zip(a, b, strict=True)]
    assert rank_correlation(a, b).tolist() == pytest.approx(expected, abs=1e-12)


def test_the_order_in_which_equal_scores_are_stored_does_not_count() -> None:
    a, b = normal(12, seed=1).mul(2).round(), normal(12, seed=2).round()
    turned = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    assert rank_correlation(a, b) == pytest.approx(float(rank_correlation(a[turned], b[turned])), abs=1e-14)
    assert rank_correlation(a, a) == pytest.approx(1) and rank_correlation(a, -a) == pytest.approx(-1)
    assert rank_correlation(a, torch.zeros(12)).isnan()


def test_rollout_is_the_sum_over_all_ways_through_the_layers() -> None:
    weights = normal(3, 4, 4).softmax(-1)
    rolled = attention_rollout(weights)
    layers = (weights + torch.eye(4)) / 2
    for i in range(4):
        for j in range(4):
            ways = sum(layers[2, i, p] * layers[1, p, q] * layers[0, q, j] for p in range(4) for q in range(4))
            assert rolled[i, j].item() == pytest.approx(float(ways), abs=1e-14)
    assert rolled.sum(-1).tolist() == pytest.approx([1.0] * 4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: rank_correlation(normal(3), normal(4)), "one shape (..., R) with R of 2 or more, not (3,) and (4,)"),
        (lambda: rank_correlation(normal(2, 1), normal(2, 1)), "with R of 2 or more"),
        (lambda: rank_correlation(torch.tensor([1.0, float("nan")]), normal(2)), "a score is nan"),
        (lambda: attention_rollout(normal(3, 4)), "they must be (L, T, T)"),
        (lambda: attention_rollout(normal(0, 4, 4)), "weights are (0, 4, 4)"),
    ],
)
def test_bad_input_is_one_line(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert words in str(caught.value) and "\n" not in str(caught.value)
