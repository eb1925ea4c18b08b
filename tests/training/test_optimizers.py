"""Each optimizer against torch's own and against its formula: 100 steps in float64."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stablelab import formulas
from stablelab.training import Lamb, Settings, optimizers
from stablelab.training.optimizers import Adam, AdamW, GradientDescent, Momentum
from stablelab.training.param_groups import Layers, apply_settings, build_optimizer

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
    monkeypatch.setattr(optimizers, "PIECE", request.param)
    return request.param


@pytest.mark.usefixtures("piece")
@pytest.mark.parametrize("weight_decay", [0.0, 0.03])
@pytest.mark.parametrize(("ours", "torchs", "settings", "other"), PAIRS)
@pytest.mark.slow
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
@pytest.mark.slow
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
@pytest.mark.slow
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


def two_parameters() -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.ones(3, 2)), torch.nn.Parameter(torch.ones(2))]


def test_tensors_are_cut_and_gathered_completely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers, "PIECE", 8)
    tensors = [torch.rand(s) + 1 for s in ((4, 3), (), (7,), (2, 3, 2, 2), (1, 9), (30, 5), (0, 2))]
    sizes = []
    for tensor in tensors:
        twin = tensor.clone()
        for a, b in optimizers.pieces(tensor, twin):
            assert torch.equal(a, b)
            assert a.numel() <= 8 or len(a) == 1, "a piece is at most PIECE elements, or one row"
            sizes.append(a.numel())
            a.zero_()
    assert not any(t.any() for t in tensors)
    assert sum(sizes) == sum(t.numel() for t in tensors)


BAD_NUMBERS = [-0.1, float("nan"), float("inf"), "0.1", None, True, torch.tensor(0.1)]


@pytest.mark.parametrize("bad", BAD_NUMBERS, ids=repr)
@pytest.mark.parametrize(
    ("ours", "name"),
    [
        *((rule, name) for rule in (GradientDescent, Momentum, Adam, AdamW) for name in ("lr", "weight_decay")),
        (Momentum, "momentum"),
        (Adam, "eps"),
        (AdamW, "eps"),
    ],
)
def test_a_bad_number_is_one_line(ours: Rule, name: str, bad: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} is .*; it must be a finite number at least 0.*$"):
        ours(two_parameters(), **{name: bad})
    with pytest.raises(ValueError, match=rf"^{name} is .*$"):
        ours([{"params": two_parameters(), name: bad}])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: Momentum(p, momentum=1.0), "momentum is 1.0; it must be a finite number at least 0 and below 1"),
        (lambda p: Momentum(p, nesterov="yes"), "nesterov is 'yes'; it must be True or False"),
        (lambda p: Adam(p, betas=(1.0, 0.999)), "beta1 is 1.0"),
        (lambda p: AdamW(p, betas=(0.9, -0.1)), "beta2 is -0.1"),
        (lambda p: Adam(p, betas=(0.9, float("nan"))), "beta2 is nan"),
        (lambda p: Adam(p, betas=0.9), "betas is 0.9; it must be a pair of numbers such as (0.9, 0.999)"),
        (lambda p: AdamW(p, betas=(0.9, 0.99, 0.999)), "betas is (0.9, 0.99, 0.999)"),
        (lambda p: Adam(p, bias_correction="False"), "bias_correction is 'False'; it must be True or False"),
        (lambda p: Adam([]), "empty parameter list"),
    ],
)
def test_other_bad_settings_are_one_line(make: Callable[[Any], Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        make(two_parameters())
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_sparse_or_complex_gradient_is_one_line() -> None:
    embedding = torch.nn.Embedding(4, 2, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match=r"^Adam needs dense real gradients, not torch.sparse_coo torch.float32$"):
        Adam(embedding.parameters()).step()
    theta = torch.nn.Parameter(torch.zeros(2, dtype=torch.complex64))
    theta.grad = torch.ones_like(theta)
    with pytest.raises(ValueError, match=r"^AdamW needs dense real gradients, not torch.strided torch.complex64$"):
        AdamW([theta]).step()


@pytest.mark.parametrize(
    ("theirs", "ours", "name"),
    [
        (lambda p: torch.optim.Adam(p, amsgrad=True), Adam, "amsgrad"),
        (lambda p: torch.optim.AdamW(p, maximize=True), AdamW, "maximize"),
        (lambda p: torch.optim.SGD(p, momentum=0.9, dampening=0.1), Momentum, "dampening"),
        (lambda p: torch.optim.SGD(p, momentum=0.9), GradientDescent, "momentum"),
    ],
)
def test_a_state_that_would_be_misread_is_refused(theirs: Callable[[Any], Any], ours: Rule, name: str) -> None:
    rule = ours(two_parameters(), lr=0.25)
    with pytest.raises(ValueError, match=rf"^the saved state has {name} .*; {ours.__name__} has no {name}$"):
        rule.load_state_dict(theirs(two_parameters()).state_dict())
    assert rule.param_groups[0]["lr"] == 0.25


LAYER_SHAPES = ((4, 3), (7,), (2, 3, 2, 2), (30, 5), ())


def layers_of_different_sizes(dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    """Of different sizes; the second starts at zero."""
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(s, dtype=torch.float64, generator=generator) * 10.0**i for i, s in enumerate(LAYER_SHAPES)]
    drawn[1].zero_()
    drawn[2] = drawn[2].to(memory_format=torch.channels_last)
    return [nn.Parameter(each.to(dtype)) for each in drawn]


def lamb_groups(thetas: list[nn.Parameter]) -> list[dict[str, Any]]:
    return [{"params": thetas[:2]}, {"params": thetas[2:], "lr": 0.03, "betas": (0.8, 0.97), "weight_decay": 0.0}]


def set_some_gradients(thetas: list[nn.Parameter], k: int) -> None:
    """Gradient k, a pure function of k; every parameter goes without in some steps."""
    generator = torch.Generator().manual_seed(1000 + k)
    for i, theta in enumerate(thetas):
        g = torch.randn(theta.shape, dtype=torch.float64, generator=generator).to(theta.dtype)
        theta.grad = None if (k + i) % 7 == 3 else g


@pytest.mark.parametrize("weight_decay", [0.0, 0.03])
@pytest.mark.parametrize("piece", [2**18, 8])
@pytest.mark.slow
def test_lamb_equals_its_formula(weight_decay: float, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers, "PIECE", piece)
    mine, theirs = layers_of_different_sizes(), [p.detach().clone() for p in layers_of_different_sizes()]
    rule = Lamb(lamb_groups(mine), lr=0.01, weight_decay=weight_decay)
    memory = [(torch.zeros_like(p), torch.zeros_like(p), 0) for p in theirs]
    for k in range(STEPS):
        set_some_gradients(mine, k)
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
    thetas = layers_of_different_sizes()
    rule = Lamb(thetas, lr=0.01, weight_decay=0.1)
    set_some_gradients(thetas, 0)
    before = [(p.grad, None if p.grad is None else p.grad.clone()) for p in thetas]
    rule.step()
    assert thetas[1].norm() > 0
    for p, (gradient, value) in zip(thetas, before, strict=True):
        assert p.grad is gradient
        assert value is None or torch.equal(p.grad, value)


def test_settings_build_lamb_and_reach_every_group() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    settings = Settings(optimizer="lamb", learning_rate=0.02, weight_decay=0.1, beta2=0.9, eps=1e-5)
    rule = build_optimizer(Layers(model).groups(), settings)
    assert isinstance(rule, Lamb)
    assert apply_settings(settings, 0.01, rule) == (0.01, 0.01)
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
def test_bad_settings_of_lamb_are_one_line(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        Lamb(layers_of_different_sizes(), **settings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
