from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.helpers import normal
from torch import Tensor

from stablelab.formulas import dropout, early_stopping, l1, l2, l2_sp, mixout, smoothed_targets, soft_threshold


@pytest.mark.parametrize("threshold", [0.0, 0.3, 2.0])
def test_soft_threshold_is_torchs(threshold: float) -> None:
    theta = normal(4, 5)
    torch.testing.assert_close(soft_threshold(theta, threshold), F.softshrink(theta, threshold), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("theta", [-1.7, -0.4, 0.0, 0.25, 3.0])
def test_soft_threshold_minimizes_what_it_says(theta: float) -> None:
    z = torch.linspace(-4, 4, 80_001, dtype=torch.float64)  # 0 is one of them
    best = z[(0.5 * (z - theta) ** 2 + 0.4 * z.abs()).argmin()].item()
    assert soft_threshold(torch.tensor(theta, dtype=torch.float64), 0.4).item() == pytest.approx(best, abs=1e-4)


def test_soft_threshold_leaves_exact_zeros_and_its_argument_alone() -> None:
    theta = torch.tensor([0.5, -0.5, 0.4, -2.0])
    assert torch.equal(soft_threshold(theta, 0.5), torch.tensor([0.0, 0.0, 0.0, -1.5]))
    assert theta[0] == 0.5


def test_soft_threshold_takes_one_threshold_for_each_weight() -> None:
    theta, thresholds = normal(3, 4), torch.tensor([[0.1], [0.5], [2.0]], dtype=torch.float64)
    rows = [soft_threshold(row, t.item()) for row, t in zip(theta, thresholds, strict=True)]
    assert torch.equal(soft_threshold(theta, thresholds), torch.stack(rows))


def test_dropout_keeps_mean_and_has_the_variance_it_says() -> None:
    x, p = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64), 0.4
    keep = torch.rand(200_000, 3, generator=torch.Generator().manual_seed(0)) >= p
    dropped = dropout(x.expand(200_000, 3), keep, p)
    torch.testing.assert_close(dropped.mean(0), x, rtol=0.01, atol=0)
    torch.testing.assert_close(dropped.var(0), x**2 * p / (1 - p), rtol=0.02, atol=0)


def test_dropout_gives_the_values_that_torchs_gives() -> None:
    x = normal(1000) + 10
    theirs = F.dropout(x, 0.25)  # whichever units it drops: the others must be scaled as here
    torch.testing.assert_close(dropout(x, theirs != 0, 0.25), theirs, rtol=1e-14, atol=0)


def test_no_dropout_changes_nothing() -> None:
    x = normal(3, 2)
    assert torch.equal(dropout(x, torch.ones(3, 2, dtype=torch.bool), 0.0), x)


