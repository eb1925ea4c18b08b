from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.helpers import normal

from stablelab.formulas import dequantize_int8, quantize_int8

WEIGHT = normal(16, 3, 5, 5) * torch.logspace(-2, 1, 16, dtype=torch.float64).view(16, 1, 1, 1)


def test_the_round_trip_per_tensor_is_torchs() -> None:
    x = WEIGHT.float()
    q, scale = quantize_int8(x)
    assert q.dtype == torch.int8 and q.abs().max() == 127 and scale.shape == ()
    theirs = torch.fake_quantize_per_tensor_affine(x, scale, torch.zeros((), dtype=torch.int32), -127, 127)
    assert_within_a_tie(dequantize_int8(q, scale), theirs, scale)


@pytest.mark.parametrize("dim", [0, 1])
def test_the_round_trip_per_channel_is_torchs(dim: int) -> None:
    x = WEIGHT.float()
    q, scale = quantize_int8(x, dim)
    assert scale.shape == tuple(n if i == dim else 1 for i, n in enumerate(x.shape))
    zeros = torch.zeros(x.shape[dim], dtype=torch.int32)
    theirs = torch.fake_quantize_per_channel_affine(x, scale.flatten(), zeros, dim, -127, 127)
    assert_within_a_tie(dequantize_int8(q, scale), theirs, scale)


def assert_within_a_tie(ours: torch.Tensor, theirs: torch.Tensor, scale: torch.Tensor) -> None:
    """Equal; but one step apart where x / s lies between two whole numbers: torch multiplies by the inverse of s."""
    apart = ((ours - theirs) / scale).abs()
    assert apart.max() < 1.01 and (apart > 0.01).float().mean() < 1e-3


def test_no_weight_is_off_by_more_than_half_a_step_and_the_spread_is_that_of_even_errors() -> None:
    x = normal(200, 300)
    q, scale = quantize_int8(x)
    error = dequantize_int8(q, scale) - x
    assert error.abs().max() <= scale / 2 * (1 + 1e-9)
    assert error.std().item() == pytest.approx(scale.item() / math.sqrt(12), rel=0.01)
    again, same = quantize_int8(dequantize_int8(q, scale))
    assert torch.equal(again, q)
    torch.testing.assert_close(same, scale, rtol=1e-12, atol=0)


def test_a_scale_for_each_channel_keeps_small_channels_from_a_large_one() -> None:
    errors = []
    for dim in (None, 0):
        q, scale = quantize_int8(WEIGHT, dim)
        errors.append((dequantize_int8(q, scale) - WEIGHT)[0].norm() / WEIGHT[0].norm())
    assert errors[0] > 0.5 and errors[1] < 0.02  # of the smallest channel little is left, or nearly all


def test_what_is_all_zero_stays_zero_and_negative_dimensions_count_from_the_end() -> None:
    q, scale = quantize_int8(torch.zeros(3, 2))
    assert not q.any() and scale == 1 and not dequantize_int8(q, scale).any()
    for one, other in zip(quantize_int8(WEIGHT, 0), quantize_int8(WEIGHT, -4), strict=True):
        assert torch.equal(one, other)
    q, scale = quantize_int8(torch.tensor([0.5, -4.0, 0.0]), 0)
    assert q.tolist() == [127, -127, 0] and dequantize_int8(q, scale).tolist() == pytest.approx([0.5, -4, 0])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: quantize_int8(torch.tensor([1, 2])), "finite floating-point numbers, at least one; x is torch.int64"),
        (lambda: quantize_int8(torch.tensor([1.0, math.inf])), "finite"),
        (lambda: quantize_int8(torch.zeros(0)), "at least one"),
        (lambda: quantize_int8(normal(3, 2), 2), "dimensions 0 to 1"),
    ],
)
def test_bad_input_is_one_line(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert words in str(caught.value) and "\n" not in str(caught.value)
