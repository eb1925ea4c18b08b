"""Half precision on a GPU: what it computes, that fp16's loss scale finds its size, and what it costs in accuracy."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from support.gpu import DEVICE, ON_GPU
from torch import nn

from stablelab.formulas import cross_entropy
from stablelab.training import Control, Settings, steps
from stablelab.training.precision import precisions_of, slower_here

pytestmark = pytest.mark.gpu

HALVES = ["bf16", "fp16"] if ON_GPU else ["bf16"]
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Fixed:
    """One batch, again and again."""

    per_epoch = 10

    def __init__(self, inputs, targets):
        self.batch = inputs, targets

    def __call__(self, k):
        return self.batch


def test_a_gpu_trains_in_all_of_them():
    assert precisions_of(DEVICE) == (("fp32", "bf16", "fp16") if ON_GPU else ("fp32", "bf16"))
    if ON_GPU and torch.cuda.get_device_capability(DEVICE) >= (8, 0):
        assert not any(slower_here(each, DEVICE) for each in precisions_of(DEVICE))


@pytest.mark.parametrize("precision", HALVES)
def test_a_step_is_that_of_torchs_autocast_and_grad_scaler(clouds, make_network, precision):
    inputs, targets = clouds.batches(0, 20)(0)
    ours, theirs = make_network().to(DEVICE), make_network().to(DEVICE)
    ours[3].p = theirs[3].p = 0.0
    settings = Settings(optimizer="sgd", learning_rate=0.1, precision=precision)
    made = list(steps(ours, Fixed(inputs, targets), cross_entropy, Control(settings), total_steps=3))
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, fused=True)
    scaler = torch.amp.GradScaler(DEVICE.type, enabled=precision == "fp16")
    losses = []
    for _ in range(3):
        with torch.autocast(DEVICE.type, DTYPES[precision]):
            logits = theirs(inputs.to(DEVICE))
        loss = cross_entropy(logits.float(), targets.to(DEVICE))
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert [step.loss for step in made] == pytest.approx(losses, abs=1e-6)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", HALVES)
def test_the_losses_are_near_those_of_fp32(make_run, precision):
    exact = make_run(steps=6, evaluate_every=0).start().wait(120)
    half = make_run(steps=6, evaluate_every=0, precision=precision).start().wait(120)
    first = abs(half.history[0].loss - exact.history[0].loss)
    assert 0 < first < 0.05
    assert half.history[0].norm_before == pytest.approx(exact.history[0].norm_before, rel=0.1)


def test_fp16_steps_that_overflow_are_left_out_until_the_scale_fits(make_run):
    """Losses that are too large by 2¹⁰ overflow under the first scales: the weights rest, the scale is halved."""
    run = make_run(steps=24, precision="fp16", optimizer="sgd", learning_rate=1e-3, max_norm=1.0, evaluate_every=0)
    run.loss = lambda logits, targets: 2.0**10 * cross_entropy(logits, targets)
    first, rested = copy.deepcopy([p.detach() for p in run.model.parameters()]), []
    run.step(1)
    run.wait_paused()
    rested = all(torch.equal(p, old) for p, old in zip(run.model.parameters(), first, strict=True))
    run.resume()
    run.wait(120)
    scales = [step.scalars["loss_scale"] for step in run.history]
    print("scales", scales)
    assert run.state == "finished" and scales[0] == 2.0**16 > scales[-1]
    assert all(b in (a, a / 2) for a, b in pairwise(scales))
    assert rested and not all(torch.equal(p, old) for p, old in zip(run.model.parameters(), first, strict=True))
    assert not any(step.diverged for step in run.history) and all(p.isfinite().all() for p in run.model.parameters())


def test_gradients_that_vanish_in_fp16_are_saved_by_the_scale():
    """A gradient of 1e-9 is below the smallest number of fp16, 6e-8; times 2¹⁶ it is not."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Linear(8, 2).to(DEVICE)
    inputs, targets = torch.randn(16, 8), torch.arange(16) % 2
    settings = Settings(optimizer="sgd", learning_rate=1.0, precision="fp16")
    loss = lambda logits, y: 1e-7 * cross_entropy(logits, y)  # noqa: E731
    (step,) = steps(model, Fixed(inputs, targets), loss, Control(settings), total_steps=1)
    assert step.norm_before > 0
    with torch.autocast(DEVICE.type, torch.float16):
        logits = model(inputs.to(DEVICE))
    model.zero_grad()
    loss(logits.float(), targets.to(DEVICE)).backward()
    unscaled = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert step.norm_before > 2 * float(unscaled.norm())
