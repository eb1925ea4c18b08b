from __future__ import annotations

import pytest
import torch

from stablelab.formulas import sam_ascent


def test_the_move_is_as_long_as_it_should_be_and_uphill() -> None:
    gradients = [torch.randn(4, 3), torch.randn(5)]
    moves = sam_ascent(gradients, 0.05)
    flat, move = (torch.cat([each.flatten() for each in some]) for some in (gradients, moves))
    assert move.norm().item() == pytest.approx(0.05, rel=1e-5)
    assert torch.dot(flat, move).item() == pytest.approx(0.05 * flat.norm().item(), rel=1e-5)


def test_no_other_move_of_that_length_raises_a_quadratic_more_to_first_order() -> None:
    theta = torch.tensor([1.0, -2.0, 0.5])
    curvature = torch.tensor([1.0, 4.0, 0.1])

    def loss(x: torch.Tensor) -> float:
        return float(0.5 * (curvature * x**2).sum())

    [best] = sam_ascent([curvature * theta], 1e-2)
    others = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    others = 1e-2 * others / others.norm(dim=1, keepdim=True)
    assert loss(theta + best) > max(loss(theta + other) for other in others) - 1e-5


def test_where_the_gradient_is_zero_nothing_moves_and_a_negative_length_is_refused() -> None:
    assert torch.equal(sam_ascent([torch.zeros(3)], 0.1)[0], torch.zeros(3))
    with pytest.raises(ValueError, match="rho is -1"):
        sam_ascent([torch.ones(3)], -1)
