from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from stablelab.formulas import CLIPS, clip_, clip_by_global_norm, clip_by_tensor_norm, clip_by_value, global_norm

PURE = {"norm": clip_by_global_norm, "tensor": clip_by_tensor_norm, "value": clip_by_value}
THRESHOLDS = [1e-3, 0.5, 1.0, 3.0, 5.0, 100.0]


def gradients(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((4, 3), (), (7,), (2, 2, 2), (0,))
    return [scale * torch.randn(s, dtype=dtype, generator=generator) for scale, s in enumerate(shapes, start=1)]


def by_torch(kind: str, max_norm: float, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    parameters = [torch.nn.Parameter(torch.zeros_like(g)) for g in gradients(dtype)]
    for p, g in zip(parameters, gradients(dtype), strict=True):
        p.grad = g
    if kind == "value":
        torch.nn.utils.clip_grad_value_(parameters, max_norm)
    for group in [parameters] if kind == "norm" else [[p] for p in parameters] if kind == "tensor" else []:
        torch.nn.utils.clip_grad_norm_(group, max_norm)
    return [p.grad for p in parameters]


def norm_of(tensors: list[Tensor]) -> float:
    return math.sqrt(sum(t.square().sum().item() for t in tensors))


def assert_same(ours: list[Tensor], theirs: list[Tensor], rtol: float = 1e-12) -> None:
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our, their, rtol=rtol, atol=0, equal_nan=True)


@pytest.mark.parametrize("max_norm", THRESHOLDS)
@pytest.mark.parametrize("kind", CLIPS)
def test_formula_is_torchs_and_the_norms_are_true(kind: str, max_norm: float) -> None:
    given = gradients()
    clipped, before, after = PURE[kind](given, max_norm)
    assert_same(clipped, by_torch(kind, max_norm))
    assert_same(given, gradients(), rtol=0)
    assert before.item() == pytest.approx(norm_of(given), rel=1e-12)
    assert after.item() == pytest.approx(norm_of(clipped), rel=1e-12)


@pytest.mark.parametrize("max_norm", THRESHOLDS)
@pytest.mark.parametrize("kind", CLIPS)
def test_in_place_is_the_formula(kind: str, max_norm: float) -> None:
    expected, before, after = PURE[kind](gradients(), max_norm)
    given = gradients()
    versions = [g._version for g in given]
    result = clip_(given, kind, max_norm)
    assert_same(given, expected)
    assert result[:2] == pytest.approx((before.item(), after.item()), rel=1e-12)
    changed = any(not torch.equal(g, old) for g, old in zip(given, gradients(), strict=True))
    assert result[2] is changed
    if not changed:
        assert result[0] == result[1]
        assert [g._version for g in given] == versions, "nothing to clip, and yet something was written"


@pytest.mark.parametrize("max_norm", THRESHOLDS)
def test_in_place_is_torchs_bit_for_bit_in_float32(max_norm: float) -> None:
    given = gradients(torch.float32)
    clip_(given, "norm", max_norm)
    assert all(torch.equal(a, b) for a, b in zip(given, by_torch("norm", max_norm, torch.float32), strict=True))


@pytest.mark.parametrize("kind", CLIPS)
def test_many_models_are_clipped_at_once_each_by_itself(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    together = [torch.randn(5, *shape, dtype=torch.float64, generator=generator) for shape in ((4, 3), (), (7,))]
    thresholds = torch.tensor([0.1, 0.7, 1.0, 4.0, math.inf], dtype=torch.float64)
    clipped, before, after = PURE[kind](together, thresholds, batch_dims=1)
    for r, threshold in enumerate(thresholds[:4].tolist()):
        alone, norm, norm_after = PURE[kind]([g[r] for g in together], threshold)
        assert_same([g[r] for g in clipped], alone)
        assert_same([before[r], after[r]], [norm, norm_after])
    assert_same([g[4] for g in clipped], [g[4] for g in together], rtol=0)


def test_what_each_kind_promises() -> None:
    clipped, before, after = clip_by_global_norm(gradients(), 0.5)
    assert after.item() == pytest.approx(0.5, rel=1e-6) and after <= 0.5 < before
    cosine = sum((a * b).sum() for a, b in zip(clipped, gradients(), strict=True)) / (before * after)
    assert cosine.item() == pytest.approx(1, rel=1e-12)
    assert all(g.norm() <= 0.5 for g in clip_by_tensor_norm(gradients(), 0.5)[0])
    assert max(g.abs().max() for g in clip_by_value(gradients(), 0.5)[0] if g.numel()) == 0.5


def test_a_large_tensor_does_not_silence_the_others_when_each_has_its_own_norm() -> None:
    small, large = torch.tensor([0.1]), torch.tensor([1e6])
    assert clip_by_tensor_norm([small, large], 1.0)[0][0] == small
    assert clip_by_global_norm([small, large], 1.0)[0][0] < 1e-6


@pytest.mark.parametrize("kind", CLIPS)
def test_none_only_measures(kind: str) -> None:
    given = gradients()
    before, after, clipped = clip_(given, kind, None)
    assert before == after == pytest.approx(norm_of(gradients()), rel=1e-12)
    assert clipped is False
    assert_same(given, gradients(), rtol=0)


@pytest.mark.parametrize("kind", CLIPS)
def test_no_gradients_and_zero_gradients(kind: str) -> None:
    assert clip_([], kind, 1.0) == (0.0, 0.0, False)
    assert clip_([torch.zeros(3)], kind, 1.0) == (0.0, 0.0, False)
    assert [float(x) for x in PURE[kind]([], 1.0)[1:]] == [0.0, 0.0]
    assert global_norm([]) == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", CLIPS)
def test_a_gradient_that_is_not_finite_comes_back_as_in_torch(kind: str, bad: float) -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    parameter.grad = torch.tensor([1.0, bad, -2.0])
    if kind == "value":
        torch.nn.utils.clip_grad_value_([parameter], 0.5)
    else:
        torch.nn.utils.clip_grad_norm_([parameter], 0.5)
    given = [torch.tensor([1.0, bad, -2.0])]
    pure, pure_before, pure_after = PURE[kind](given, 0.5)
    before, after, clipped = clip_(given, kind, 0.5)
    assert_same(given, [parameter.grad])
    assert_same(pure, [parameter.grad])
    assert not math.isfinite(before) and math.isnan(before) == math.isnan(bad)
    assert pure_before.item() == before or math.isnan(before)
    assert clipped is True
    expected = norm_of(given)
    assert after == pytest.approx(expected, nan_ok=True) and pure_after.item() == pytest.approx(expected, nan_ok=True)


def test_inf_passes_through_when_nothing_is_clipped() -> None:
    assert clip_([torch.tensor([math.inf])], "norm", None) == (math.inf, math.inf, False)


@pytest.mark.parametrize("bad", [0, -1.0, math.nan, math.inf, "1", True, torch.tensor(1.0)])
@pytest.mark.parametrize("call", [*PURE.values(), *(lambda g, x, kind=kind: clip_(g, kind, x) for kind in CLIPS)])
def test_a_bad_threshold_is_one_line(call: Callable[..., Any], bad: Any) -> None:
    with pytest.raises(ValueError, match=r"^max_(norm|value) is .*; it must be a finite number above 0$"):
        call(gradients(), bad)


@pytest.mark.parametrize("call", PURE.values())
def test_a_bad_threshold_among_many_is_one_line(call: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"^max_(norm|value) has entries that are not above 0; [^\n]*$"):
        call([torch.ones(2, 3)], torch.tensor([1.0, math.nan]), batch_dims=1)


def test_an_unknown_kind_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"^kind of clipping must be one of norm, tensor, value, not 'huge'$"):
        clip_(gradients(), "huge", 1.0)
