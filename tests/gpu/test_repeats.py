"""Going back on a GPU: bit for bit where torch keeps the order of sums, else within what is called equal there."""

from __future__ import annotations

import copy

import pytest
import torch
from support.gpu import APART, DEVICE
from support.helpers import same_weights, timeless

import stablelab as lab

pytestmark = pytest.mark.gpu

CHANGES = {"learning_rate": 2e-4, "max_norm": 0.5, "optimizer": "lamb"}


def touched(run, **changes):
    """Train to the end, with these settings from the sixth step on."""
    run.step(5)
    run.wait_paused()
    run.control.change(**(changes or CHANGES))
    run.resume()
    return run.wait(120)


def apart(one, other) -> float:
    return max(abs(a.loss - b.loss) for a, b in zip(one.history, other.history, strict=True))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_runs_are_the_same_bit_for_bit(make_run, deterministic, precision):
    one, other = (make_run(precision=precision).start().wait(120) for _ in range(2))
    assert timeless(one.history) == timeless(other.history) and same_weights(one.model, other.model)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_branches_are_their_parent_bit_for_bit(make_run, deterministic, precision):
    run = touched(make_run(precision=precision))
    branch = run.branch(9)
    assert {p.device.type for p in branch.model.parameters()} == {DEVICE.type}
    branch.start().wait(120)
    assert timeless(branch.history) == timeless(run.history) and same_weights(branch.model, run.model)
    plain = make_run(precision=precision).start().wait(120)
    for same in (run.branch(0), run.branch(3), run.untouched()):
        same.start().wait(120)
        assert timeless(same.history) == timeless(plain.history) and same_weights(same.model, plain.model)


def test_a_replay_is_the_run_bit_for_bit(make_run, deterministic):
    fresh = make_run()
    model = copy.deepcopy(fresh.model)
    run = touched(fresh)
    again = lab.replay(run.log(), model, run.task, device=DEVICE).start().wait(120)
    assert timeless(again.history) == timeless(run.history) and same_weights(again.model, run.model)


def test_a_reset_run_is_the_run_bit_for_bit(make_run, deterministic):
    run = make_run().start().wait(120)
    first, weights = timeless(run.history), copy.deepcopy(run.model.state_dict())
    run.reset()
    run.start().wait(120)
    assert timeless(run.history) == first
    assert all(torch.equal(tensor, weights[name]) for name, tensor in run.model.state_dict().items())


def test_a_run_reopened_from_the_disk_is_the_run_bit_for_bit(make_run, deterministic, tmp_path):
    half = make_run(folder=tmp_path / "run")
    model = copy.deepcopy(half.model)
    half.step(7)
    half.wait_paused()
    half.stop()
    whole = lab.reopen(tmp_path / "run", model, half.task, device=DEVICE)
    assert {p.device.type for p in whole.model.parameters()} == {DEVICE.type}
    whole.start().wait(120)
    plain = make_run().start().wait(120)
    assert timeless(whole.history) == timeless(plain.history) and same_weights(whole.model, plain.model)


def test_a_run_saved_on_the_gpu_opens_on_the_processor(make_run, tmp_path):
    run = make_run().start().wait(120)
    folder, fresh = run.save(tmp_path / "run"), make_run(device="cpu")
    loaded = lab.load(folder, fresh.model, fresh.task, device="cpu")
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(tensor.cpu(), loaded.model.state_dict()[name])


def test_without_a_fixed_order_of_sums_going_back_stays_close(make_run):
    fresh = make_run()
    model = copy.deepcopy(fresh.model)
    run = touched(fresh)
    again = lab.replay(run.log(), model, run.task, device=DEVICE).start().wait(120)
    branch = run.branch(7).start().wait(120)
    print(f"largest difference of a loss: replay {apart(run, again):g}, branch {apart(run, branch):g}")
    assert apart(run, again) < APART and apart(run, branch) < APART
    assert timeless(branch.history)[:7] == timeless(run.history)[:7]
