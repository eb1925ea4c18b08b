"""Every rule against torch's own optimizer, LAMB against its algorithm by hand: 100 steps in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from stablelab.formulas import adam, adamw, gradient_descent, l2, lamb, momentum, trust_ratio

STEPS = 100


def stream(seed: int = 0) -> tuple[Tensor, list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda: torch.randn(4, 3, dtype=torch.float64, generator=generator)  # noqa: E731
    return draw(), [draw() for _ in range(STEPS)]


def by_torch(optimizer: type[torch.optim.Optimizer], **settings: Any) -> list[Tensor]:
    start, gradients = stream()
    theta = torch.nn.Parameter(start.clone())
    rule = optimizer([theta], **settings)
    seen = []
    for g in gradients:
        theta.grad = g.clone()
        rule.step()
        seen.append(theta.detach().clone())
    return seen


def by_formula(move: Callable[..., tuple[Tensor, ...]], *memory: Tensor | None) -> list[Tensor]:
    theta, gradients = stream()
    seen = []
    for t, g in enumerate(gradients, start=1):
        theta, *memory = move(theta, g, *memory, t)
        seen.append(theta)
    return seen


def assert_same(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for k, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        torch.testing.assert_close(our, their, rtol=1e-12, atol=1e-14, msg=lambda m, k=k: f"step {k + 1}: {m}")


@pytest.mark.parametrize("weight_decay", [0.0, 0.03])
def test_gradient_descent_is_sgd(weight_decay: float) -> None:
    ours = by_formula(lambda theta, g, t: (gradient_descent(theta, g, 0.05, weight_decay),))
    assert_same(ours, by_torch(torch.optim.SGD, lr=0.05, weight_decay=weight_decay))


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.03])
def test_momentum_is_sgd_with_momentum(nesterov: bool, weight_decay: float) -> None:
    ours = by_formula(lambda theta, g, b, t: momentum(theta, g, b, t, 0.02, 0.95, nesterov, weight_decay), None)
    settings = {"lr": 0.02, "momentum": 0.95, "nesterov": nesterov, "weight_decay": weight_decay}
    assert_same(ours, by_torch(torch.optim.SGD, **settings))


@pytest.mark.parametrize(("formula", "torchs"), [(adam, torch.optim.Adam), (adamw, torch.optim.AdamW)])
@pytest.mark.parametrize("weight_decay", [0.0, 0.03])
def test_adam_and_adamw(formula: Callable[..., Any], torchs: type[torch.optim.Optimizer], weight_decay: float) -> None:
    def move(theta: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int) -> tuple[Tensor, Tensor, Tensor]:
        return formula(theta, g, m, v, t, 0.01, 0.85, 0.99, 1e-3, weight_decay)

    zeros = torch.zeros(4, 3, dtype=torch.float64)
    settings = {"lr": 0.01, "betas": (0.85, 0.99), "eps": 1e-3, "weight_decay": weight_decay}
    assert_same(by_formula(move, zeros, zeros), by_torch(torchs, **settings))


def test_momentum_is_the_papers_velocity() -> None:
    """Sutskever et al. 2013, Equations 1-4: velocity -αb, the gradient taken at θ or at the look-ahead point."""
    curvature, rate, mu = torch.tensor([1.0, 7.0], dtype=torch.float64), 0.05, 0.9
    for nesterov in (False, True):
        point = torch.tensor([1.0, -2.0], dtype=torch.float64)  # the paper's θ, starting at rest
        velocity = torch.zeros_like(point)
        theta, b = point.clone(), None
        for t in range(1, STEPS + 1):
            theta, b = momentum(theta, curvature * theta, b, t, rate, mu, nesterov)
            velocity = mu * velocity - rate * curvature * (point + mu * velocity if nesterov else point)
            point = point + velocity
            kept = point + mu * velocity if nesterov else point
            torch.testing.assert_close(theta, kept, rtol=1e-10, atol=1e-15)


def test_the_first_step_of_adam_has_the_size_of_the_learning_rate() -> None:
    theta, g, zeros = torch.zeros(3), torch.tensor([1e-4, -3.0, 50.0]), torch.zeros(3)
    moved, m, v = adam(theta, g, zeros, zeros, 1, 0.01)
    torch.testing.assert_close(moved, -0.01 * g.sign(), rtol=1e-3, atol=0)
    torch.testing.assert_close(m, 0.1 * g)
    torch.testing.assert_close(v, 0.001 * g**2)


def test_without_bias_correction_the_first_step_of_adam_is_too_long() -> None:
    theta, g, zeros = torch.zeros(1).double(), torch.ones(1).double(), torch.zeros(1).double()
    moved, _, _ = adam(theta, g, zeros, zeros, 1, 0.01, eps=0.0, bias_correction=False)
    assert moved.item() == pytest.approx(-0.01 * 0.1 / 0.001**0.5, rel=1e-12)


def test_adam_decays_through_the_gradient_and_adamw_beside_it() -> None:
    theta, zeros = torch.tensor([2.0]).double(), torch.zeros(1).double()
    decayed, m, _ = adamw(theta, zeros, zeros, zeros, 1, 0.1, weight_decay=0.5)
    assert decayed.item() == pytest.approx(2.0 * (1 - 0.1 * 0.5), rel=1e-12)
    assert m.item() == 0
    pushed, m, _ = adam(theta, zeros, zeros, zeros, 1, 0.1, weight_decay=0.5)
    assert pushed.item() == pytest.approx(2.0 - 0.1, rel=1e-6)  # the rate itself: Adam has normalised the decay away
    assert m.item() == pytest.approx(0.1 * 0.5 * 2.0)


def test_weight_decay_is_the_l2_penalty() -> None:
    theta = torch.randn(5, dtype=torch.float64, generator=torch.Generator().manual_seed(3), requires_grad=True)
    (penalty,) = torch.autograd.grad(0.3 * l2([theta]), theta)
    g = torch.ones_like(theta)
    with torch.no_grad():
        torch.testing.assert_close(gradient_descent(theta, g + penalty, 0.1), gradient_descent(theta, g, 0.1, 0.3))


@pytest.mark.parametrize("rule", ["gradient_descent", "momentum", "nesterov", "adam", "adamw"])
def test_many_models_step_at_once_each_with_its_own_numbers(rule: str) -> None:
    """A leading dimension of models, and numbers of shape (R, 1, 1): the same as one model after another."""
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.rand(*shape, dtype=torch.float64, generator=generator)  # noqa: E731
    theta, g, m, v = draw(4, 5, 2, 3)
    rate, decay, beta1, beta2, eps = 0.1 + 0.8 * draw(5, 5, 1, 1)

    def move(theta: Tensor, g: Tensor, m: Tensor, v: Tensor, *numbers: Tensor) -> tuple[Tensor, ...]:
        rate, decay, beta1, beta2, eps = numbers
        if rule == "gradient_descent":
            return (gradient_descent(theta, g, rate, decay),)
        if rule in ("momentum", "nesterov"):
            return momentum(theta, g, m, 3, rate, beta1, rule == "nesterov", decay)
        return (adam if rule == "adam" else adamw)(theta, g, m, v, 3, rate, beta1, beta2, eps, decay)

    together = move(theta, g, m, v, rate, decay, beta1, beta2, eps)
    for r in range(5):
        numbers = [each[r].item() for each in (rate, decay, beta1, beta2, eps)]
        alone = move(theta[r], g[r], m[r], v[r], *numbers)
        assert_same([each[r] for each in together], list(alone))


def lamb_by_hand(
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


def layer_stream(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(6, generator=generator).double(), torch.randn(STEPS, 6, generator=generator).double()


@pytest.mark.parametrize("decay", [0.0, 0.03])
def test_a_hundred_steps_of_lamb_are_the_algorithm(decay: float) -> None:
    theta, gradients = layer_stream()
    expected = lamb_by_hand(theta.tolist(), gradients.tolist(), 0.02, 0.8, 0.97, 1e-4, decay)
    m = v = torch.zeros_like(theta)
    for t, g in enumerate(gradients, start=1):
        theta, m, v = lamb(theta, g, m, v, t, 0.02, 0.8, 0.97, 1e-4, decay)
    torch.testing.assert_close(theta, torch.tensor(expected).double(), rtol=1e-6, atol=0)
    assert max(abs(a - b) for a, b in zip(theta.tolist(), expected, strict=True)) < 1e-12


def test_a_step_of_lamb_is_the_rate_times_the_length_of_the_weights() -> None:
    theta, gradients = layer_stream()
    zeros = torch.zeros_like(theta)
    for scale in (1e-3, 1.0, 1e3):
        moved, *_ = lamb(scale * theta, gradients[0], zeros, zeros, 1, 0.01, weight_decay=0.1)
        assert ((moved - scale * theta).norm() / (scale * theta).norm()).item() == pytest.approx(0.01, rel=1e-9)


def test_the_direction_of_lamb_is_adamws() -> None:
    theta, gradients = layer_stream()
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
    theta, g, b, m, v = (torch.full((2,), float(i)) for i in range(1, 6))
    gradient_descent(theta, g, 0.1, 0.1)
    momentum(theta, g, b, 2, 0.1, nesterov=True, weight_decay=0.1)
    adam(theta, g, m, v, 2, 0.1, weight_decay=0.1)
    adamw(theta, g, m, v, 2, 0.1, weight_decay=0.1)
    lamb(theta, g, m, v, 2, 0.1, weight_decay=0.1)
    assert [x[0].item() for x in (theta, g, b, m, v)] == [1, 2, 3, 4, 5]


ONE, TWO = torch.ones(1), torch.ones(2)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: gradient_descent(TWO, ONE, 0.1), "theta and g must have the same shape"),
        (lambda: momentum(TWO, ONE, None, 1, 0.1), "theta and g must have the same shape"),
        (lambda: momentum(TWO, TWO, None, 2, 0.1), "buffer b of the step before at t = 2"),
        (lambda: momentum(TWO, TWO, None, 0, 0.1), "t, the number of the step, is 0"),
        (lambda: adam(TWO, TWO, TWO, TWO, 0, 0.1), "t, the number of the step, is 0"),
        (lambda: adamw(TWO, TWO, TWO, TWO, "one", 0.1), "t, the number of the step, is 'one'"),
        (lambda: adam(TWO, TWO, ONE, TWO, 1, 0.1), "g and m must have the same shape"),
        (lambda: adamw(TWO, TWO, TWO, ONE, 1, 0.1), "g and v must have the same shape"),
        (lambda: adamw(ONE, TWO, TWO, TWO, 1, 0.1), "theta and g must have the same shape"),
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
