"""A step of BERT in bf16 against the same step in fp32, each with the time that its arithmetic alone would take."""

from __future__ import annotations

import math

import material
import torch
from arithmetic import alone, step_flops
from timing import Row, alternate, seconds

from stablelab.formulas import cross_entropy
from stablelab.training import Control, Settings, steps
from stablelab.training.precision import DTYPES, slower_here

SENTENCES, TOKENS = 16, 32
STEPS = 3  # a turn
AT_MOST = 0.6  # where the processor has bf16 arithmetic; elsewhere nothing is promised


class FullBatches:
    """Sixteen sentences of 32 tokens each, no padding, the same at every step."""

    per_epoch = 20

    def __init__(self) -> None:
        ids = torch.randint(1000, 20_000, (SENTENCES, TOKENS), generator=torch.Generator().manual_seed(0))
        self.batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, torch.arange(SENTENCES) % 2

    def __call__(self, k: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        return self.batch


def rows() -> list[Row]:
    """The row of this benchmark; it times the processor, whatever else there is."""
    batches = FullBatches()
    loops = {}
    for precision in ("bf16", "fp32"):
        control = Control(Settings(learning_rate=material.LEARNING_RATE, max_norm=1.0, precision=precision))
        loops[precision] = steps(material.bert(), batches, cross_entropy, control, total_steps=None)
    turns = [lambda name=name: seconds(lambda: [next(loops[name]) for _ in range(STEPS)]) for name in loops]
    ours, theirs = ([each / STEPS for each in times] for times in alternate(*turns))
    flops = step_flops(material.bert(), *batches(0))
    limits = {name: alone(flops, DTYPES.get(name, torch.float32)) for name in loops}
    slower = slower_here("bf16", torch.device("cpu"))
    return [
        Row(
            f"step of BERT, {SENTENCES} × {TOKENS}, in bf16",
            ours,
            f"in fp32 (products alone {limits['fp32']:.3f} s)",
            theirs,
            math.inf if slower else AT_MOST,
            limits["bf16"],
        )
    ]
