"""Each optimizer against torch's own and against its formula: 100 steps in float64."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from stablelab import formulas
from stablelab.training import Lamb, shell
from stablelab.training.optimizers import Adam, AdamW, GradientDescent, Momentum

STEPS = 100
SHAPES = ((4, 3), (), (7,), (2, 3, 2, 2), (1, 9), (30, 5), (0, 2))
BETAS = {"betas": (0.8, 0.97), "eps": 1e-4}

Rule = type[torch.optim.Optimizer]
# ours, torch's, settings that both share, and what a second group sets differently
PAIRS: list[Any] = [
    pytest.param(GradientDescent, torch.optim.SGD, {"lr": 0.02}, {"lr": 0.05}, id="sgd"),
    pytest.param(Momentum, torch.optim.SGD, {"lr": 0.02, "momentum": 0.9}, {"momentum": 0.5}, id="momentum"),
    pytest.param(
        Momentum, torch.optim.SGD, {"lr": 0.02, "momentum": 0.9, "nesterov": True}, {"lr": 0.01}, id="nesterov"
    ),
    pytest.param(Adam, torch.optim.Adam, {"lr": 0.01}, BETAS, id="adam"),
    pytest.param(AdamW, torch.optim.AdamW, {"lr": 0.01}, BETAS, id="adamw"),
]
RULES = [*((p.values[0], p.values[2]) for p in PAIRS), (Lamb, {"lr": 0.01})]  # torch has no LAMB to pair it with


def parameters(seed: int = 0) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    draws = [torch.nn.Parameter(torch.randn(s, dtype=torch.float64, generator=generator)) for s in SHAPES]
    draws[3] = torch.nn.Parameter(draws[3].detach().to(memory_format=torch.channels_last))
    return draws


def set_gradients(thetas: list[torch.nn.Parameter], k: int, missing: bool = True) -> None:
    """Gradient k, a pure function of k; every parameter goes without in some steps, two of them in the first."""
    generator = torch.Generator().manual_seed(1000 + k)
    for i, theta in enumerate(thetas):
        g = torch.randn(theta.shape, dtype=theta.dtype, generator=generator)
        theta.grad = None if missing and ((k + i) % 7 == 3 or (k == 0 and i % 2)) else g


def walk(rule: torch.optim.Optimizer, thetas: list[torch.nn.Parameter], steps: range) -> list[list[Tensor]]:
    seen = []
    for k in steps:
        set_gradients(thetas, k)
        rule.step()
        seen.append([theta.detach().clone() for theta in thetas])
    return seen


def assert_same(ours: list[list[Tensor]], theirs: list[list[Tensor]]) -> None:
    for k, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        for a, b in zip(our, their, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14, msg=lambda m, k=k: f"step {k + 1}: {m}")


def in_groups(thetas: list[torch.nn.Parameter], other: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"params": thetas[:3]}, {"params": thetas[3:5], **other}, {"params": thetas[5:], "weight_decay": 0.0}]


@pytest.fixture(params=[2**18, 8], ids=["whole", "in pieces"])
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(shell, "PIECE", request.param)
    return request.param


@pytest.mark.usefixtures("piece")
@pytest.mark.parametrize("weight_decay", [0.0, 0.03])
@pytest.mark.parametrize(("ours", "torchs", "settings", "other"), PAIRS)
def test_equals_torchs(
    ours: Rule, torchs: Rule, settings: dict[str, Any], other: dict[str, Any], weight_decay: float
) -> None:
    settings = {**settings, "weight_decay": weight_decay}
    mine, their = parameters(), parameters()
    seen = walk(ours(in_groups(mine, other), **settings), mine, range(STEPS))
    assert_same(seen, walk(torchs(in_groups(their, other), **settings), their, range(STEPS)))


@pytest.mark.usefixtures("piece")
@pytest.mark.parametrize("weight_decay", [0.0, 0.03])
@pytest.mark.parametrize("bias_correction", [True, False])
@pytest.mark.parametrize(("ours", "formula"), [(Adam, formulas.adam), (AdamW, formulas.adamw)])
def test_equals_its_formula(
    ours: Rule, formula: Callable[..., Any], bias_correction: bool, weight_decay: float
) -> None:
    mine = parameters()
    rule = ours(mine, lr=0.01, weight_decay=weight_decay, bias_correction=bias_correction)
    theirs = [p.detach().clone() for p in parameters()]
    memory = [(torch.zeros_like(p), torch.zeros_like(p), 0) for p in theirs]
    for k in range(STEPS):
        set_gradients(mine, k)
        rule.step()
        for i, p in enumerate(mine):
            if p.grad is None:
                continue
            m, v, t = memory[i]
            settings = {"weight_decay": weight_decay, "bias_correction": bias_correction}
            theirs[i], m, v = formula(theirs[i], p.grad, m, v, t + 1, 0.01, **settings)
            memory[i] = m, v, t + 1
        assert_same([[p.detach() for p in mine]], [theirs])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("ours", "settings"), RULES)
def test_resumed_it_goes_on_bit_for_bit(ours: Rule, settings: dict[str, Any], dtype: torch.dtype) -> None:
    def fresh() -> tuple[list[torch.nn.Parameter], torch.optim.Optimizer]:
        thetas = [torch.nn.Parameter(p.detach().to(dtype)) for p in parameters()]
        return thetas, ours(in_groups(thetas, {"lr": 0.005}), weight_decay=0.03, **settings)

    straight, rule = fresh()
    walk(rule, straight, range(37))
    file = io.BytesIO()
    torch.save({"rule": rule.state_dict(), "thetas": [p.detach() for p in straight]}, file)
    walk(rule, straight, range(37, STEPS))

    resumed, rule = fresh()
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    with torch.no_grad():
        for theta, value in zip(resumed, saved["thetas"], strict=True):
            theta.copy_(value)
    rule.load_state_dict(saved["rule"])
    walk(rule, resumed, range(37, STEPS))
    assert all(torch.equal(a, b) for a, b in zip(straight, resumed, strict=True))


@pytest.mark.parametrize(("ours", "torchs", "settings", "other"), PAIRS)
def test_takes_over_from_torch(ours: Rule, torchs: Rule, settings: dict[str, Any], other: dict[str, Any]) -> None:
    settings = {**settings, "weight_decay": 0.03}
    thetas, reference = parameters(), parameters()
    rule = torchs(in_groups(thetas, other), **settings)
    seen = walk(rule, thetas, range(20))
    successor = ours(in_groups(thetas, {}), **settings)
    successor.load_state_dict(rule.state_dict())
    seen += walk(successor, thetas, range(20, 60))
    assert_same(seen, walk(torchs(in_groups(reference, other), **settings), reference, range(60)))


@pytest.mark.parametrize(("ours", "settings"), RULES)
def test_the_gradient_is_only_read(ours: Rule, settings: dict[str, Any]) -> None:
    thetas = parameters()
    rule = ours(thetas, weight_decay=0.1, **settings)
    for k in range(3):
        set_gradients(thetas, k, missing=False)
        before = [(p.grad, p.grad.clone(), p.grad._version) for p in thetas]
        rule.step()
        for p, (gradient, value, version) in zip(thetas, before, strict=True):
            assert p.grad is gradient and torch.equal(gradient, value) and gradient._version == version


@pytest.mark.parametrize(("ours", "settings"), RULES)
def test_without_a_gradient_nothing_moves(ours: Rule, settings: dict[str, Any]) -> None:
    thetas = parameters()
    rule = ours(thetas, weight_decay=0.1, **settings)
    assert rule.step() is None
    assert all(torch.equal(a, b) for a, b in zip(thetas, parameters(), strict=True))
    assert not rule.state


@pytest.mark.parametrize(("ours", "settings"), RULES)
def test_a_closure_recomputes_the_loss(ours: Rule, settings: dict[str, Any]) -> None:
    theta = torch.nn.Parameter(torch.tensor([3.0]))
    rule = ours([theta], **settings)

    def closure() -> Tensor:
        rule.zero_grad()
        loss = (theta**2).sum()
        loss.backward()
        return loss

    assert rule.step(closure).item() == 9.0
    assert theta.item() < 3.0
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(("ours", "settings"), RULES)
def test_works_under_torchs_schedulers(ours: Rule, settings: dict[str, Any]) -> None:
    thetas = parameters()
    rule = ours(thetas, **settings)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(rule, 0.5)
    for k in range(3):
        set_gradients(thetas, k)
        rule.step()
        scheduler.step()
    assert rule.param_groups[0]["lr"] == pytest.approx(settings["lr"] / 8)
