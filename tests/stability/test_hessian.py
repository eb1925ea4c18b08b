"""Sharpness against the whole Hessian, and nothing of the model changed by measuring it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stablelab.formulas import cross_entropy
from stablelab.stability import hessian_vector_product, sharpness
from stablelab.stability.hessian import largest_eigenvalue

EXACT = {"iterations": 200, "tolerance": 1e-9}


def network(seed: int = 0) -> nn.Module:
    """Under 1,000 weights, with batch norm and dropout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Tanh(), nn.Dropout(0.3), nn.Linear(12, 3)
        return nn.Sequential(*layers).double()


def batch(n: int = 20) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 6, generator=generator).double(), torch.randint(3, (n,), generator=generator)


def hessian(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """(D, D), row by row from torch's own."""
    names, weights = zip(*model.named_parameters(), strict=True)
    sizes = [w.numel() for w in weights]

    def loss(flat: Tensor) -> Tensor:
        parts = {name: piece.view_as(w) for name, piece, w in zip(names, flat.split(sizes), weights, strict=True)}
        return cross_entropy(torch.func.functional_call(model, parts, inputs), targets)

    return torch.autograd.functional.hessian(loss, torch.cat([w.detach().flatten() for w in weights]))


def test_is_the_largest_eigenvalue_of_the_whole_hessian() -> None:
    model, (inputs, targets) = network().eval(), batch()
    H = hessian(model, inputs, targets)
    assert len(H) < 1000
    measured = sharpness(model, inputs, targets, training=False, **EXACT)
    assert measured == pytest.approx(torch.linalg.eigvalsh(H)[-1].item(), rel=1e-9)
    quick = sharpness(model, inputs, targets, training=False)
    assert quick == pytest.approx(measured, rel=2e-2) and quick <= measured


def test_in_training_it_sees_what_descent_sees() -> None:
    """Batch norm by the batch: the loss of the training mode has another Hessian. (No dropout: it would differ.)"""
    model, (inputs, targets) = network(), batch()
    model[3].p = 0.0
    measured = sharpness(model, inputs, targets, **EXACT)
    expected = torch.linalg.eigvalsh(hessian(model.train(), inputs, targets))[-1].item()
    assert measured == pytest.approx(expected, rel=1e-8)
    assert measured != pytest.approx(sharpness(model, inputs, targets, training=False, **EXACT), rel=1e-2)


def test_a_product_is_the_hessian_times_the_vector() -> None:
    model, (inputs, targets) = network().eval(), batch()
    generator = torch.Generator().manual_seed(2)
    vector = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in model.parameters()]
    loss = cross_entropy(model(inputs), targets)
    products = hessian_vector_product(loss, list(model.parameters()), vector)
    assert [p.shape for p in products] == [p.shape for p in model.parameters()]
    flat = torch.cat([v.flatten() for v in vector])
    expected = hessian(model, inputs, targets) @ flat
    torch.testing.assert_close(torch.cat([p.flatten() for p in products]), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("eigenvalues", [[-50.0, -3.0, 0.5, 2.0], [-1.0, -7.0], [4.0, 4.0, 4.0], [0.0, 0.0]])
def test_a_large_negative_eigenvalue_does_not_hide_the_largest(eigenvalues: list[float]) -> None:
    generator = torch.Generator().manual_seed(3)
    n = len(eigenvalues)
    Q, _ = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))
    H = Q @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ Q.T
    start = torch.randn(n, generator=generator, dtype=torch.float64)
    assert largest_eigenvalue(lambda v: H @ v, start, 50, 1e-12) == pytest.approx(max(eigenvalues), abs=1e-10)


