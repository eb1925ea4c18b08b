"""What looks at a model on a GPU: probes of the doctor leave it as it was, bit for bit; measures are a processor's."""

from __future__ import annotations

import copy

import pytest
import torch
from support.gpu import DEVICE, generator_state

import stablelab as lab
from stablelab.doctor.probes import PROBES, measure_all
from stablelab.doctor.subjects import setup_of_run

pytestmark = pytest.mark.gpu


def everything(run) -> list:
    """All that a probe could have touched."""
    state = run.optimizer.state_dict()["state"]
    return [
        *(tensor.clone() for tensor in run.model.state_dict().values()),
        *(p.grad.clone() for p in run.model.parameters() if p.grad is not None),
        *(value.clone() for held in state.values() for value in held.values()),
        generator_state(),
        torch.get_rng_state(),
        torch.tensor([module.training for module in run.model.modules()]),
        torch.tensor([p.requires_grad for p in run.model.parameters()]),
    ]


def same(some, others) -> bool:
    return len(some) == len(others) and all(map(torch.equal, some, others))


def test_the_doctor_leaves_a_paused_run_as_it_was(make_run, deterministic):
    run = make_run()
    run.step(6)
    run.wait_paused()
    before = everything(run)
    report = lab.examine(run)
    assert same(everything(run), before)
    failed = [each for each in report.not_checked if "failed:" in str(each)]
    assert not failed and report.passed
    run.resume()
    run.wait(120)
    plain = make_run().start().wait(120)
    assert [step.loss for step in run.history] == [step.loss for step in plain.history]


def test_every_probe_measures_on_the_gpu_what_it_measures_on_a_processor(make_run):
    run = make_run().start().wait(120)
    here = measure_all(setup_of_run(run, None))
    run.model.to("cpu")
    run.optimizer.load_state_dict(run.optimizer.state_dict())  # its moments go where the weights are
    there = measure_all(setup_of_run(run, None))
    for probe in PROBES:
        one, other = here[probe.name], there[probe.name]
        assert isinstance(one, str) == isinstance(other, str), (probe.name, one, other)
        if isinstance(one, str):
            assert one == other
        else:
            assert one.keys() == other.keys(), probe.name


def test_measures_are_those_of_a_processor(make_run, pretrained):
    run = make_run(steps=4).start().wait(120)
    model, task = run.model, run.task
    processor = copy.deepcopy(model).cpu()
    inputs, targets = task.validation.collate(torch.arange(16))
    (ours, right), (theirs, _) = (lab.predict(each, task.validation) for each in (model, processor))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=2e-3)
    assert len(lab.diagnose(model, task.validation)) == len(right)
    one, other = (lab.sharpness(each, inputs, targets, training=False) for each in (model, processor))
    assert one == pytest.approx(other, rel=0.1)
    found = [lab.robustness(each, task, severities=[2]).frame() for each in (model, processor)]
    assert found[0].shape == found[1].shape and list(found[0].columns) == list(found[1].columns)


def test_a_range_test_puts_everything_back(make_run):
    run = make_run()
    before = [tensor.clone() for tensor in run.model.state_dict().values()]
    found = lab.range_test(run.model, run.batches, low=1e-6, high=1e-2, steps=8, stretches=3)
    assert len(found.rates) == 3
    assert all(map(torch.equal, run.model.state_dict().values(), before))


def test_what_an_answer_rests_on(pretrained):
    bert, _ = pretrained["bert"]
    resnet, digits = pretrained["resnet"]
    sentence, picture = "A wonderful film.", digits.validation.collate(torch.arange(1))[0][0]
    for model, example in ((bert, sentence), (resnet, picture)):
        ours, theirs = (lab.attributions(copy.deepcopy(model).to(d).eval(), example, target=0) for d in (DEVICE, "cpu"))
        torch.testing.assert_close(ours.scores, theirs.scores, rtol=1e-2, atol=1e-3)
    maps = [lab.attention_maps(copy.deepcopy(bert).to(d), sentence).of(layer=0, head=0) for d in (DEVICE, "cpu")]
    torch.testing.assert_close(*maps, rtol=1e-3, atol=1e-4)
