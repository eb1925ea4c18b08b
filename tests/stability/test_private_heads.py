from __future__ import annotations

import math
import sys
import warnings

import pytest
import torch
from support.helpers import normal
from torch import nn
from torch.func import functional_call, grad, vmap

from stablelab.formulas import private_gradient
from stablelab.stability import private_epsilon, train_private_heads
from stablelab.stability.sweeps.batched_heads import batched_logits

X, Y = normal(12, 5), torch.tensor([0, 1, 2] * 4)
HALF = torch.arange(12) % 2 == 0
SETTINGS = {"learning_rate": 0.7, "steps": 4, "max_norm": 0.9}


def _by_hand(members: torch.Tensor, max_norm: float) -> nn.Linear:
    """The same by gradients of each example from torch.func, clipped by the formula."""
    head = nn.Linear(5, 3).double()
    nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)

    def loss(p: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(functional_call(head, p, (x[None],)), y[None])

    for _ in range(4):
        now = {n: p.detach() for n, p in head.named_parameters()}
        each = vmap(grad(loss), (None, 0, 0))(now, X[members], Y[members])
        steps = private_gradient(list(each.values()), max_norm, 0.0, int(members.sum()))
        with torch.no_grad():
            for p, g in zip(head.parameters(), steps, strict=True):
                p -= 0.7 * g
    return head


@pytest.mark.parametrize("max_norm", [0.9, 1e6])
def test_many_heads_are_each_what_per_example_gradients_give(max_norm: float) -> None:
    members = torch.stack([HALF, ~HALF])
    weights, biases = train_private_heads(
        X, Y, members, 3, learning_rate=0.7, steps=4, max_norm=max_norm, noise_multiplier=0.0
    )
    for r in range(2):
        head = _by_hand(members[r], max_norm)
        torch.testing.assert_close(weights[r], head.weight.detach(), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(biases[r], head.bias.detach(), rtol=1e-9, atol=1e-12)


def test_without_a_bound_it_is_gradient_descent() -> None:
    settings = {"learning_rate": 0.7, "steps": 4, "noise_multiplier": 0.0}
    found = train_private_heads(X, Y, HALF[None], 3, max_norm=math.inf, **settings)
    head = nn.Linear(5, 3).double()
    nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)
    sgd = torch.optim.SGD(head.parameters(), lr=0.7)
    for _ in range(4):
        sgd.zero_grad()
        nn.functional.cross_entropy(head(X[HALF]), Y[HALF]).backward()
        sgd.step()
    torch.testing.assert_close(batched_logits(*found, X)[0], head(X).detach(), rtol=1e-9, atol=1e-12)


def test_the_step_is_that_of_opacus() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus import GradSampleModule
        from opacus.optimizers import DPOptimizer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        head = GradSampleModule(nn.Linear(5, 3).double())
        before = [p.detach().clone() for p in head.parameters()]
        optimizer = DPOptimizer(
            torch.optim.SGD(head.parameters(), lr=1.0), noise_multiplier=1.5, max_grad_norm=0.9,
            expected_batch_size=12, generator=torch.Generator().manual_seed(3),
        )  # fmt: skip
        nn.functional.cross_entropy(head(X), Y).backward()
        per_example = [p.grad_sample.detach().clone() for p in head.parameters()]
        optimizer.step()
    mine = private_gradient(per_example, 0.9, 1.5, 12, torch.Generator().manual_seed(3))
    for p, old, g in zip(head.parameters(), before, mine, strict=True):
        torch.testing.assert_close(old - p.detach(), g, rtol=1e-5, atol=1e-7)  # opacus adds 1e-6 to each norm


def test_noise_and_batches_are_of_the_size_that_is_asked_for() -> None:
    x, y = torch.zeros(4, 400), torch.tensor([0, 1, 0, 1])  # no gradient but that of the biases
    members = torch.ones(50, 4, dtype=torch.bool)
    weights, _ = train_private_heads(
        x, y, members, 2, learning_rate=1.0, steps=9, max_norm=0.5, noise_multiplier=2.0, seed=1
    )
    assert weights.std().item() == pytest.approx(3 * 0.5 * 2.0 / 4, rel=0.02)  # √9 steps, over 4 examples
    again = train_private_heads(X, Y, HALF[None], 3, **SETTINGS, noise_multiplier=1.0, sample_rate=0.5, seed=5)
    same = train_private_heads(X, Y, HALF[None], 3, **SETTINGS, noise_multiplier=1.0, sample_rate=0.5, seed=5)
    other = train_private_heads(X, Y, HALF[None], 3, **SETTINGS, noise_multiplier=1.0, sample_rate=0.5, seed=6)
    assert torch.equal(again[0], same[0]) and not torch.equal(again[0], other[0])


def test_opacus_agrees_on_all_the_data_and_drawing_costs_less() -> None:
    ours = private_epsilon(4.0, 30, 1e-5)
    assert private_epsilon(4.0, 30, 1e-5, 1 - 1e-9) == pytest.approx(ours, rel=0.01)
    rdp, drawn = (private_epsilon(4.0, 30, 1e-5, q, "rdp") for q in (1 - 1e-9, 0.1))
    assert ours < rdp < 1.2 * ours and drawn < ours / 3
    assert private_epsilon(0.0, 30, 1e-5) == math.inf


def test_without_opacus_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opacus", None)
    with pytest.raises(ImportError, match=r"opacus is not here; run: pip install 'stablelab\[privacy\]'"):
        private_epsilon(1.0, 10, 1e-5, 0.1)
    assert private_epsilon(1.0, 10, 1e-5) > 0  # all the data in every step: the formula needs no library


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"noise_multiplier": -1.0}, "noise_multiplier is -1.0"),
        ({"max_norm": math.inf}, "noise is measured by the bound"),
        ({"max_norm": 0.0}, "max_norm is 0.0"),
        ({"sample_rate": 0.0}, "sample_rate is 0.0"),
        ({"steps": 0}, "steps is 0"),
        ({"targets": Y[:5]}, "features must be (N, D)"),
    ],
)
def test_bad_input_is_one_line(change: dict[str, object], words: str) -> None:
    arguments = {"features": X, "targets": Y, "members": HALF[None], "classes": 3, "noise_multiplier": 1.0, **SETTINGS}
    with pytest.raises(ValueError) as caught:
        train_private_heads(**arguments | change)  # type: ignore[arg-type]
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_wrong_accountant_is_one_line() -> None:
    with pytest.raises(ValueError, match="unknown accountant 'moments'"):
        private_epsilon(1.0, 10, 1e-5, 0.1, "moments")
