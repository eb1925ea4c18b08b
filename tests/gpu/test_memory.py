"""Memory of the GPU: what is over and closed leaves nothing there."""

from __future__ import annotations

import pytest

import stablelab as lab
from stablelab.widgets import dashboard

pytestmark = pytest.mark.gpu


def shown_and_closed(make_run) -> None:
    run = make_run()
    board = dashboard(run)
    run.step(5)
    run.wait_paused()
    run.control.change(learning_rate=1e-5)
    run.resume()
    board.wait()
    board.branch(3)
    board.wait()
    lab.examine(run)
    board.close()


def test_a_run_with_branch_and_dashboard_leaves_nothing_when_it_is_closed(make_run, memory):
    shown_and_closed(make_run)  # what libraries keep for ever is there after the first
    before = memory()
    shown_and_closed(make_run)
    left = memory() - before
    print(f"left on the GPU: {left:,} bytes of {before:,}")
    assert left < 100_000


def test_checkpoints_take_little_memory_of_the_gpu_where_little_is_given(make_run, memory):
    make_run(steps=2).start().wait(120)
    run = make_run(steps=24, checkpoint_memory=0).start().wait(120)
    weights = sum(t.nbytes for t in run.model.state_dict().values())
    held = sum(each.nbytes for each in run.checkpoints)
    assert held < 12 * weights
    before = memory()
    del run
    assert memory() < before


def test_a_sweep_leaves_nothing(digits, memory):
    plan = {"steps": 2, "batch_size": 10, "seeds": range(2)}
    lab.sweep(lab.resnet, digits, **plan).run(bar=False)
    before = memory()
    lab.sweep(lab.resnet, digits, **plan).run(bar=False)
    assert memory() - before < 100_000
