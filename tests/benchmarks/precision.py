"""A step of BERT in bf16 against the same step in fp32, each with the time that its arithmetic alone would take."""

from __future__ import annotations

import math
import time

import material
import torch
from timing import Row, alternate, seconds
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from stablelab.formulas import cross_entropy
from stablelab.training import Control, Settings, steps
from stablelab.training.precision import DTYPES, slower_here

SENTENCES, TOKENS = 16, 32
STEPS = 3  # a turn
AT_MOST = 0.6  # where the processor has bf16 arithmetic; elsewhere nothing is promised
SIZE = 1024  # of the square matrices whose product is taken for the peak


class FullBatches:
    """Sixteen sentences of 32 tokens each, no padding, the same at every step."""

    per_epoch = 20

    def __init__(self) -> None:
        ids = torch.randint(1000, 20_000, (SENTENCES, TOKENS), generator=torch.Generator().manual_seed(0))
        self.batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, torch.arange(SENTENCES) % 2

    def __call__(self, k: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        return self.batch


def step_flops(model: nn.Module, batches: FullBatches) -> int:
    """Floating-point operations of the products of one forward and backward pass, two for each multiply-add."""
    inputs, targets = batches(0)
    with FlopCounterMode(display=False) as counter:
        cross_entropy(model(**inputs).logits, targets).backward()
    model.zero_grad()
    return counter.get_total_flops()


def peak(dtype: torch.dtype, repeats: int = 9) -> float:
    """Floating-point operations per second of a product of two large matrices, the fastest of several."""
    a, b = (torch.randn(SIZE, SIZE).to(dtype) for _ in range(2))
    spent = []
    for _ in range(repeats):
        began = time.perf_counter()
        a @ b
        spent.append(time.perf_counter() - began)
    return 2 * SIZE**3 / min(spent)


def rows() -> list[Row]:
    """The row of this benchmark; it times the processor, whatever else there is."""
    batches = FullBatches()
    loops = {}
    for precision in ("bf16", "fp32"):
        control = Control(Settings(learning_rate=material.LEARNING_RATE, max_norm=1.0, precision=precision))
        loops[precision] = steps(material.bert(), batches, cross_entropy, control, total_steps=None)
    turns = [lambda name=name: seconds(lambda: [next(loops[name]) for _ in range(STEPS)]) for name in loops]
    ours, theirs = ([each / STEPS for each in times] for times in alternate(*turns))
    flops = step_flops(material.bert(), batches)
    alone = {name: flops / peak(DTYPES.get(name, torch.float32)) for name in loops}
    slower = slower_here("bf16", torch.device("cpu"))
    return [
        Row(
            f"step of BERT, {SENTENCES} × {TOKENS}, in bf16 (products alone {alone['bf16']:.3f} s)",
            ours,
            f"in fp32 (products alone {alone['fp32']:.3f} s)",
            theirs,
            math.inf if slower else AT_MOST,
        )
    ]
