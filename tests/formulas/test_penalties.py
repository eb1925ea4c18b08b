from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor

from stablelab.formulas import l1, l2


def parameters() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, dtype=torch.float64, generator=generator, requires_grad=True) for s in ((3, 4), (5,), ())]


def test_l1_is_the_sum_of_sizes_and_pulls_by_the_sign() -> None:
    thetas = parameters()
    penalty = l1(thetas)
    penalty.backward()
    assert penalty.item() == pytest.approx(sum(x.abs().sum().item() for x in thetas), rel=1e-12)
    assert all(torch.equal(theta.grad, theta.detach().sign()) for theta in thetas)


def test_l1_does_not_pull_at_zero() -> None:
    theta = torch.zeros(3, requires_grad=True)
    l1(theta).backward()
    assert torch.equal(theta.grad, torch.zeros(3))


def test_l2_is_half_the_sum_of_squares_and_pulls_by_the_weight() -> None:
    thetas = parameters()
    penalty = l2(iter(thetas))
    penalty.backward()
    assert penalty.item() == pytest.approx(0.5 * sum(x.square().sum().item() for x in thetas), rel=1e-12)
    for theta in thetas:
        torch.testing.assert_close(theta.grad, theta.detach(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("penalty", [l1, l2])
def test_one_tensor_is_not_taken_apart(penalty: Callable[[Tensor | Iterable[Tensor]], Tensor]) -> None:
    theta = torch.tensor([[3.0, -4.0]])
    assert penalty(theta) == penalty([theta])
    assert penalty(theta).shape == ()


@pytest.mark.parametrize("penalty", [l1, l2])
def test_no_parameters(penalty: Callable[[Iterable[Tensor]], Tensor]) -> None:
    with pytest.raises(ValueError, match=r"^a penalty needs at least one parameter .*$"):
        penalty([])
