from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.helpers import normal
from torch import Tensor

from stablelab.formulas import attention_weights, causal_mask, info_nce, scaled_dot_product_attention


def padding() -> Tensor:
    """The last two of seven keys of the second sentence are padding: (2, 1, 1, 7)."""
    mask = torch.ones(2, 1, 1, 7, dtype=torch.bool)
    mask[1, ..., -2:] = False
    return mask


@pytest.mark.parametrize(
    "mask", [None, causal_mask(5)[:, [0, 1, 1, 2, 3, 4, 4]], padding()], ids=["all", "some", "pad"]
)
@pytest.mark.parametrize("scale", [None, 1.0])
def test_attention_of_several_heads_equals_torchs(mask: Tensor | None, scale: float | None) -> None:
    inputs = [normal(2, 3, 5, 8), normal(2, 3, 7, 8, seed=1), normal(2, 3, 7, 4, seed=2)]
    ours, theirs = ([each.clone().requires_grad_() for each in inputs] for _ in range(2))
    ours_out = scaled_dot_product_attention(*ours, mask=mask, scale=scale)
    theirs_out = F.scaled_dot_product_attention(*theirs, attn_mask=mask, scale=scale)
    torch.testing.assert_close(ours_out, theirs_out, rtol=1e-12, atol=1e-14)
    weights = normal(2, 3, 5, 4, seed=3)
    (ours_out * weights).sum().backward()
    (theirs_out * weights).sum().backward()
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our.grad, their.grad, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("length", [1, 6])
def test_causal_attention_equals_torchs(length: int) -> None:
    q, k, v = (normal(4, length, 8, seed=seed) for seed in range(3))
    ours = scaled_dot_product_attention(q, k, v, mask=causal_mask(length))
    torch.testing.assert_close(ours, F.scaled_dot_product_attention(q, k, v, is_causal=True), rtol=1e-12, atol=1e-14)


def test_the_weights_of_a_row_sum_to_one_and_are_zero_behind_the_mask() -> None:
    A = attention_weights(normal(4, 3), normal(4, 3, seed=1), causal_mask(4))
    torch.testing.assert_close(A.sum(-1), torch.ones(4, dtype=torch.float64))
    assert A.triu(1).eq(0).all() and A[0, 0] == 1
    even = attention_weights(normal(4, 3), normal(5, 3, seed=1), scale=0)
    torch.testing.assert_close(even, torch.full((4, 5), 0.2, dtype=torch.float64))


def test_huge_scores_do_not_overflow() -> None:
    A = attention_weights(1e5 * normal(4, 3), 1e5 * normal(4, 3, seed=1))
    assert A.isfinite().all() and A.amax(-1).eq(1).all()


def test_a_causal_mask() -> None:
    assert causal_mask(3).tolist() == [[True, False, False], [True, True, False], [True, True, True]]


def info_nce_by_hand(z1: Tensor, z2: Tensor, temperature: float) -> float:
    """The mean over both sides of -log(e^s_ii / Σ_j e^s_ij), number by number."""
    N = len(z1)
    s = [[F.cosine_similarity(z1[i], z2[j], dim=0).item() / temperature for j in range(N)] for i in range(N)]
    rows = sum(-s[i][i] + math.log(sum(math.exp(s[i][j]) for j in range(N))) for i in range(N))
    columns = sum(-s[i][i] + math.log(sum(math.exp(s[j][i]) for j in range(N))) for i in range(N))
    return (rows + columns) / (2 * N)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_info_nce_by_brute_force(temperature: float) -> None:
    z1, z2 = normal(6, 4), normal(6, 4, seed=1)
    loss = info_nce(z1, z2, temperature)
    assert loss.item() == pytest.approx(info_nce_by_hand(z1, z2, temperature), rel=1e-12)
    assert info_nce(3 * z1, 0.1 * z2, temperature).item() == pytest.approx(loss.item(), rel=1e-9)
    assert torch.autograd.gradcheck(
        lambda a, b: info_nce(a, b, temperature), (z1.requires_grad_(), z2.requires_grad_())
    )


def test_info_nce_of_views_that_tell_nothing_and_of_views_that_tell_all() -> None:
    same = torch.ones(8, 3, dtype=torch.float64)
    assert info_nce(same, same).item() == pytest.approx(math.log(8))
    apart = torch.eye(8, dtype=torch.float64)
    assert info_nce(apart, apart, 0.01).item() < 1e-9


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: attention_weights(normal(3), normal(2, 3)), "not (3,) and (2, 3)"),
        (lambda: attention_weights(normal(2, 3), normal(2, 4)), "of one d, not (2, 3) and (2, 4)"),
        (lambda: attention_weights(normal(2, 3), normal(0, 3)), "not (2, 3) and (0, 3)"),
        (lambda: attention_weights(normal(2, 3), normal(2, 3), torch.ones(2, 2)), "mask must be boolean"),
        (lambda: attention_weights(normal(2, 3), normal(2, 3), causal_mask(3)), "(3, 3), which does not fit"),
        (lambda: attention_weights(normal(2, 3), normal(2, 3), causal_mask(2)[None]), "does not fit scores (2, 2)"),
        (lambda: attention_weights(normal(2, 3), normal(2, 3), ~causal_mask(2)), "nothing to look at"),
        (lambda: attention_weights(normal(2, 3), normal(2, 3), scale=math.nan), "scale is nan"),
        (lambda: scaled_dot_product_attention(*[normal(2, 3)] * 2, normal(3, 3)), "one value per key, not (3, 3)"),
        (lambda: causal_mask(0), "length is 0"),
        (lambda: info_nce(normal(3, 2), normal(2, 2)), "same shape"),
        (lambda: info_nce(normal(1, 2), normal(1, 2)), "at least two examples"),
        (lambda: info_nce(normal(4), normal(4)), "not (4,)"),
        (lambda: info_nce(normal(3, 2), normal(3, 2), 0.0), "temperature is 0.0"),
    ],
)
def test_bad_input_is_one_line(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
