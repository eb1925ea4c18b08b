from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import integrate, stats
from support.helpers import normal
from torch import nn
from torch.func import functional_call, grad, vmap

from stablelab.formulas import (
    exposure,
    gaussian_delta,
    gaussian_epsilon,
    gaussian_mu,
    gaussian_noise_multiplier,
    gaussian_trade_off,
    log_likelihood_ratio,
    log_odds,
    private_gradient,
)
from stablelab.formulas.privacy import privacy_budget


def test_log_odds_are_the_logit_of_the_probability_and_hold_where_that_is_1() -> None:
    z, y = 3 * normal(2, 5, 4), torch.tensor([[0, 1, 2, 3, 0], [3, 3, 1, 0, 2]])
    p = z.softmax(-1).gather(-1, y[..., None])[..., 0]
    torch.testing.assert_close(log_odds(z, y), torch.logit(p), rtol=1e-9, atol=1e-12)
    sure = torch.tensor([[900.0, 0.0, 0.0]], dtype=torch.float64)
    assert log_odds(sure, torch.tensor([0])).item() == pytest.approx(900 - math.log(2), abs=1e-12)
    assert log_odds(sure, torch.tensor([1])).item() == pytest.approx(-900, abs=1e-12)


def test_the_score_is_the_difference_of_two_log_densities() -> None:
    phi, mean_in, mean_out = normal(7), normal(7, seed=1), normal(7, seed=2)
    var_in, var_out = normal(7, seed=3).square() + 0.1, normal(7, seed=4).square() + 0.1
    meant = stats.norm.logpdf(phi, mean_in, var_in.sqrt()) - stats.norm.logpdf(phi, mean_out, var_out.sqrt())
    torch.testing.assert_close(log_likelihood_ratio(phi, mean_in, var_in, mean_out, var_out), torch.tensor(meant))


def test_exposure_counts_ranks_and_chance_gives_1_44_bits() -> None:
    losses = torch.arange(16, dtype=torch.float64)
    found = [exposure(losses[i], torch.cat([losses[:i], losses[i + 1 :]])).item() for i in range(16)]
    assert found == pytest.approx([4 - math.log2(rank) for rank in range(1, 17)])
    equal = exposure(torch.zeros(()), torch.zeros(1023)).item()
    assert equal == pytest.approx(10 - math.log2(1 + 511.5))  # in the middle, and not first
    ranks = torch.arange(1, 100_001, dtype=torch.float64)
    assert (math.log2(100_000) - ranks.log2()).mean().item() == pytest.approx(1 / math.log(2), abs=1e-3)


def test_private_gradients_are_those_of_a_loop_over_examples() -> None:
    model, x, y = nn.Linear(5, 3).double(), normal(8, 5), torch.tensor([0, 1, 2, 0, 1, 2, 2, 1])

    def loss(parameters: Any, one: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(functional_call(model, parameters, (one[None],)), target[None])

    weights = dict(model.named_parameters())
    per_example = vmap(grad(loss), (None, 0, 0))({n: p.detach() for n, p in weights.items()}, x, y)
    found = private_gradient(list(per_example.values()), 0.9, 0.0, 8)
    total = [torch.zeros_like(p) for p in model.parameters()]
    for i in range(8):
        model.zero_grad()
        nn.functional.cross_entropy(model(x[i : i + 1]), y[i : i + 1]).backward()
        norm = nn.utils.get_total_norm([p.grad for p in model.parameters()])
        for sum_, p in zip(total, model.parameters(), strict=True):
            sum_ += p.grad * min(1.0, 0.9 / norm.item())
    for mine, theirs in zip(found, total, strict=True):
        torch.testing.assert_close(mine, theirs / 8, rtol=1e-12, atol=1e-14)
    noisy = private_gradient([torch.zeros(2, 100_000)], 2.0, 3.0, 4, torch.Generator().manual_seed(0))[0]
    assert noisy.std().item() == pytest.approx(2 * 3 / 4, rel=0.01)
    assert private_gradient([torch.zeros(0, 3)], 1.0, 0.0, 4)[0].tolist() == [0, 0, 0]  # no example was drawn


@pytest.mark.parametrize(("epsilon", "mu"), [(0.0, 0.5), (1.0, 1.0), (3.0, 0.7), (20.0, 4.0), (0.5, 6.0)])
def test_delta_is_the_integral_of_what_e_to_the_epsilon_does_not_cover(epsilon: float, mu: float) -> None:
    def uncovered(x: float) -> float:
        return max(0.0, stats.norm.pdf(x, mu) - math.exp(epsilon) * stats.norm.pdf(x))

    where = epsilon / mu + mu / 2  # where the two are equal
    meant = integrate.quad(uncovered, where, where + 12, epsabs=1e-14)[0]
    assert gaussian_delta(epsilon, mu) == pytest.approx(meant, rel=1e-6, abs=1e-13)


def test_epsilon_and_noise_undo_delta_and_hold_far_out() -> None:
    for mu in (1e-3, 0.1, 1.0, 30.0):
        for delta in (1e-9, 1e-5, 0.1):
            epsilon = gaussian_epsilon(mu, delta)
            assert epsilon == 0 or gaussian_delta(epsilon, mu) == pytest.approx(delta, rel=1e-6)
    for epsilon in (1e-3, 1.0, 100.0):
        sigma = gaussian_noise_multiplier(epsilon, 1e-5, 30)
        assert gaussian_epsilon(gaussian_mu(sigma, 30), 1e-5) == pytest.approx(epsilon, rel=1e-6)
    assert gaussian_mu(4.0, 16) == gaussian_mu(1.0, 1) == 1.0  # sixteen steps at four times the noise


def test_no_threshold_beats_the_trade_off_and_that_on_the_normal_reaches_it() -> None:
    x = torch.linspace(-4, 6, 201, dtype=torch.float64)
    fpr, tpr = 1 - torch.special.ndtr(x), 1 - torch.special.ndtr(x - 1.3)
    torch.testing.assert_close(gaussian_trade_off(fpr, 1.3), tpr, rtol=1e-6, atol=1e-9)
    epsilon = 2.0
    line = math.exp(epsilon) * fpr + gaussian_delta(epsilon, 1.3)
    assert bool((tpr <= line + 1e-12).all())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: log_odds(normal(4, 1), torch.zeros(4, dtype=torch.long)), "C of 2 or more"),
        (lambda: log_odds(normal(4, 3), torch.zeros(3, dtype=torch.long)), "(4, 3) and (3,)"),
        (lambda: exposure(normal(3), normal(3, 0)), "at least one"),
        (lambda: private_gradient([normal(3, 2), normal(4)], 1.0, 0.0, 3), "of the same examples, not of [3, 4]"),
        (lambda: private_gradient([normal(3, 2)], 0.0, 0.0, 3), "max_norm is 0.0"),
        (lambda: private_gradient([normal(3, 2)], 1.0, -1.0, 3), "noise_multiplier is -1.0"),
        (lambda: gaussian_mu(0.0), "noise_multiplier is 0.0"),
        (lambda: gaussian_mu(1.0, 0), "steps is 0"),
        (lambda: gaussian_epsilon(1.0, 0.0), "delta is 0.0"),
        (lambda: gaussian_noise_multiplier(0.0, 1e-5), "with a privacy budget of 0 nothing of the data may be used"),
        (lambda: gaussian_noise_multiplier(-1.0, 1e-5), "epsilon is -1.0; it must be a finite number above 0"),
        (lambda: privacy_budget(math.nan), "epsilon is nan"),
    ],
)
def test_bad_input_is_one_line(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert words in str(caught.value) and "\n" not in str(caught.value)