@pytest.mark.parametrize(
    ("losses", "patience", "expected"),
    [
        ([3.0, 2.0, 1.0], 1, (2, 2)),  # never ran out
        ([3.0, 2.0, 2.5, 1.0], 1, (1, 2)),  # what came later is not known
        ([3.0, 2.0, 2.5, 1.0, 1.1, 1.2], 2, (3, 5)),  # an improvement starts the count anew
        ([1.0, 1.0, 1.0], 2, (0, 2)),  # as good is not better
        ([1.0, math.nan, 0.5], 2, (2, 2)),
        ([math.nan, math.nan, math.nan], 2, (0, 2)),
        ([0.7], 3, (0, 0)),
    ],
)
def test_early_stopping(losses: list[float], patience: int, expected: tuple[int, int]) -> None:
    assert early_stopping(losses, patience) == expected


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: soft_threshold(normal(2), -0.1), "threshold is -0.1; it must be a finite number at least 0"),
        (lambda: soft_threshold(normal(2), math.nan), "threshold is nan"),
        (lambda: soft_threshold(normal(2), torch.tensor([0.1, -0.1])), "entries that are negative or not finite"),
        (lambda: soft_threshold(normal(2), torch.tensor(math.inf)), "entries that are negative or not finite"),
        (lambda: dropout(normal(2), torch.ones(3, dtype=torch.bool), 0.5), "same shape, not (2,) and (3,)"),
        (lambda: dropout(normal(2), torch.ones(2), 0.5), "True or False for each unit (torch.bool), not torch.float32"),
        (lambda: dropout(normal(1), torch.ones(1, dtype=torch.bool), 1.0), "p, the probability of being dropped, is 1"),
        (lambda: dropout(normal(1), torch.ones(1, dtype=torch.bool), -0.5), "at least 0 and below 1"),
        (lambda: l2_sp([normal(2), normal(3)], [normal(2)]), "needs its pre-trained weights: there are 2 and 1"),
        (lambda: l2_sp(normal(2), normal(3)), "same shape, not (2,) and (3,)"),
        (lambda: l2_sp([], []), "a penalty needs at least one parameter"),
        (lambda: mixout(normal(2), normal(3), torch.ones(2) > 0, 0.5), "same shape, not (2,) and (3,)"),
        (lambda: mixout(normal(2), normal(2), torch.ones(2), 0.5), "(torch.bool), not torch.float32"),
        (lambda: mixout(normal(1), normal(1), torch.ones(1) > 0, 1.0), "p, the probability of being dropped, is 1"),
        (lambda: smoothed_targets(torch.tensor([0, 3]), 3, 0.1), "targets must lie in 0..2 for 3 classes"),
        (lambda: smoothed_targets(normal(2), 3, 0.1), "targets must be integers (N,), not torch.float64 of shape (2,)"),
        (lambda: smoothed_targets(torch.tensor([0]), 3, 1.5), "epsilon, the share that is spread, is 1.5"),
        (lambda: early_stopping([], 1), "at least one validation loss"),
        (lambda: early_stopping([1.0], 0), "patience is 0; it must be a whole number of evaluations, 1 or more"),
        (lambda: early_stopping([1.0], 1.5), "patience is 1.5"),  # type: ignore[arg-type]
    ],
)
def test_bad_input_is_one_line(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


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


def test_l2_sp_pulls_to_where_the_weights_began_and_is_l2_from_zero() -> None:
    thetas = parameters()
    starts = [0.5 * theta.detach().cos() for theta in thetas]
    penalty = l2_sp(iter(thetas), iter(starts))
    penalty.backward()
    brute = sum(
        0.5 * (a - b) ** 2
        for theta, start in zip(thetas, starts, strict=True)
        for a, b in zip(theta.flatten().tolist(), start.flatten().tolist(), strict=True)
    )
    assert penalty.item() == pytest.approx(brute, rel=1e-12)
    for theta, start in zip(thetas, starts, strict=True):
        torch.testing.assert_close(theta.grad, theta.detach() - start, rtol=1e-12, atol=1e-15)
    assert l2_sp(thetas, [torch.zeros_like(theta) for theta in thetas]).item() == pytest.approx(l2(thetas).item())


def test_mixout_is_the_authors_formula_and_has_the_mean_and_variance_it_says() -> None:
    theta, start, p = normal(3), normal(3, seed=1), 0.4
    masks = torch.cartesian_prod(*[torch.tensor([False, True])] * 3)  # all there are
    used = torch.stack([mixout(theta, start, keep, p) for keep in masks])
    keep = masks.double()
    torch.testing.assert_close(used, ((1 - keep) * start + keep * theta - p * start) / (1 - p), rtol=1e-12, atol=1e-14)
    chance = (keep * (1 - p) + (1 - keep) * p).prod(1, keepdim=True)  # of each mask
    torch.testing.assert_close((chance * used).sum(0), theta, rtol=1e-12, atol=1e-14)
    variance = (chance * (used - theta) ** 2).sum(0)
    torch.testing.assert_close(variance, (theta - start) ** 2 * p / (1 - p), rtol=1e-12, atol=1e-14)


def test_mixout_towards_zero_is_dropout() -> None:
    theta, keep = normal(4, 5), normal(4, 5, seed=1) > 0
    torch.testing.assert_close(mixout(theta, torch.zeros(4, 5).double(), keep, 0.3), dropout(theta, keep, 0.3))


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0])
def test_smoothed_targets_give_torchs_smoothed_loss(epsilon: float) -> None:
    logits, targets = normal(6, 4), torch.tensor([0, 3, 1, 1, 2, 0])
    q = smoothed_targets(targets, 4, epsilon).double()
    torch.testing.assert_close(q.sum(1), torch.ones(6, dtype=torch.float64), rtol=1e-6, atol=0)
    ours = -(q * logits.log_softmax(1)).sum(1).mean()
    theirs = F.cross_entropy(logits, targets, label_smoothing=epsilon)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)  # the shares are made in single precision
    brute = [[(1 - epsilon) * (c == y) + epsilon / 4 for c in range(4)] for y in targets.tolist()]
    torch.testing.assert_close(q, torch.tensor(brute, dtype=torch.float64), rtol=1e-6, atol=1e-8)
