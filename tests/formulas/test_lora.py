from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.helpers import normal

from stablelab.formulas import lora, lora_merged


def test_with_b_at_zero_it_is_the_layer_to_the_bit() -> None:
    x, weight, bias = normal(3, 5, 7), normal(4, 7, seed=1), normal(4, seed=2)
    there = lora(x, weight, normal(2, 7, seed=3), torch.zeros(4, 2, dtype=torch.float64), 16.0, bias)
    assert torch.equal(there, x @ weight.T + bias)


@pytest.mark.parametrize("rank", [1, 3])
def test_it_is_the_layer_with_the_merged_weight(rank: int) -> None:
    x, weight, bias = normal(3, 5, 7), normal(4, 7, seed=1), normal(4, seed=2)
    A, B = normal(rank, 7, seed=3), normal(4, rank, seed=4)
    merged = lora_merged(weight, A, B, 5.0)
    torch.testing.assert_close(merged, weight + 5 / rank * B @ A, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(lora(x, weight, A, B, 5.0, bias), F.linear(x, merged, bias), rtol=1e-12, atol=1e-12)
    assert torch.linalg.matrix_rank(merged - weight) == rank


def test_in_the_first_step_only_b_moves_and_with_both_at_zero_nothing() -> None:
    x, weight = normal(6, 7), normal(4, 7, seed=1)
    for A, moving in ((normal(2, 7, seed=3), True), (torch.zeros(2, 7, dtype=torch.float64), False)):
        A, B = A.requires_grad_(), torch.zeros(4, 2, dtype=torch.float64, requires_grad=True)
        output = lora(x, weight, A, B, 6.0)
        g = normal(6, 4, seed=5)
        output.backward(g)
        assert not A.grad.any() and bool(B.grad.any()) is moving
        torch.testing.assert_close(B.grad, 6 / 2 * g.T @ (x @ A.detach().T), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: lora(normal(7), normal(4, 7), normal(2, 6), normal(4, 2), 1.0), "A (r, d) and B (k, r), not (4, 7)"),
        (lambda: lora(normal(7), normal(4, 7), normal(2, 7), normal(4, 3), 1.0), "rank 2 and B has rank 3"),
        (lambda: lora(normal(7), normal(4, 7), normal(0, 7), normal(4, 0), 1.0), "A (r, d)"),
        (lambda: lora_merged(normal(4, 7), normal(2, 7), normal(4, 2), 0.0), "alpha is 0.0"),
    ],
)
def test_bad_input_is_one_line(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert words in str(caught.value) and "\n" not in str(caught.value)
