"""What it costs to examine a run while it trains, as the dashboard does five times a second, against its steps."""

from __future__ import annotations

import time

import material
import torch
from timing import Row

import stablelab as lab
from stablelab.doctor.live import SHARE, LiveDoctor

SECONDS = 12.0  # of each run
TICK = 0.2  # seconds between two refreshes of a dashboard


def rows() -> list[Row]:
    """The rows of this benchmark."""
    task = lab.digits(train=512, validation=64, test=64)
    head = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
    small = lab.fine_tune(head, task, learning_rate=1e-3, epochs=10_000, evaluate_every=200)
    return [
        _row("the doctor while a linear model trains", small),
        _row("the doctor while BERT trains", material.our_run(material.bert(), epochs=1000)),
    ]


def _row(what: str, run: lab.Run) -> Row:
    """All that was spent, and the time of all steps meanwhile."""
    doctor = LiveDoctor()
    run.start()
    while not len(run.history):
        time.sleep(0.01)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end or doctor.report is None:
        doctor.look(run, run.state)
        time.sleep(TICK)
    steps, state = len(run.history), run.state
    run.stop()
    trained = sum(step.seconds for step in run.history.since(0)[:steps])
    assert state == "running"
    return Row(f"{what}, {steps} steps", [doctor.budget.spent], "its steps", [trained], SHARE)
