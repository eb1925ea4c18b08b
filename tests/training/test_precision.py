"""Half precision: what it changes and what it leaves in fp32, the scale of fp16's loss, and what a device cannot do."""

from __future__ import annotations

import math

import pytest
import torch
from support.helpers import same_weights, timeless
from torch import Tensor, nn

from stablelab.formulas import cross_entropy
from stablelab.training import Control, Run, Settings, export, reopen, replay, steps
from stablelab.training.history import settings_at
from stablelab.training.precision import (
    LossScale,
    autocast,
    bf16_units,
    check_precision,
    precisions_of,
    slower_here,
)

CPU = torch.device("cpu")


class Fixed:
    """One batch, again and again."""

    per_epoch = 10

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self.batch = inputs, targets

    def __call__(self, k: int) -> tuple[Tensor, Tensor]:
        return self.batch


@pytest.fixture
def make_run(clouds, make_network):
    def make(precision="bf16", **arguments) -> Run:
        settings = Settings(learning_rate=0.02, max_norm=1.0, precision=precision)
        return Run(make_network(), clouds, settings=settings, batch_size=20, **{"steps": 24, "seed": 5, **arguments})

    return make


def changed(run: Run, step: int, **changes) -> Run:
    """Train to the end, with settings changed after this many steps."""
    run.step(step)
    run.wait_paused()
    run.control.change(**changes)
    run.resume()
    return run.wait(60)


def test_products_are_computed_in_bf16_and_the_rest_stays_in_fp32(make_run):
    run, seen = make_run(steps=3, evaluate_every=1), []
    for layer in (run.model[0], run.model[4]):
        layer.register_forward_hook(lambda layer, _, output: seen.append((layer.training, output.dtype)))
    run.loss = lambda logits, targets: seen.append(("loss", logits.dtype)) or cross_entropy(logits, targets)
    run.start().wait(60)
    assert set(seen) == {(True, torch.bfloat16), (False, torch.float32), ("loss", torch.float32)}
    assert (
        {each.dtype for each in run.model.parameters()}
        == {torch.float32}
        == {p.grad.dtype for p in run.model.parameters()}
    )
    state = run.checkpoints.newest.optimizer or {}
    assert {t.dtype for each in state.get("state", {}).values() for t in each.values()} <= {torch.float32}
    assert run.history[0].optimizer == "AdamW · torch fused · bf16"


def test_a_step_in_bf16_is_that_of_torchs_autocast_and_no_other(clouds, make_network):
    inputs, targets = clouds.batches(0, 20)(0)
    ours, theirs = (make_network().requires_grad_() for _ in range(2))
    for model in (ours, theirs):
        model[3].p = 0.0
    settings = Settings(optimizer="sgd", learning_rate=0.1, precision="bf16")
    (step,) = steps(ours, Fixed(inputs, targets), cross_entropy, Control(settings), total_steps=1)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, fused=True)
    with torch.autocast("cpu", torch.bfloat16):
        logits = theirs(inputs)
    loss = cross_entropy(logits.float(), targets)
    loss.backward()
    optimizer.step()
    assert step.loss == loss.item() and same_weights(ours, theirs)
    plain = make_network()
    plain[3].p = 0.0
    loss = cross_entropy(plain(inputs), targets)
    assert 0 < abs(loss.item() - step.loss) < 0.05


def test_bf16_is_what_accelerate_computes(clouds, make_network):
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    inputs, targets = clouds.batches(0, 20)(0)
    ours, theirs = make_network(), make_network()
    ours[3].p = theirs[3].p = 0.0
    settings = Settings(optimizer="sgd", learning_rate=0.1, precision="bf16")
    (step,) = steps(ours, Fixed(inputs, targets), cross_entropy, Control(settings), total_steps=1)
    AcceleratorState._reset_state(True)
    try:
        accelerator = Accelerator(mixed_precision="bf16", cpu=True)
        model, optimizer = accelerator.prepare(theirs, torch.optim.SGD(theirs.parameters(), lr=0.1, fused=True))
        loss = cross_entropy(model(inputs), targets)
        accelerator.backward(loss)
        optimizer.step()
    finally:
        AcceleratorState._reset_state(True)
    assert step.loss == loss.item() and same_weights(ours, theirs)


