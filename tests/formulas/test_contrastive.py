"""The loss of CLIP against transformers' own, a brute force and autograd."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.helpers import normal
from transformers.models.clip.modeling_clip import image_text_contrastive_loss

from stablelab.formulas import clip_gradients, clip_loss, info_nce, recall_at, similarities


def _brute_force(u: torch.Tensor, v: torch.Tensor, log_scale: float) -> float:
    n, total = len(u), 0.0
    S = [[math.exp(log_scale) * float(a @ b / (a.norm() * b.norm())) for b in v] for a in u]
    for i in range(n):
        total += math.log(sum(math.exp(S[i][j]) for j in range(n))) - S[i][i]
        total += math.log(sum(math.exp(S[j][i]) for j in range(n))) - S[i][i]
    return total / (2 * n)


@pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
def test_the_loss_is_transformers_own_a_brute_force_and_info_nce(scale: float) -> None:
    u, v = normal(6, 5), 3 * normal(6, 5, seed=1)
    found = clip_loss(u, v, math.log(scale))
    S = similarities(u, v, math.log(scale))
    torch.testing.assert_close(found, image_text_contrastive_loss(S.T), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found, info_nce(u, v, 1 / scale), rtol=1e-12, atol=1e-12)
    assert float(found) == pytest.approx(_brute_force(u, v, math.log(scale)), rel=1e-12)


def test_equal_vectors_cost_log_n_and_a_picture_may_be_of_any_length() -> None:
    ones = torch.ones(5, 3, dtype=torch.float64)
    assert float(clip_loss(ones, ones, 2.0)) == pytest.approx(math.log(5), rel=1e-12)
    u, v = normal(4, 3), normal(4, 3, seed=1)
    torch.testing.assert_close(clip_loss(7 * u, 0.1 * v, 1.0), clip_loss(u, v, 1.0), rtol=1e-12, atol=1e-12)


def test_the_gradients_are_those_of_autograd() -> None:
    u, v, theta = normal(7, 4), normal(7, 4, seed=1), torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    S = similarities(u, v, theta)
    S.retain_grad()
    loss = 0.5 * (
        torch.nn.functional.cross_entropy(S, torch.arange(7)) + torch.nn.functional.cross_entropy(S.T, torch.arange(7))
    )
    loss.backward()
    by_similarity, by_theta = clip_gradients(S.detach())
    torch.testing.assert_close(by_similarity, S.grad, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(by_theta, theta.grad, rtol=1e-12, atol=1e-14)
    assert float(by_similarity.sum()) == pytest.approx(0, abs=1e-12)


def test_recall_by_a_sort_and_a_tie_counts_against() -> None:
    S = normal(9, 9)
    for k in (1, 3, 9):
        rows = sum(i in S[i].topk(k).indices for i in range(9)) / 9
        columns = sum(i in S[:, i].topk(k).indices for i in range(9)) / 9
        assert recall_at(S, k) == pytest.approx((rows, columns))
    assert recall_at(torch.ones(4, 4), 1) == (0.0, 0.0) and recall_at(torch.ones(4, 4), 4) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: similarities(normal(3, 4), normal(3, 5), 0.0), "not (3, 4) and (3, 5)"),
        (lambda: clip_loss(normal(3, 4), normal(2, 4), 0.0), "u"),
        (lambda: clip_loss(normal(1, 4), normal(1, 4), 0.0), "at least two pairs, not (1, 4)"),
        (lambda: clip_gradients(normal(3, 4)), "not (3, 4)"),
        (lambda: recall_at(normal(3, 4)), "not (3, 4)"),
        (lambda: recall_at(normal(3, 3), 0), "k"),
    ],
)
def test_bad_input_is_one_line(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert words in str(caught.value) and "\n" not in str(caught.value)
