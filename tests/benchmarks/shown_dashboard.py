"""A run with its dashboard shown in a real Jupyter kernel against the same loop written bare in PyTorch."""

from __future__ import annotations

import json
from pathlib import Path

from timing import REPEATS, Row

HERE = Path(__file__).parent

# Runs inside the kernel: one process, alternating. The client on the other end receives every message of the chart.
CELL = f"""
import sys, json
sys.path.insert(0, {str(HERE)!r})
import material, stablelab as lab
from timing import alternate, seconds
batches = material.epoch_batches() * 2
def ours():
    run = material.our_run(material.bert(), epochs=2)
    board = lab.dashboard(run)
    spent = seconds(lambda: run.start()._settled.wait())
    run.wait()
    return spent
def bare():
    model = material.bert()
    return seconds(lambda: material.bare_epoch(model, batches))
times = alternate(ours, bare, {REPEATS})
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
    return [Row("epoch with the dashboard shown", ours, "bare PyTorch loop", bare, 1.03)]
