"""A sweep of a ResNet on digits: on two processes against one, and what its bookkeeping takes.

Each run has one torch thread. The workers are warm: starting two processes takes as long as importing torch does, once.
"""

from __future__ import annotations

import contextlib
import io
import time

import torch
from arithmetic import alone, flops_of, step_flops
from timing import Row, alternate

import stablelab as lab

RUNS, STEPS, BATCH_SIZE, ROUNDS = 8, 10, 32, 3


def rows() -> list[Row]:
    """Two processes against one, and the part of a sweep's time that is not spent in runs."""
    task = lab.digits(train=500, validation=200, test=200)
    inside: list[float] = []

    def on_one() -> float:
        wall, runs = swept(task, 1)
        inside.append(runs)
        return wall

    two, one = alternate(lambda: swept(task, 2)[0], on_one, ROUNDS)
    around = [wall - runs for wall, runs in zip(one, inside[-len(one) :], strict=True)]
    return [
        Row(f"a sweep of {RUNS} runs on two processes", two, "on one", one, 1 / 1.7, alone(RUNS * run_flops(task))),
        Row("its bookkeeping", around, "all of it", one, 0.02),
    ]


def run_flops(task: lab.data.Task) -> int:
    """Of the products of one run: its steps, and the validation split before them and after."""
    with contextlib.redirect_stdout(io.StringIO()):
        model = lab.resnet(task)
    judged = flops_of(lambda: lab.predict(model, task.validation))
    return STEPS * step_flops(model, *task.collate(torch.arange(BATCH_SIZE))) + 2 * judged


def swept(task: lab.data.Task, n_jobs: int) -> tuple[float, float]:
    """Seconds of a sweep from the first run to the last, and the seconds of its runs added up."""
    sweep = lab.sweep(lab.resnet, task, seeds=range(RUNS), steps=STEPS, batch_size=BATCH_SIZE, learning_rate=1e-3)
    began = time.perf_counter()
    results = sweep.run(n_jobs, bar=False)
    wall = time.perf_counter() - began
    assert len(results) == RUNS
    return wall, sum(outcome.seconds for outcome in results.outcomes)
