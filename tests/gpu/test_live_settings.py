"""On a GPU, too, a setting that changes while it trains acts on the next step, and is written down."""

from __future__ import annotations

import pytest
import torch
from support.gpu import ON_GPU
from torch import nn

from stablelab.formulas import cross_entropy

pytestmark = pytest.mark.gpu


def halfway(run, **changes):
    """Train to the end, with settings changed after four steps."""
    run.step(4)
    run.wait_paused()
    run.control.change(**changes)
    run.resume()
    return run.wait(120)


def test_learning_rate_and_clipping(make_run):
    run = halfway(make_run(evaluate_every=0), learning_rate=3e-5, max_norm=0.1)
    rates = [step.learning_rates[0] for step in run.history]
    assert rates == [rates[0]] * 4 + [3e-5] * 8 and rates[0] != 3e-5
    assert [step.clipped for step in run.history][:4] == [False] * 4
    assert all(step.norm_after == pytest.approx(0.1, rel=1e-3) for step in run.history.since(4) if step.clipped)
    assert any(step.clipped for step in run.history.since(4))


@pytest.mark.parametrize("precision", ["bf16", "fp16"] if ON_GPU else ["bf16"])
def test_precision(make_run, precision):
    run, seen = make_run(evaluate_every=12), []
    layer = next(each for each in run.model.modules() if isinstance(each, nn.Conv2d | nn.Linear))
    layer.register_forward_hook(lambda layer, _, output: seen.append(output.dtype) if layer.training else None)
    run.loss = lambda logits, targets: seen.append(logits.dtype) or cross_entropy(logits, targets)
    halfway(run, precision=precision)
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    assert seen == [torch.float32] * 8 + [half, torch.float32] * 8 + seen[24:] and set(seen[24:]) <= {torch.float32}
    assert [step.optimizer.endswith(precision) for step in run.history] == [False] * 4 + [True] * 8
    assert (
        {p.dtype for p in run.model.parameters()} == {p.grad.dtype for p in run.model.parameters()} == {torch.float32}
    )
    assert all(step.scalars.get("loss_scale") for step in run.history.since(4)) == (precision == "fp16")


@pytest.mark.parametrize("kind", ["accumulation", "optimizer", "schedule"])
def test_what_else_may_change(make_run, kind):
    value = {"accumulation": 5, "optimizer": "sgd", "schedule": "cosine"}[kind]
    run = halfway(make_run(evaluate_every=0), **{kind: value})
    (change,) = run.history.interventions()
    assert (change.step, change.name, change.new) == (5, kind, value)
    assert len(run.history) == 12 and run.state == "finished"
