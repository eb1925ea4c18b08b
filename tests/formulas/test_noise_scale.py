"""The noise scale against brute force: a least-squares problem whose G and Σ are known, and every possible batch."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from support.helpers import normal

from stablelab.formulas import best_rate, noise_scale, scaled_rate, unbiased_moments

GRADIENTS = normal(6, 4, seed=3) + 0.5  # of six examples, all that there are
MEAN = GRADIENTS.mean(dim=0)
TRACE = GRADIENTS.var(dim=0, correction=0).sum()


def squares(batch: int) -> torch.Tensor:
    """Of the gradient of every batch of that size that can be drawn with replacement."""
    draws = torch.tensor(list(itertools.product(range(6), repeat=batch)))
    return GRADIENTS[draws].mean(dim=1).square().sum(dim=1)


@pytest.mark.parametrize(("small", "big"), [(1, 2), (1, 4), (2, 5)])
def test_the_moments_are_unbiased_over_all_batches(small: int, big: int) -> None:
    square, trace = unbiased_moments(squares(small).mean(), squares(big).mean(), small, big)
    torch.testing.assert_close(square, MEAN.square().sum())
    torch.testing.assert_close(trace, TRACE)
    scale = noise_scale(squares(small).mean(), squares(big).mean(), small, big)
    torch.testing.assert_close(scale, TRACE / MEAN.square().sum())


def test_at_the_noise_scale_a_batch_is_as_much_noise_as_signal() -> None:
    draws = torch.tensor(list(itertools.product(range(6), repeat=3)))
    apart = (GRADIENTS[draws].mean(dim=1) - MEAN).square().sum(dim=1).mean()
    torch.testing.assert_close(apart / MEAN.square().sum(), TRACE / MEAN.square().sum() / 3)


def test_a_gradient_that_drowns_has_no_noise_scale() -> None:
    drowned = noise_scale(torch.tensor([4.0, 4.0]), torch.tensor([0.5, 2.0]), 1, 4)
    assert drowned[0].item() == math.inf and math.isfinite(drowned[1].item())


def test_the_best_rate_is_the_best_of_all_on_a_quadratic() -> None:
    """E L(θ - εg) = -ε |G|² + ε²/2 h (|G|² + tr(Σ)/B), where the Hessian is h times the identity."""
    h, batch = 2.0, 3
    square, noise = MEAN.square().sum().item(), (TRACE / MEAN.square().sum()).item()
    rates = torch.linspace(0.001, 1, 100_000, dtype=torch.float64)
    losses = -rates * square + rates**2 / 2 * h * (square + TRACE.item() / batch)
    assert best_rate(1 / h, noise, batch) == pytest.approx(rates[losses.argmin()].item(), abs=2e-5)
    assert best_rate(1.0, 100, 100) == 0.5
    assert best_rate(1.0, 1e6, 20) / best_rate(1.0, 1e6, 10) == pytest.approx(2, rel=1e-4)


def test_the_two_scalings() -> None:
    assert scaled_rate(1e-4, 16, 256) == pytest.approx(1.6e-3)
    assert scaled_rate(1e-4, 16, 256, "square root") == pytest.approx(4e-4)
    assert scaled_rate(1e-3, 64, 16) == pytest.approx(2.5e-4)


def test_k_small_steps_of_gradient_descent_are_one_of_k_times_the_rate() -> None:
    theta, h = torch.tensor(1.0), 0.5
    apart = []
    for rate in (1e-2, 1e-3):
        small = theta * (1 - rate * h) ** 4
        large = theta * (1 - scaled_rate(rate, 16, 64) * h)
        apart.append(abs(float(small - large)))
    assert apart[1] < 0.02 * apart[0]


def test_what_cannot_be_is_said_in_one_line() -> None:
    for call in (
        lambda: unbiased_moments(torch.tensor(1.0), torch.tensor(1.0), 4, 4),
        lambda: scaled_rate(1e-3, 16, 0),
        lambda: scaled_rate(1e-3, 16, 32, "cubic"),
        lambda: best_rate(1.0, 0.0, 3),
    ):
        with pytest.raises(ValueError) as error:
            call()
        assert len(str(error.value).splitlines()) == 1
