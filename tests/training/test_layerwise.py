"""LAMB as an optimizer: its formula in every layer, and a choice of the settings (test_optimizers resumes it)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from stablelab import formulas
from stablelab.training import Lamb, Settings, shell
from stablelab.training.building import apply, build
from stablelab.training.param_groups import Layers

STEPS = 100
SHAPES = ((4, 3), (7,), (2, 3, 2, 2), (30, 5), ())


def parameters(dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    """Of different sizes; the second starts at zero."""
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(s, dtype=torch.float64, generator=generator) * 10.0**i for i, s in enumerate(SHAPES)]
    drawn[1].zero_()
    drawn[2] = drawn[2].to(memory_format=torch.channels_last)
    return [nn.Parameter(each.to(dtype)) for each in drawn]


def groups(thetas: list[nn.Parameter]) -> list[dict[str, Any]]:
    return [{"params": thetas[:2]}, {"params": thetas[2:], "lr": 0.03, "betas": (0.8, 0.97), "weight_decay": 0.0}]


def set_gradients(thetas: list[nn.Parameter], k: int) -> None:
    """Gradient k, a pure function of k; every parameter goes without in some steps."""
    generator = torch.Generator().manual_seed(1000 + k)
    for i, theta in enumerate(thetas):
        g = torch.randn(theta.shape, dtype=torch.float64, generator=generator).to(theta.dtype)
        theta.grad = None if (k + i) % 7 == 3 else g


@pytest.mark.parametrize("weight_decay", [0.0, 0.03])
@pytest.mark.parametrize("piece", [2**18, 8])
def test_equals_its_formula(weight_decay: float, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "PIECE", piece)
    mine, theirs = parameters(), [p.detach().clone() for p in parameters()]
    rule = Lamb(groups(mine), lr=0.01, weight_decay=weight_decay)
    memory = [(torch.zeros_like(p), torch.zeros_like(p), 0) for p in theirs]
    for k in range(STEPS):
        set_gradients(mine, k)
        rule.step()
        for i, p in enumerate(mine):
            if p.grad is None:
                continue
            m, v, t = memory[i]
            first = {"learning_rate": 0.01, "weight_decay": weight_decay}
            settings = first if i < 2 else {"learning_rate": 0.03, "beta1": 0.8, "beta2": 0.97}
            theirs[i], m, v = formulas.lamb(theirs[i], p.grad, m, v, t + 1, **settings)
            memory[i] = m, v, t + 1
        for ours, expected in zip(mine, theirs, strict=True):
            torch.testing.assert_close(ours.detach(), expected, rtol=1e-11, atol=1e-13)


def test_a_layer_that_starts_at_zero_leaves_it_and_the_gradient_is_only_read() -> None:
    thetas = parameters()
    rule = Lamb(thetas, lr=0.01, weight_decay=0.1)
    set_gradients(thetas, 0)
    before = [(p.grad, None if p.grad is None else p.grad.clone()) for p in thetas]
    rule.step()
    assert thetas[1].norm() > 0
    for p, (gradient, value) in zip(thetas, before, strict=True):
        assert p.grad is gradient
        assert value is None or torch.equal(p.grad, value)


def test_settings_build_it_and_reach_every_group() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    settings = Settings(optimizer="lamb", learning_rate=0.02, weight_decay=0.1, beta2=0.9, eps=1e-5)
    rule = build(Layers(model).groups(), settings)
    assert isinstance(rule, Lamb)
    assert apply(settings, 0.01, rule) == (0.01, 0.01)
    assert [group["weight_decay"] for group in rule.param_groups] == [0.1, 0.0]
    assert all(group["betas"] == (0.9, 0.9) and group["eps"] == 1e-5 for group in rule.param_groups)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lr": -1.0}, "lr is -1.0; it must be a finite number at least 0"),
        ({"betas": (0.9, 1.0)}, "beta2 is 1.0"),
        ({"eps": "small"}, "eps is 'small'"),
    ],
)
def test_bad_settings_are_one_line(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        Lamb(parameters(), **settings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
