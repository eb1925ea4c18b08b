"""The measured noise scale against per-example gradients, its interval against repetitions, and no trace left."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from stablelab.formulas import cross_entropy
from stablelab.stability import gradient_noise_scale


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Tanh(), nn.Dropout(0.3), nn.Linear(12, 3)
        return nn.Sequential(*layers).double()


def examples(n: int = 24, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 6, generator=generator).double(), torch.randint(3, (n,), generator=generator)


def per_example(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    rows = []
    for x, y in zip(inputs, targets, strict=True):
        loss = cross_entropy(model(x[None]), y[None])
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]))
    return torch.stack(rows)


def test_in_groups_of_one_it_is_the_sample_variance_over_the_mean_corrected_for_it() -> None:
    model, (inputs, targets) = network().eval(), examples()
    gradients = per_example(model, inputs, targets)
    trace = gradients.var(dim=0).sum()
    square = gradients.mean(dim=0).square().sum() - trace / len(gradients)
    measured = gradient_noise_scale(model, inputs, targets, groups=24, training=False)
    expected = (trace / square).item() if square > 0 else math.inf
    assert measured.value == pytest.approx(expected, rel=1e-9)
    assert measured.low is not None and measured.low < measured.value


@pytest.mark.slow
def test_its_interval_holds_the_true_scale_as_often_as_it_says() -> None:
    """Logistic regression on normal inputs; the truth is from 200,000 examples."""
    model = nn.Linear(5, 2).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.5, 0, 0, 0, 0], [-0.5, 0, 0, 0, 0]]))
        model.bias.zero_()

    def draw(n: int, seed: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(n, 5, generator=generator, dtype=torch.float64)
        return x, (x[:, 0] + torch.randn(n, generator=generator, dtype=torch.float64) < 0).long()

    x, y = draw(200_000, 0)
    residual = torch.softmax(model(x), dim=1).detach() - nn.functional.one_hot(y, 2)  # (N, 2)
    ones = torch.cat([x, torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
    gradients = (residual[:, :, None] * ones[:, None]).flatten(1)
    truth = (gradients.var(dim=0).sum() / gradients.mean(dim=0).square().sum()).item()
    held = 0
    for seed in range(1, 201):
        found = gradient_noise_scale(model, *draw(256, seed), groups=8)
        assert found.low is not None and found.high is not None
        held += found.low <= truth <= found.high
    assert 180 <= held <= 199


def test_where_there_is_no_gradient_it_does_not_pretend_to_one() -> None:
    model = nn.Linear(4, 2).double()
    nn.init.zeros_(model.weight), nn.init.zeros_(model.bias)
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    targets = torch.arange(64) % 2  # nothing to learn
    assert gradient_noise_scale(model, inputs, targets).high == math.inf


def test_nothing_of_the_model_changes() -> None:
    model, (inputs, targets) = network(), examples()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.train()[3].eval()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    for training in (False, True):
        gradient_noise_scale(model, inputs, targets, groups=4, training=training)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training and not model[3].training
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_what_cannot_be_is_said_in_one_line() -> None:
    inputs, targets = examples()
    with pytest.raises(ValueError, match="does not divide the 24 examples"):
        gradient_noise_scale(network(), inputs, targets, groups=5)
    with pytest.raises(ValueError, match="loss is nan"):
        gradient_noise_scale(network(), inputs * math.nan, targets, groups=4)
