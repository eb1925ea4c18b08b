"""Random numbers from a seed of one's own: each way of drawing them comes from it, and the global generator stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from stablelab.models.rng import seeded_rng

LIKE, WHOLE = torch.zeros(40), torch.zeros(40, dtype=torch.long)

DRAWS: dict[str, Callable[[], Tensor]] = {
    "rand": lambda: torch.rand(40),
    "rand, into a tensor": lambda: torch.rand(40, out=torch.empty(40)),
    "rand_like": lambda: torch.rand_like(LIKE),
    "randn": lambda: torch.randn(40),
    "randn, of doubles": lambda: torch.randn(40, dtype=torch.float64),
    "randn_like": lambda: torch.randn_like(LIKE),
    "randint": lambda: torch.randint(1000, (40,)),
    "randint, from a least one": lambda: torch.randint(5, 1000, (40,)),
    "randint_like": lambda: torch.randint_like(WHOLE, 1000),
    "randint_like, from a least one": lambda: torch.randint_like(WHOLE, 5, 1000),
    "randperm": lambda: torch.randperm(40),
    "normal": lambda: torch.normal(LIKE, 1.0),
    "normal_": lambda: torch.empty(40).normal_(),
    "uniform_": lambda: torch.empty(40).uniform_(),
    "bernoulli": lambda: torch.bernoulli(LIKE + 0.5),
    "multinomial": lambda: torch.multinomial(LIKE + 1, 30),
    "dropout": lambda: nn.functional.dropout(LIKE + 1, 0.5, training=True),
    "a layer": lambda: nn.Linear(5, 8).weight.detach(),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_every_way_of_drawing_comes_from_the_seed_and_leaves_the_global_generator(draw: Callable[[], Tensor]) -> None:
    before = torch.get_rng_state()
    drawn = []
    for seed in (3, 3, 4):
        with seeded_rng(seed):
            drawn.append(draw())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_numbers_are_those_of_torch_seeded_so() -> None:
    torch.manual_seed(7)
    theirs = torch.randn(5), torch.randperm(9), torch.rand_like(LIKE), torch.randint(3, 90, (4,))
    torch.manual_seed(0)
    with seeded_rng(7):
        ours = torch.randn(5), torch.randperm(9), torch.rand_like(LIKE), torch.randint(3, 90, (4,))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_generator_of_the_callers_own_is_left_to_him() -> None:
    with seeded_rng(0):
        ours = torch.randn(5, generator=torch.Generator().manual_seed(7))
    assert torch.equal(ours, torch.randn(5, generator=torch.Generator().manual_seed(7)))


@pytest.mark.parametrize("seed", [-1, 0.5, "a", True])
def test_a_seed_of_another_kind_is_one_line(seed: object) -> None:
    with pytest.raises(ValueError) as told:
        seeded_rng(seed)  # type: ignore[arg-type]
    assert "\n" not in str(told.value)
