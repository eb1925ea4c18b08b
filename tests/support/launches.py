"""`accelerate launch` of an exported train.py, and how far what it comes to is from the run that was exported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from safetensors.torch import load_file
from torch import Tensor

from stablelab.training import Run

TWO = ("--multi_gpu", "--num_processes", "2", "--main_process_port", "0")  # so it is called without GPUs too


@contextmanager
def launched(folder: Path, *options: str, gpus: bool = False) -> Iterator[subprocess.Popen[str]]:
    """`accelerate launch` of the script, as it is, without a config; ended with all it started."""
    command = [sys.executable, "-u", "-m", "accelerate.commands.accelerate_cli", "launch", *options, "train.py"]
    there = {**os.environ, "HF_HOME": str(folder / ".none"), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    if not gpus:
        there["CUDA_VISIBLE_DEVICES"] = ""
    files = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, env=there, **files) as process:
        started = psutil.Process(process.pid)
        try:
            yield process
        finally:
            for each in [*started.children(recursive=True), started] if started.is_running() else []:
                each.kill()


def words_of(folder: Path, *options: str, gpus: bool = False) -> str:
    """What a launch that goes well prints."""
    with launched(folder, *options, gpus=gpus) as process:
        out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    return out


def result_of(folder: Path) -> tuple[list[float], dict[str, Tensor]]:
    return json.loads((folder / "losses.json").read_text()), load_file(folder / "trained.safetensors")


def furthest(run: Run, folder: Path) -> tuple[float, float]:
    """How far the script's losses and weights are at most from those of the run, which was one process."""
    losses, weights = result_of(folder)
    assert len(losses) == len(run.history)
    apart = [abs(step.loss - loss) for step, loss in zip(run.history, losses, strict=True)]
    model = run.model.state_dict()
    return max(apart), max(float((weights[name] - model[name].cpu()).abs().max()) for name in model)
