"""What it costs to be able to go back, and how fast one is back: BERT with its checkpoints on and off, and a branch."""

from __future__ import annotations

import time

import material
from arithmetic import alone
from timing import Row, alternate, seconds

PAIRS, BRANCHES = 5, 5
NEVER = 10**9  # steps between two checkpoints where there are to be none


def rows() -> list[Row]:
    """The rows of this benchmark."""
    on, off = (material.our_run(material.bert(), epochs=1_000) for _ in range(2))
    for run in (on, off):
        material.turn(run, 1)
    off._loop.safe_interval = off._loop.spacing = NEVER
    every = on._loop.safe_interval  # a turn this long holds one of each kind of checkpoint, wherever it begins
    times = alternate(
        lambda: seconds(lambda: material.turn(on, every)), lambda: seconds(lambda: material.turn(off, every)), PAIRS
    )
    off.stop()
    limit = alone(material.steps_flops(every))
    table = [Row(f"{every} steps of BERT with its checkpoints", times[0], "without", times[1], 1.03, limit)]
    starts, pairs_of_steps = zip(*(branched(on) for _ in range(BRANCHES)), strict=True)
    on.stop()
    return [*table, Row("a branch, until its first step begins", list(starts), "two steps", list(pairs_of_steps), 1.0)]


def branched(run) -> tuple[float, float]:
    """Seconds from asking for a branch to the beginning of its first own step, and two such steps' seconds."""
    step = run.checkpoints.newest.step
    began = time.perf_counter()
    branch = run.branch(step, learning_rate=1e-5)
    branch.step(3)
    while len(branch.history) == step:
        time.sleep(0.001)
    spent = time.perf_counter() - began
    while len(branch.history) < step + 3:
        time.sleep(0.001)
    branch.stop()
    run.branches.remove(branch)
    own = [each.seconds for each in branch.history.since(step)]
    return spent - own[0], sum(own[1:])
