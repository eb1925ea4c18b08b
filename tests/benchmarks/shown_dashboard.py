"""A run with its dashboard shown in a real Jupyter kernel against the same loop written bare in PyTorch."""

from __future__ import annotations

from pathlib import Path

import material
from arithmetic import alone
from timing import Row, in_kernel

HERE = Path(__file__).parent

PAIRS, STEPS = (
    8,
    20,
)  # an epoch a turn: in half of one, the sentences of the rivals' batches differ in length by up to 50 %

# Runs inside the kernel: one process, taking turns. The client on the other end receives every message of the chart.
CELL = f"""
import sys, json, time
sys.path.insert(0, {str(HERE)!r})
import material, stablelab as lab
from timing import alternate, seconds
run = material.our_run(material.bert(), epochs={PAIRS} + 1)
board = lab.dashboard(run)
bare_steps = material.bare_steps(material.bert(), material.epoch_batches())
def ours():
    spent = seconds(lambda: material.turn(run, {STEPS}))
    time.sleep(0.5)  # the chart's last refresh is ours to pay, not the next one's
    return spent
def bare():
    return seconds(lambda: [next(bare_steps) for _ in range({STEPS})])
times = alternate(ours, bare, {PAIRS})
run.stop()
print("TIMES", json.dumps(times))
"""


def rows() -> list[Row]:
    """The row of this benchmark."""
    ours, bare = in_kernel(CELL)["TIMES"]
    limit = alone(material.steps_flops(STEPS))
    return [Row(f"{STEPS} steps of BERT with the dashboard shown", ours, "bare PyTorch loop", bare, 1.03, limit)]