@pytest.mark.slow
def test_a_change_of_precision_is_an_intervention_like_any_other(make_run):
    run = changed(make_run("fp32", evaluate_every=4), 9, precision="bf16")
    (gesture,) = run.history.gestures()
    assert str(gesture) == "step 10: precision fp32 → bf16"
    assert [step.optimizer.endswith("bf16") for step in run.history] == [False] * 9 + [True] * 15
    before, untouched = run.branch(4), run.untouched()
    for branch in (before, untouched):
        branch.start().wait(60)
        assert {step.optimizer for step in branch.history} == {"AdamW · torch fused"}
        assert timeless(branch.history)[:9] == timeless(run.history)[:9]
    plain = make_run("fp32", evaluate_every=4).start().wait(60)
    assert timeless(before.history) == timeless(untouched.history) == timeless(plain.history)
    after = run.branch(17).start().wait(60)
    assert timeless(after.history) == timeless(run.history) and same_weights(after.model, run.model)


@pytest.mark.slow
def test_a_replay_and_a_run_that_was_reopened_come_to_the_same_bits(make_run, clouds, make_network, tmp_path):
    run = changed(make_run("bf16"), 9, precision="fp32", learning_rate=0.01)
    again = replay(run.log(), make_network(), clouds).start().wait(60)
    assert timeless(again.history) == timeless(run.history) and same_weights(again.model, run.model)
    half = make_run("bf16", folder=tmp_path / "run")
    half.step(13)
    half.wait_paused()
    half.stop()
    whole = reopen(tmp_path / "run", make_network(seed=3), clouds)
    assert settings_at(whole.settings, whole.history.interventions(), 13).precision == "bf16"
    whole.start().wait(60)
    plain = make_run("bf16").start().wait(60)
    assert timeless(whole.history) == timeless(plain.history) and same_weights(whole.model, plain.model)


# -- fp16 and its loss scale -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_scale_is_that_of_torchs_grad_scaler():
    scaler = torch.amp.GradScaler("cpu", growth_interval=2000)
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    generator, ours = torch.Generator().manual_seed(0), LossScale()
    for k in range(2150):
        overflow = k in (0, 1, 77, 78, 2140) or (k < 70 and float(torch.rand((), generator=generator)) < 0.1)
        assert scaler.get_scale() == ours.value
        scaler.scale(weight.sum())
        weight.grad = torch.tensor([math.inf if overflow else ours.value])
        scaler.unscale_(optimizer)
        if not overflow:
            gradient = torch.tensor([ours.value])
            ours.unscale_([gradient])
            assert torch.equal(weight.grad, gradient)
        scaler.step(optimizer)
        scaler.update()
        ours = ours.after(overflow)
    assert ours.value == scaler.get_scale() != 2.0**16


@pytest.fixture
def fp16_on_a_cpu(monkeypatch):
    """A CPU computes it, too, only slowly: what is refused to a learner is the test's way to the real arithmetic."""
    for room in ("loop", "run"):
        monkeypatch.setattr(f"stablelab.training.{room}.check_precision", lambda precision, device: None)


class Steep(torch.autograd.Function):
    """The identity, with a gradient that is ``factor`` times too large, as fp16 would hold it."""

    @staticmethod
    def forward(ctx, inputs, factor):
        ctx.factor = factor
        return inputs.clone()

    @staticmethod
    def backward(ctx, gradient):
        return (gradient * ctx.factor).half().float(), None


class SteepNet(nn.Linear):
    def forward(self, inputs):
        return Steep.apply(super().forward(inputs).float(), 2.0**9)


