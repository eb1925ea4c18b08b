"""What the optimizers share: how memory is walked over, and what they say about bad input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from stablelab.training import shell
from stablelab.training.optimizers import Adam, AdamW, GradientDescent, Momentum

Rule = type[torch.optim.Optimizer]


def parameters() -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.ones(3, 2)), torch.nn.Parameter(torch.ones(2))]


def test_tensors_are_cut_and_gathered_completely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "PIECE", 8)
    tensors = [torch.rand(s) + 1 for s in ((4, 3), (), (7,), (2, 3, 2, 2), (1, 9), (30, 5), (0, 2))]
    twins = [t.clone() for t in tensors]
    sizes = []
    for a, b in shell.pieces(tensors, twins):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
        sizes.append(sum(x.numel() for x in a))
        torch._foreach_zero_(a)
    assert not any(t.any() for t in tensors)
    assert sum(sizes) == sum(t.numel() for t in tensors)
    assert max(sizes) <= 8 + 9, "a piece is at most what was waiting and one more cut (here a row of 9)"


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
        ours(parameters(), **{name: bad})
    with pytest.raises(ValueError, match=rf"^{name} is .*$"):
        ours([{"params": parameters(), name: bad}])


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
        make(parameters())
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
    rule = ours(parameters(), lr=0.25)
    with pytest.raises(ValueError, match=rf"^the saved state has {name} .*; {ours.__name__} has no {name}$"):
        rule.load_state_dict(theirs(parameters()).state_dict())
    assert rule.param_groups[0]["lr"] == 0.25
