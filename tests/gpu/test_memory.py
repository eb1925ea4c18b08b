"""Memory of the GPU: what is over and closed leaves nothing there."""

from __future__ import annotations

import pytest
import torch
from support.encoders import HEADS, encoder
from support.gpu import DEVICE, ON_GPU
from torch import nn

import stablelab as lab
from stablelab.formulas import encoder_activation_bytes
from stablelab.training.memory import saved_bytes
from stablelab.training.precision import autocast
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


EXAMPLES, LENGTH, WIDTH, LAYERS = (32, 128, 768, 4) if ON_GPU else (2, 32, 96, 2)


def forward_bytes(model: nn.Module, inputs: dict[str, torch.Tensor], precision: str) -> tuple[int, int, int]:
    """Bytes that a forward pass keeps, and at their most: as asked for, and as the allocator rounds them up."""
    if not ON_GPU:
        with autocast(precision, DEVICE), saved_bytes(model) as saved:
            model(**inputs)
        return (saved.activations + saved.half_copies,) * 3
    model(**inputs).logits.sum().backward()  # what libraries keep for ever, and gradients, are there
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats(DEVICE)
    requested, allocated = torch.cuda.memory_stats(DEVICE)["requested_bytes.all.current"], torch.cuda.memory_allocated()
    with autocast(precision, DEVICE):
        logits = model(**inputs).logits
    torch.cuda.synchronize()
    assert logits.requires_grad
    kept = torch.cuda.memory_stats(DEVICE)["requested_bytes.all.current"] - requested
    peak = torch.cuda.memory_stats(DEVICE)["requested_bytes.all.peak"] - requested
    return kept, peak, torch.cuda.max_memory_allocated(DEVICE) - allocated


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("dropout", [0.1, 0.0])
def test_an_encoder_takes_what_the_formula_says(precision, dropout):
    model = encoder(LAYERS, dropout, WIDTH).to(DEVICE)
    mask = torch.ones(EXAMPLES, LENGTH, dtype=torch.long, device=DEVICE)
    mask[0, LENGTH // 2 :] = 0
    inputs = {"input_ids": torch.randint(100, (EXAMPLES, LENGTH), device=DEVICE), "attention_mask": mask}
    kept, peak, allocated = forward_bytes(model, inputs, precision)
    copies = 0
    if precision != "fp32":
        copies = 2 * sum(each.weight.numel() for each in model.modules() if isinstance(each, nn.Linear))
    expected = copies + encoder_activation_bytes(
        EXAMPLES, LENGTH, WIDTH, HEADS, LAYERS, precision=precision, dropout=dropout > 0, device=DEVICE.type
    )
    print(f"{precision}, dropout {dropout}: {expected:,} bytes expected, kept {kept / expected:.3f} of it, at its most "
          f"{peak / expected:.3f}, allocated {allocated / expected:.3f}")  # fmt: skip
    assert kept == pytest.approx(expected, rel=0.03)
    assert 0.97 * expected < peak < 1.2 * expected  # beside what is kept, what one operation works on
    assert 0.97 * expected < allocated < 1.3 * expected
