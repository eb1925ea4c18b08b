"""The closed forms against torch's schedulers, which walk step by step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from stablelab.formulas import (
    SCHEDULES,
    adamw,
    constant,
    cosine,
    exponential,
    linear,
    missing_correction,
    multiplier,
    plateau,
    warmup,
)

STEPS = 100
BASE = 0.7


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)


def by_torch(make: Callable[[torch.optim.Optimizer], Any], steps: int = STEPS) -> list[float]:
    sgd = optimizer()
    scheduler = make(sgd)
    seen = []
    for _ in range(steps):
        seen.append(sgd.param_groups[0]["lr"] / BASE)
        sgd.step()
        scheduler.step()
    return seen


def ours(schedule: Callable[[int], float], steps: int = STEPS) -> Any:
    return pytest.approx([schedule(k) for k in range(steps)], rel=1e-12, abs=1e-14)


def test_constant() -> None:
    assert {constant(k) for k in range(STEPS)} == {1.0}


def test_exponential() -> None:
    assert by_torch(lambda o: lr_scheduler.ExponentialLR(o, 0.93)) == ours(lambda k: exponential(k, 0.93))


def test_exponential_in_stairs() -> None:
    assert by_torch(lambda o: lr_scheduler.StepLR(o, 7, 0.5)) == ours(lambda k: exponential(k, 0.5, every=7))


def test_linear() -> None:
    torchs = by_torch(lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, total_iters=STEPS), STEPS + 1)
    assert torchs == ours(lambda k: linear(k, STEPS), STEPS + 1)
    assert linear(150, STEPS) == 0


def test_linear_as_transformers_has_it() -> None:
    """Its warm-up is one step behind: there the first step has the multiplier 0, which moves nothing."""
    from transformers import get_linear_schedule_with_warmup

    theirs = by_torch(lambda o: get_linear_schedule_with_warmup(o, 20, STEPS))
    assert theirs[20:] == ours(lambda k: multiplier("linear", k + 20, STEPS, warmup_steps=20), STEPS - 20)
    assert theirs[1:20] == ours(lambda k: multiplier("linear", k, STEPS, warmup_steps=20), 19)
    assert theirs[0] == 0
    theirs = by_torch(lambda o: get_linear_schedule_with_warmup(o, 0, STEPS))
    assert theirs == ours(lambda k: multiplier("linear", k, STEPS))


@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_cosine(floor: float) -> None:
    torchs = by_torch(lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS, eta_min=floor * BASE), STEPS + 1)
    assert torchs == ours(lambda k: cosine(k, STEPS, floor), STEPS + 1)


def test_cosine_stays_at_the_floor_after_the_end() -> None:
    assert cosine(50, 50, 0.2) == cosine(1000, 50, 0.2) == pytest.approx(0.2)


@pytest.mark.parametrize("steps", [2, 10, 100, 300])
def test_warmup(steps: int) -> None:
    torchs = by_torch(lambda o: lr_scheduler.LinearLR(o, start_factor=1 / steps, total_iters=steps - 1))
    assert torchs == ours(lambda k: warmup(k, steps))


def test_no_warmup() -> None:
    assert [warmup(0, 0), warmup(0, 1), warmup(5, 0)] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("after", ["exponential", "cosine", "linear"])
def test_warmup_in_front(after: str) -> None:
    def make(sgd: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        first = lr_scheduler.LinearLR(sgd, start_factor=1 / 20, total_iters=19)
        then = {
            "exponential": lambda: lr_scheduler.ExponentialLR(sgd, 0.95),
            "cosine": lambda: lr_scheduler.CosineAnnealingLR(sgd, STEPS - 20),
            "linear": lambda: lr_scheduler.LinearLR(sgd, 1.0, 0.0, total_iters=STEPS - 20),
        }
        return lr_scheduler.SequentialLR(sgd, [first, then[after]()], milestones=[20])

    assert by_torch(make) == ours(lambda k: multiplier(after, k, STEPS, warmup_steps=20, gamma=0.95))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_begins_at_one_and_follows_its_warmup_up(schedule: str) -> None:
    assert multiplier(schedule, 0, STEPS) == 1.0
    seen = [multiplier(schedule, k, STEPS, warmup_steps=4) for k in range(5)]
    assert seen == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_multiplier_hands_each_schedule_its_own() -> None:
    losses = [1.0] * 13
    assert multiplier("constant", 7, STEPS, gamma=0.5, losses=losses) == 1.0
    assert multiplier("exponential", 7, STEPS, gamma=0.5) == 0.5**7
    assert multiplier("cosine", 30, STEPS) == cosine(30, STEPS)
    assert multiplier("linear", 30, STEPS) == linear(30, STEPS)
    assert multiplier("plateau", 7, STEPS, losses=losses) == plateau(losses) == pytest.approx(0.1)
    assert multiplier("plateau", 7, STEPS, losses=losses, factor=0.5, patience=3) == plateau(losses, 0.5, 3) == 0.5**3


def test_a_warmup_longer_than_the_run() -> None:
    assert multiplier("cosine", 9, 10, warmup_steps=20) == 0.5
    assert multiplier("cosine", 20, 10, warmup_steps=20) == 1.0


@pytest.mark.parametrize("patience", [0, 1, 10])
@pytest.mark.parametrize("threshold", [0.0, 1e-4, 0.05])
def test_plateau(patience: int, threshold: float) -> None:
    sgd = optimizer()
    scheduler = lr_scheduler.ReduceLROnPlateau(sgd, factor=0.9, patience=patience, threshold=threshold, eps=0.0)
    generator = torch.Generator().manual_seed(patience)
    losses: list[float] = []
    for k in range(STEPS):
        assert plateau(losses, 0.9, patience, threshold) == pytest.approx(sgd.param_groups[0]["lr"] / BASE, rel=1e-12)
        loss = math.exp(-k / 20) + 0.05 * torch.rand((), generator=generator).item()
        losses.append(math.nan if k % 17 == 5 else loss)
        scheduler.step(losses[-1])
    assert plateau(losses, 0.9, patience, threshold) < 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: constant(-1), "k, the step, is -1; it must be a finite number at least 0"),
        (lambda: exponential(0, 1.5), "gamma is 1.5; it must be a finite number above 0 and at most 1"),
        (lambda: exponential(0, math.nan), "gamma is nan"),
        (lambda: exponential(0, 0.9, every=0), "every is 0"),
        (lambda: cosine(0, 0), "total_steps is 0"),
        (lambda: cosine(0, 10, floor=2), "floor is 2"),
        (lambda: warmup(0, -3), "warmup_steps is -3"),
        (lambda: warmup("0", 3), "k, the step, is '0'"),
        (lambda: plateau([], factor=1.0), "factor is 1.0; it must be a finite number above 0 and below 1"),
        (lambda: plateau([], patience=-1), "patience is -1"),
        (lambda: plateau([], threshold=1), "threshold is 1"),
        (lambda: linear(0, 0), "total_steps is 0"),
        (lambda: multiplier("linear", 0, None), "schedule is 'linear', which ends with the run"),
        (lambda: multiplier("stairs", 0, 10), "one of constant, linear, exponential, cosine, plateau, not 'stairs'"),
        (lambda: multiplier("constant", 0, 10, gamma="x"), "gamma is 'x'"),
        (lambda: multiplier("constant", 0, "many"), "total_steps is 'many'"),
        (lambda: multiplier("constant", 0, 10, warmup_steps=-1), "warmup_steps is -1"),
        (lambda: multiplier("constant", True, 10), "k, the step, is True"),
    ],
)
def test_bad_input_is_one_line(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_adam_without_bias_correction_is_adam_with_it_at_another_learning_rate() -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(5, generator=generator, dtype=torch.float64)
    one = other = (start, torch.zeros_like(start), torch.zeros_like(start))
    for k in range(50):
        g = torch.randn(5, generator=generator, dtype=torch.float64)
        one = adamw(one[0], g, *one[1:], k + 1, 0.1, eps=0.0, bias_correction=False)
        other = adamw(other[0], g, *other[1:], k + 1, 0.1 * missing_correction(k), eps=0.0)
        torch.testing.assert_close(one[0], other[0], rtol=1e-9, atol=1e-12)


def test_the_missing_correction_is_3_at_first_and_6_at_its_height() -> None:
    factors = [missing_correction(k) for k in range(4000)]
    assert factors[0] == pytest.approx(0.1 / math.sqrt(0.001))
    assert max(factors) == factors[11] == pytest.approx(6.57, abs=0.01)
    assert factors[2999] == pytest.approx(1.03, abs=0.01)
    for wrong in ({"beta1": 1.0}, {"beta2": 0.0}):
        with pytest.raises(ValueError, match="beta"):
            missing_correction(0, **wrong)
