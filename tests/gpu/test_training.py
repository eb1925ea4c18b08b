"""The loop on a GPU: it trains there, by every optimizer, and comes to a processor's numbers up to rounding."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from support.gpu import APART, DEVICE, ON_GPU
from torch import nn

import stablelab as lab
from stablelab.formulas import cross_entropy
from stablelab.models import freeze
from stablelab.training import Run, Settings
from stablelab.training.settings import OPTIMIZERS

pytestmark = pytest.mark.gpu


def test_a_run_trains_on_the_gpu_unless_told_otherwise(pretrained):
    model, task = pretrained["resnet"]
    run = lab.fine_tune(copy.deepcopy(model), task, steps=1, device=None if ON_GPU else DEVICE)
    assert {p.device.type for p in run.model.parameters()} == {DEVICE.type}
    run.start().wait(120)
    assert {p.grad.device.type for p in run.model.parameters()} == {DEVICE.type}


def test_the_loss_falls_and_the_validation_split_is_scored(make_run):
    run = make_run(steps=40, evaluate_every=20).start().wait(120)
    losses = [step.loss for step in run.history]
    assert run.state == "finished" and all(map(math.isfinite, losses))
    assert sum(losses[-10:]) < sum(losses[:10])
    assert [each.step for each in run.history.evaluations()] == [20, 40]
    logits, targets = lab.predict(run.model, run.task.validation)
    assert logits.device.type == targets.device.type == "cpu"
    accuracy = (logits.argmax(dim=1) == targets).double().mean()
    assert run.history.evaluations()[-1].accuracy == pytest.approx(float(accuracy))


def test_it_comes_to_the_numbers_of_a_processor(make_run):
    """Without what draws random numbers on the device: those of a GPU are others."""
    curves = []
    for device in (DEVICE, "cpu"):
        run = make_run(steps=4, device=device, optimizer="sgd", learning_rate=0.02, evaluate_every=0)
        for module in run.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        curves.append([(step.loss, step.norm_before) for step in run.start().wait(120).history])
    for (loss, norm), (expected, length) in zip(*curves, strict=True):
        assert loss == pytest.approx(expected, abs=2e-3) and norm == pytest.approx(length, rel=0.02)


@pytest.mark.parametrize("implementation", ["torch", "workbook"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_makes_the_step_of_a_processor(clouds, make_network, optimizer, implementation):
    settings = Settings(optimizer=optimizer, implementation=implementation, learning_rate=0.01, weight_decay=0.1)
    ends = []
    for device in (DEVICE, torch.device("cpu")):
        model = make_network().to(device)
        model[3].p = 0.0
        for parameter in model[0].parameters():
            parameter.requires_grad_(parameter.ndim > 1)  # a bias before batch norm has a gradient of rounding alone
        Run(model, clouds, settings=settings, batch_size=20, steps=5, seed=1).start().wait(60)
        ends.append(torch.cat([p.detach().cpu().flatten() for p in model.parameters()]))
    torch.testing.assert_close(*ends, rtol=1e-3, atol=1e-4)


def test_a_label_that_is_no_class_is_said_and_the_gpu_goes_on(clouds, make_network):
    network = make_network()
    network[4] = nn.Linear(16, 2)  # for three classes
    run = Run(network.to(DEVICE), clouds, settings=Settings(), batch_size=20, steps=5, seed=1).start()
    with pytest.raises(ValueError, match=r"^targets must lie in 0\.\.1 for 2 classes, but they span 0\.\.2"):
        run.wait(60)
    if ON_GPU:
        assert math.isnan(cross_entropy(torch.zeros(2, 3, device=DEVICE), torch.tensor([0, 3], device=DEVICE)))
    assert float(cross_entropy(torch.zeros(2, 3, device=DEVICE), torch.tensor([0, 2], device=DEVICE))) > 1


@pytest.mark.parametrize("clip", ["norm", "tensor", "value"])
def test_clipping_bounds_what_it_should(make_run, clip):
    run = make_run(steps=4, clip=clip, max_norm=0.05, evaluate_every=0).start().wait(120)
    assert all(step.clipped and step.norm_after < step.norm_before for step in run.history)
    gradients = [p.grad for p in run.model.parameters() if p.grad is not None]
    if clip == "norm":
        assert all(step.norm_after == pytest.approx(0.05, rel=1e-3) for step in run.history)
    elif clip == "tensor":
        assert all(float(g.norm()) <= 0.0501 for g in gradients)
    else:
        assert all(float(g.abs().max()) <= 0.0501 for g in gradients)


def test_a_head_trains_on_the_features_that_the_gpu_computed(make_run, pretrained):
    run = make_run(steps=4, evaluate_every=4)
    model, task = copy.deepcopy(run.model), run.task
    head = lab.fine_tune(model, task, train="head", device=DEVICE, steps=4, batch_size=10, seed=3, learning_rate=1e-2)
    head.start().wait(120)
    assert {p.device.type for p in model.parameters()} == {DEVICE.type}
    frozen = copy.deepcopy(run.model)
    with freeze(frozen):
        whole = Run(frozen, task, settings=head.settings, steps=4, batch_size=10, seed=3).start().wait(120)
    for one, other in zip(head.history, whole.history, strict=True):
        assert one.loss == pytest.approx(other.loss, abs=1e-3)


@pytest.mark.parametrize("name", ["noise", "crop", "rotation", "flip"])
def test_pictures_are_augmented(pretrained, name):
    model, task = pretrained["resnet"]
    losses = []
    for amount in (0.0, 0.5):
        plan = {"steps": 3, "batch_size": 10, "evaluate_every": 0, "device": DEVICE, name: amount}
        losses.append(lab.fine_tune(copy.deepcopy(model), task, **plan).start().wait(120).history[0].loss)
    assert abs(losses[0] - losses[1]) > 1e-4 and all(map(math.isfinite, losses))


def test_layers_thaw_one_after_another(make_run):
    run = make_run(steps=6, unfrozen=1, unfreeze_every=2, layer_decay=0.5, evaluate_every=0)
    first = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    run.start().wait(120)
    moved = {name for name, p in run.model.named_parameters() if not torch.equal(p, first[name])}
    assert 0 < len(moved) < len(first)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_divergence_puts_good_weights_back(make_run, optimizer):
    run = make_run(steps=30, optimizer=optimizer, learning_rate=1e30, evaluate_every=0).start().wait(120)
    assert run.state == "diverged" and all(p.isfinite().all() for p in run.model.parameters())


def test_two_runs_of_one_seed_stay_close(make_run):
    runs = [make_run().start().wait(120) for _ in range(2)]
    apart = max(abs(a.loss - b.loss) for a, b in zip(*(run.history for run in runs), strict=True))
    print(f"largest difference of a loss: {apart:g}")
    assert apart < APART