def test_crowded_eigenvalues_are_told_apart_in_few_products() -> None:
    """As in a network: ten eigenvalues close to the top, a thousand near zero, some below it."""
    spectrum = torch.cat([torch.linspace(8, 10, 10), torch.linspace(-1, 0.5, 1000)]).double()
    start = torch.randn(len(spectrum), generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    assert largest_eigenvalue(lambda v: spectrum * v, start, 30, 1e-2) == pytest.approx(10.0, rel=2e-3)


def state(model: nn.Module) -> list[Any]:
    grads = [p.grad for p in model.parameters()]
    return [
        *(tensor.clone() for tensor in model.state_dict().values()),
        *(g.clone() for g in grads if g is not None),
        torch.get_rng_state(),
    ]


@pytest.mark.parametrize("training", [True, False])
def test_leaves_everything_as_it_was(training: bool) -> None:
    model, (inputs, targets) = network().train(), batch()
    model[1].eval()  # a mode of its own, which must come back too
    cross_entropy(model(inputs), targets).backward()
    model[4].bias.grad = None
    before, modes, objects = state(model), [m.training for m in model.modules()], [p.grad for p in model.parameters()]
    sharpness(model, inputs, targets, training=training)
    assert all(torch.equal(a, b) for a, b in zip(before, state(model), strict=True))
    assert [m.training for m in model.modules()] == modes
    assert all(p.grad is g for p, g in zip(model.parameters(), objects, strict=True))


def test_also_where_the_loss_fails() -> None:
    model, (inputs, targets) = network().eval(), batch()
    before = state(model)
    with pytest.raises(ValueError, match="^the loss is nan; sharpness needs weights at which it is finite$"):
        sharpness(model, inputs * float("nan"), targets)
    assert not any(m.training for m in model.modules())
    assert all(torch.equal(a, b) for a, b in zip(before, state(model), strict=True))


def test_one_seed_one_number_with_dropout_too() -> None:
    model, (inputs, targets) = network(), batch()
    first = sharpness(model, inputs, targets, seed=5)
    torch.rand(1)
    with torch.no_grad():
        assert sharpness(model, inputs, targets, seed=5) == first
    assert sharpness(model, inputs, targets, seed=6) != first


def test_only_the_weights_that_are_trained_count() -> None:
    model, (inputs, targets) = network().eval(), batch()
    for p in model[:4].parameters():
        p.requires_grad_(False)
    expected = torch.linalg.eigvalsh(hessian(model, inputs, targets)[-39:, -39:])[-1].item()
    assert sharpness(model, inputs, targets, training=False, **EXACT) == pytest.approx(expected, rel=1e-9)


def test_a_loss_without_curvature_is_flat() -> None:
    model, (inputs, targets) = nn.Linear(6, 3).double(), batch()
    assert sharpness(model, inputs, targets, lambda logits, _: logits.sum()) == 0.0


def test_attention_has_a_second_derivative_too() -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Linear(6, 3)

        def forward(self, x: Tensor, times: Tensor) -> Any:
            q = self.project(x)[None, None]
            mixed = torch.nn.functional.scaled_dot_product_attention(q, q, q)[0, 0] * times
            return type("Output", (), {"logits": mixed})()

    inputs, targets = batch()
    model = Attends()
    assert sharpness(model, {"x": inputs.float(), "times": torch.tensor(2.0)}, targets) > 0


ONE = torch.ones(2, requires_grad=True)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sharpness(network(), *batch(), iterations=0), "iterations is 0; it must be a whole number, 1 or more"),
        (lambda: sharpness(network(), *batch(), tolerance=0), "tolerance is 0; it must be a finite number above 0"),
        (lambda: sharpness(network(), *batch(), seed=-1), "seed is -1"),
        (lambda: sharpness(network().requires_grad_(False), *batch()), "the model has no trainable parameter"),
        (lambda: hessian_vector_product(ONE.sum() ** 2, [ONE], [torch.ones(3)]), "vector must have the shapes of the"),
        (lambda: hessian_vector_product(ONE**2, [ONE], [ONE]), "loss must be one number with its graph"),
        (lambda: hessian_vector_product(ONE.sum().detach(), [ONE], [ONE]), "loss must be one number with its graph"),
    ],
)
def test_bad_input_is_one_line(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
