"""LAMB against its algorithm written out by hand, and what its trust ratio promises."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from stablelab.formulas import adamw, lamb, trust_ratio

STEPS = 100


def by_hand(
    theta: list[float], gradients: list[list[float]], rate: float, b1: float, b2: float, eps: float, decay: float
) -> list[float]:
    """Algorithm 2 of You et al. 2020 for one layer, number by number."""
    m, v = [0.0] * len(theta), [0.0] * len(theta)
    for t, g in enumerate(gradients, start=1):
        m = [b1 * a + (1 - b1) * b for a, b in zip(m, g, strict=True)]
        v = [b2 * a + (1 - b2) * b * b for a, b in zip(v, g, strict=True)]
        r = [a / (1 - b1**t) / (math.sqrt(b / (1 - b2**t)) + eps) for a, b in zip(m, v, strict=True)]
        u = [a + decay * x for a, x in zip(r, theta, strict=True)]
        ratio = math.sqrt(sum(x * x for x in theta)) / math.sqrt(sum(a * a for a in u))
        theta = [x - rate * ratio * a for x, a in zip(theta, u, strict=True)]
    return theta


def stream(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(6, generator=generator).double(), torch.randn(STEPS, 6, generator=generator).double()


@pytest.mark.parametrize("decay", [0.0, 0.03])
def test_a_hundred_steps_are_the_algorithm(decay: float) -> None:
    theta, gradients = stream()
    expected = by_hand(theta.tolist(), gradients.tolist(), 0.02, 0.8, 0.97, 1e-4, decay)
    m = v = torch.zeros_like(theta)
    for t, g in enumerate(gradients, start=1):
        theta, m, v = lamb(theta, g, m, v, t, 0.02, 0.8, 0.97, 1e-4, decay)
    torch.testing.assert_close(theta, torch.tensor(expected).double(), rtol=1e-6, atol=0)
    assert max(abs(a - b) for a, b in zip(theta.tolist(), expected, strict=True)) < 1e-12


def test_a_step_is_the_rate_times_the_length_of_the_weights() -> None:
    theta, gradients = stream()
    zeros = torch.zeros_like(theta)
    for scale in (1e-3, 1.0, 1e3):
        moved, *_ = lamb(scale * theta, gradients[0], zeros, zeros, 1, 0.01, weight_decay=0.1)
        assert ((moved - scale * theta).norm() / (scale * theta).norm()).item() == pytest.approx(0.01, rel=1e-9)


def test_the_direction_is_adamws() -> None:
    theta, gradients = stream()
    zeros, settings = torch.zeros_like(theta), {"eps": 1e-6, "weight_decay": 0.1}
    ours = lamb(theta, gradients[0], zeros, zeros, 1, 0.01, **settings)[0] - theta
    theirs = adamw(theta, gradients[0], zeros, zeros, 1, 0.01, **settings)[0] - theta
    assert torch.nn.functional.cosine_similarity(ours, theirs, dim=0).item() == pytest.approx(1.0, abs=1e-12)
    m, v = lamb(theta, gradients[0], zeros, zeros, 1, 0.01)[1:]
    torch.testing.assert_close((m, v), (0.1 * gradients[0], 0.001 * gradients[0] ** 2))


def test_the_trust_ratio() -> None:
    three_four, zeros = torch.tensor([[3.0], [4.0]]), torch.zeros(2, 1)
    assert trust_ratio(three_four, torch.tensor([[0.0], [2.0]])).item() == 2.5
    assert trust_ratio(zeros, three_four).item() == 1.0
    assert trust_ratio(three_four, zeros).item() == 1.0
    assert trust_ratio(zeros, zeros).item() == 1.0


def test_nothing_is_changed_in_place() -> None:
    theta, g, m, v = (torch.full((2,), float(i)) for i in range(1, 5))
    lamb(theta, g, m, v, 2, 0.1, weight_decay=0.1)
    assert [x[0].item() for x in (theta, g, m, v)] == [1, 2, 3, 4]


ONE, TWO = torch.ones(1), torch.ones(2)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: lamb(TWO, ONE, TWO, TWO, 1, 0.1), "theta and g must have the same shape"),
        (lambda: lamb(TWO, TWO, ONE, TWO, 1, 0.1), "g and m must have the same shape"),
        (lambda: lamb(TWO, TWO, TWO, TWO, 0, 0.1), "t, the number of the step, is 0"),
        (lambda: trust_ratio(TWO, ONE), "theta and update must have the same shape"),
    ],
)
def test_bad_input_is_one_line(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
