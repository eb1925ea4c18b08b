from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.helpers import normal
from torch import Tensor

from stablelab.models import linear_probe, mask_tokens, probe_hits
from stablelab.models.pretraining import PENALTIES


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


IDS = torch.arange(40_000).view(200, 200) + 1000
MAY_HIDE = (torch.arange(200) < 150).expand(200, 200)
OTHERS = torch.tensor([7, 8, 9])


def test_shares_of_what_is_hidden() -> None:
    inputs, labels = mask_tokens(IDS, MAY_HIDE, 5, OTHERS, seeded())
    chosen = labels != -100
    assert not (chosen & ~MAY_HIDE).any()
    assert torch.equal(labels[chosen], IDS[chosen])
    assert torch.equal(inputs[~chosen], IDS[~chosen])

    def share(which: Tensor) -> float:
        return which.sum().item() / chosen.sum().item()

    assert chosen.sum().item() / MAY_HIDE.sum().item() == pytest.approx(0.15, abs=0.01)
    assert share(inputs == 5) == pytest.approx(0.8, abs=0.02)
    assert share(torch.isin(inputs, OTHERS)) == pytest.approx(0.1, abs=0.02)
    assert share(chosen & (inputs == IDS)) == pytest.approx(0.1, abs=0.02)


def test_the_same_generator_hides_the_same_and_nothing_global_moves() -> None:
    before, original = torch.random.get_rng_state(), IDS.clone()
    one, other, third = (mask_tokens(IDS, MAY_HIDE, 5, OTHERS, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
    assert not torch.equal(one[1], third[1])
    assert torch.equal(before, torch.random.get_rng_state()) and torch.equal(original, IDS)


def test_everything_may_be_chosen() -> None:
    _, labels = mask_tokens(IDS, MAY_HIDE, 5, OTHERS, seeded(), share=1.0)
    assert torch.equal(labels != -100, MAY_HIDE)


def test_the_probe_is_ridge_regression_with_the_penalty_that_leaving_one_out_likes_best() -> None:
    x, test_x = 3 * normal(60, 5) + 2, 3 * normal(50, 5, seed=1) + 2
    directions = normal(5, 4, seed=2)
    y, test_y = ((each @ directions + 4 * normal(len(each), 4, seed=3)).argmax(1) for each in (x, test_x))
    mean, spread = x.mean(0), x.std(0, correction=0)
    x_scaled, test_scaled = (x - mean) / spread, (test_x - mean) / spread
    signs = 2 * torch.nn.functional.one_hot(y, 4).double() - 1

    def map_of(rows: Tensor, wanted: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
        centre, level = rows.mean(0), wanted.mean(0)
        moved = rows - centre
        W = torch.linalg.solve(moved.T @ moved + penalty * torch.eye(5).double(), moved.T @ (wanted - level))
        return W, level - centre @ W

    def left_out_error(penalty: float) -> float:
        errors = []
        for i in range(60):
            others = torch.arange(60) != i
            W, b = map_of(x_scaled[others], signs[others], penalty)
            errors.append((x_scaled[i] @ W + b - signs[i]).square().mean().item())
        return sum(errors)

    W, b = map_of(x_scaled, signs, min((60 * each for each in PENALTIES), key=left_out_error))
    by_hand = ((test_scaled @ W + b).argmax(1) == test_y).double().mean().item()
    assert linear_probe(x, y, test_x, test_y) == pytest.approx(by_hand)
    assert 0.3 < by_hand < 1


def test_what_is_linear_is_found_and_what_is_not_there_is_not() -> None:
    y = torch.arange(300) % 3
    clear = torch.nn.functional.one_hot(y).double() * 5 + normal(300, 3)
    assert linear_probe(clear[:200], y[:200], clear[200:], y[200:]) > 0.95
    assert linear_probe(normal(200, 3), y[:200], normal(100, 3, seed=1), y[200:]) < 0.5


def test_a_dead_or_constant_feature_and_another_scale_change_nothing() -> None:
    x, y = normal(100, 3), torch.arange(100) % 2
    x[:, 0] += y
    accuracy = linear_probe(x[:60], y[:60], x[60:], y[60:])
    dead = torch.cat([x * torch.tensor([1e-3, 1.0, 1e4]), torch.zeros(100, 1), torch.full((100, 1), 0.1)], dim=1)
    assert linear_probe(dead[:60], y[:60], dead[60:], y[60:]) == accuracy


def test_features_with_a_graph_are_left_alone() -> None:
    x, y = normal(10, 2).requires_grad_(), torch.arange(10) % 2
    assert 0 <= linear_probe(x, y, x, y) <= 1
    assert x.grad is None


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mask_tokens(IDS, MAY_HIDE[:1], 5, OTHERS, seeded()), "(200, 200), like ids, not torch.bool of shape"),
        (lambda: mask_tokens(IDS, IDS, 5, OTHERS, seeded()), "boolean of shape (200, 200), like ids, not torch.int64"),
        (lambda: mask_tokens(IDS, MAY_HIDE, 5, OTHERS[:0], seeded()), "replacements is empty"),
        (lambda: mask_tokens(IDS, MAY_HIDE, 5, OTHERS, seeded(), share=0), "share is 0"),
        (lambda: mask_tokens(IDS, MAY_HIDE, 5, OTHERS, seeded(), share=15), "share is 15"),
        (lambda: linear_probe(normal(3), torch.zeros(3).long(), normal(3, 1), torch.zeros(3).long()), "not (3,)"),
        (
            lambda: linear_probe(normal(3, 1), torch.zeros(3).long(), normal(3, 1), torch.zeros(2).long()),
            "test_features",
        ),
        (lambda: linear_probe(normal(3, 1), torch.zeros(3).long(), normal(3, 2), torch.zeros(3).long()), "2 columns"),
        (lambda: linear_probe(normal(0, 1), torch.zeros(0).long(), normal(3, 1), torch.zeros(3).long()), "not (0, 1)"),
        (lambda: linear_probe(*[normal(3, 1), torch.zeros(3).long()] * 2), "all targets are 0"),
    ],
)
def test_bad_input_is_one_line(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_validation_examples_choose_between_two_scalings_and_the_penalties() -> None:
    y, asked_y, test_y = (torch.arange(n) % 2 for n in (60, 200, 300))

    def told(y: Tensor, seed: int, told_by: float, noise: float) -> Tensor:
        column = told_by * ((2 * y - 1)[:, None] + 0.3 * normal(len(y), 1, seed=seed))
        return torch.cat([column, noise * normal(len(y), 80, seed=seed + 9)], dim=1)

    for told_by, noise, well_scaled in ((1.0, 1e-3, True), (1e-3, 1.0, False)):
        rows = [told(each, seed, told_by, noise) for seed, each in enumerate((y, asked_y, test_y), start=1)]
        by_column = probe_hits(rows[0], y, rows[2], test_y).double().mean()
        chosen = probe_hits(rows[0], y, rows[2], test_y, validation=(rows[1], asked_y)).double().mean()
        if well_scaled:  # one common scale keeps the noise small
            assert chosen > 0.97 > by_column
        else:  # there it would hide the column that tells
            assert chosen > 0.6


def test_examples_that_choose_are_checked_like_the_others() -> None:
    x, y = normal(10, 2), torch.arange(10) % 2
    with pytest.raises(ValueError, match="3 columns, but features 2"):
        probe_hits(x, y, x, y, validation=(normal(10, 3), y))
