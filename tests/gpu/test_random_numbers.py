"""The generator of the GPU: what a step or a check draws there leaves no trace in what comes after."""

from __future__ import annotations

import pytest
import torch
from support.gpu import DEVICE, ON_GPU, generator_state
from torch import nn

from stablelab.exercises.kernel_state import known_state
from stablelab.training import step_randomness
from stablelab.training.reproducibility import restored

pytestmark = pytest.mark.gpu


def seed(number: int) -> None:
    (torch.cuda if ON_GPU else torch).manual_seed(number)


def test_a_step_draws_the_same_whatever_was_drawn_before_and_puts_the_state_back():
    dropout, ones, drawn = nn.Dropout(0.5), torch.ones(1000, device=DEVICE), []
    for start in (1, 2):
        seed(start)
        before = generator_state()
        with step_randomness(7, 3, DEVICE):
            drawn.append(dropout(ones))
        assert torch.equal(generator_state(), before)
        expected = dropout(ones)
        seed(start)
        assert torch.equal(dropout(ones), expected)
    assert torch.equal(*drawn)
    with step_randomness(7, 4, DEVICE):
        assert not torch.equal(dropout(ones), drawn[0])


def test_a_cell_that_draws_between_two_steps_does_not_change_the_run(make_run, deterministic):
    plain, other = make_run(), make_run()
    plain.start().wait(120)
    for number in range(3):
        other.step(3)
        other.wait_paused()
        seed(number)
        torch.rand(100, device=DEVICE)
        torch.rand(100)
    other.resume()
    other.wait(120)
    assert [step.loss for step in other.history] == [step.loss for step in plain.history]


def test_a_run_leaves_the_state_that_it_found(make_run):
    seed(11)
    before = generator_state(), torch.get_rng_state()
    make_run(steps=4).start().wait(120)
    assert torch.equal(generator_state(), before[0]) and torch.equal(torch.get_rng_state(), before[1])


def test_a_check_leaves_it_too():
    seed(5)
    torch.rand(3, device=DEVICE)
    before = generator_state()
    with known_state():
        seed(1)
        torch.rand(10, device=DEVICE)
        assert torch.ones(1).device.type == "cpu" and torch.ones(1).dtype == torch.float64
    assert torch.equal(generator_state(), before)


def test_a_default_device_is_put_back_after_a_check():
    torch.set_default_device(DEVICE)
    try:
        with known_state():
            assert torch.ones(1).device.type == "cpu"
        assert torch.ones(1).device.type == DEVICE.type
    finally:
        torch.set_default_device(None)


def test_a_probe_leaves_it_too():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).to(DEVICE)
    before = generator_state(), [tensor.clone() for tensor in model.state_dict().values()]
    with restored(model):
        model(torch.randn(8, 4, device=DEVICE)).sum().backward()
        with torch.no_grad():
            model[0].weight.add_(1.0)
    assert torch.equal(generator_state(), before[0])
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), before[1], strict=True))
    assert all(p.grad is None for p in model.parameters())