def test_fp16_leaves_out_steps_that_overflow_until_the_scale_fits(clouds, fp16_on_a_cpu):
    settings = Settings(optimizer="sgd", learning_rate=1e-3, precision="fp16")
    batches = Fixed(*clouds.batches(0, 20)(0))
    torch.manual_seed(0)
    model = SteepNet(4, 3)
    record = []
    before = model.weight.detach().clone()
    for step in steps(model, batches, cross_entropy, Control(settings), total_steps=12):
        record.append(step)
        left_out = not math.isfinite(step.norm_before)
        assert torch.equal(before, model.weight) == left_out and not step.diverged
        before = model.weight.detach().clone()
    scales = [step.scalars["loss_scale"] for step in record]
    skipped = [not math.isfinite(step.norm_before) for step in record]
    assert skipped[0] and not skipped[-1]
    assert scales == [2.0**16 / 2 ** sum(skipped[:k]) for k in range(12)]
    control = Control(settings.replace(precision="fp32"))
    plain = next(steps(SteepNet(4, 3), batches, cross_entropy, control, total_steps=1))
    assert plain.scalars == {}


@pytest.mark.slow
def test_fp16_comes_back_bit_for_bit_with_its_scale(make_run, clouds, make_network, tmp_path, fp16_on_a_cpu):
    run = changed(make_run("fp16"), 9, learning_rate=0.01)
    scales = [LossScale()]
    for step in run.history:
        assert step.scalars["loss_scale"] == scales[-1].value
        scales.append(scales[-1].after(not math.isfinite(step.norm_before)))
    assert all(each.loss_scale == scales[each.step] for each in run.checkpoints)
    branch = run.branch(15).start().wait(60)
    again = replay(run.log(), make_network(), clouds).start().wait(60)
    assert timeless(branch.history) == timeless(again.history) == timeless(run.history)
    with pytest.raises(ValueError, match="the scale of its loss in fp16 is the workbook's; switch to bf16 or fp32$"):
        export(run, tmp_path / "plain", build="model = None")
    run.save(tmp_path / "run")
    newest = reopen(tmp_path / "run", make_network(), clouds).checkpoints.newest
    assert newest.step and newest.loss_scale == scales[newest.step]


# -- what a device cannot do -------------------------------------------------------------------------------------------


def test_what_a_device_cannot_compute_is_refused_in_one_line(make_run, clouds, make_network):
    for precision in ("fp8", "half"):
        with pytest.raises(ValueError, match="precision .*: there are fp32, bf16, fp16"):
            Settings(precision=precision)
    with pytest.raises(ValueError, match="^precision is 'bf16', which trains on cuda and cpu only; on mps give fp32$"):
        check_precision("bf16", torch.device("mps"))
    run = make_run("fp32")
    assert precisions_of(CPU) == ("fp32", "bf16")
    with pytest.raises(
        ValueError, match=r"^precision is 'fp16', which needs a GPU \(cuda\): .*; give bf16 or fp32$"
    ) as why:
        run.control.change(precision="fp16")
    control = Control(Settings(precision="fp16"))
    with pytest.raises(ValueError, match="precision is 'fp16', which needs a GPU"):
        next(steps(make_network(), clouds.batches(0, 20), cross_entropy, control, total_steps=1))
    assert "\n" not in str(why.value) and run.control.settings.precision == "fp32"


def test_a_processor_that_only_imitates_bf16_is_said_to_be_slower(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False}, raising=False)
    assert slower_here("bf16", CPU).startswith("bf16 is slower than fp32 here: this processor has no bf16 arithmetic")
    assert slower_here("fp32", CPU) == slower_here("fp16", CPU) == ""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True, "amx_bf16": True}, raising=False)
    assert slower_here("bf16", CPU) == "" and bf16_units() == ("avx512_bf16", "amx_bf16")


def test_fp32_runs_under_no_autocast_at_all():
    with autocast("fp32", CPU):
        assert not torch.is_autocast_enabled("cpu")
    with autocast("bf16", CPU):
        assert torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
