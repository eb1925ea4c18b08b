from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.helpers import normal
from torch import Tensor

from stablelab.formulas import cross_entropy, log_softmax, mean_squared_error


def with_gradient(loss: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    value = loss(x, y)
    value.backward()
    return value.detach(), x.grad


def assert_same(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> None:
    for our, their in zip(ours, theirs, strict=True):
        # The gradient of an example that is all but certain is 1 - 1: what is left is rounding, on both sides.
        torch.testing.assert_close(our, their, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("shape", [(7,), (5, 3), (2, 3, 4)])
def test_mean_squared_error(shape: tuple[int, ...]) -> None:
    x, y = normal(*shape), normal(*shape, seed=1)
    assert_same(with_gradient(mean_squared_error, x, y), with_gradient(F.mse_loss, x, y))


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0, 1e4, 1e300])
def test_cross_entropy(scale: float) -> None:
    logits, targets = scale * normal(50, 6), torch.arange(50) % 6
    assert_same(with_gradient(cross_entropy, logits, targets), with_gradient(F.cross_entropy, logits, targets))


def test_cross_entropy_of_extreme_logits() -> None:
    logits = torch.tensor([[1e4, -1e4], [1e4, -1e4], [-1e4, -1e4], [1e4, 1e4]], dtype=torch.float64)
    targets = torch.tensor([0, 1, 0, 1])
    loss, gradient = with_gradient(cross_entropy, logits, targets)
    assert loss.item() == pytest.approx((0 + 2e4 + 2 * math.log(2)) / 4, rel=1e-12)
    expected = torch.tensor([[0, 0], [1, -1], [-0.5, 0.5], [0.5, -0.5]], dtype=torch.float64) / 4
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=0)
    single = logits.float()
    torch.testing.assert_close(cross_entropy(single, targets), F.cross_entropy(single, targets))


def test_a_class_ruled_out_by_an_infinite_logit() -> None:
    logits, targets = torch.tensor([[0.0, -math.inf, 1.0]], dtype=torch.float64), torch.tensor([2])
    assert_same(with_gradient(cross_entropy, logits, targets), with_gradient(F.cross_entropy, logits, targets))


@pytest.mark.parametrize("kind", [torch.int32, torch.uint8, torch.int64])
def test_any_integer_targets(kind: torch.dtype) -> None:
    logits, targets = normal(4, 3), torch.tensor([0, 1, 2, 1])
    assert cross_entropy(logits, targets.to(kind)) == cross_entropy(logits, targets)


def test_an_even_guess_costs_log_c() -> None:
    assert cross_entropy(torch.zeros(2, 10), torch.tensor([3, 7])).item() == pytest.approx(math.log(10))


@pytest.mark.parametrize("shape", [(4,), (5, 3), (2, 3, 4)])
def test_log_softmax(shape: tuple[int, ...]) -> None:
    logits = 50 * normal(*shape)
    torch.testing.assert_close(log_softmax(logits), F.log_softmax(logits, dim=-1), rtol=1e-12, atol=1e-14)
    assert torch.autograd.gradcheck(log_softmax, normal(*shape).requires_grad_())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mean_squared_error(normal(3, 1), normal(3)), "same shape, not (3, 1) and (3,)"),
        (lambda: mean_squared_error(normal(0), normal(0)), "empty"),
        (lambda: log_softmax(torch.tensor(1.0)), "at least one class"),
        (lambda: log_softmax(normal(3, 0)), "at least one class"),
        (lambda: cross_entropy(normal(3), torch.tensor([0])), "logits (N, C) and targets (N,)"),
        (lambda: cross_entropy(normal(3, 2), torch.tensor([0, 1])), "not (3, 2) and (2,)"),
        (lambda: cross_entropy(normal(0, 2), torch.zeros(0).long()), "the batch is empty"),
        (lambda: cross_entropy(normal(2, 2), torch.zeros(2)), "targets must be integers"),
        (lambda: cross_entropy(normal(2, 2), torch.tensor([True, False])), "targets must be integers"),
        (lambda: cross_entropy(normal(2, 2), torch.tensor([0, 2])), "0..1 for 2 classes, but they span 0..2"),
        (lambda: cross_entropy(normal(2, 2), torch.tensor([-100, 1])), "they span -100..1"),
        (lambda: cross_entropy(normal(2, 0), torch.tensor([0, 0])), "class"),
    ],
)
def test_bad_input_is_one_line(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
