"""A thread that waits has no workers of OpenMP; counted in a process of its own, since a team is made but once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

START = """
import os, torch
from stablelab.training.background import BackgroundThread
from stablelab.training.control import Control
def threads():
    return len(os.listdir("/proc/self/task"))
def work():
    return torch.linspace(0, 9, 10**6).sin().sum().item()  # large enough for both threads of a team
alone = threads()
"""


def said(script: str) -> list[str]:
    """What a fresh process with teams of two prints."""
    done = subprocess.run(
        [sys.executable, "-c", START + script],
        env=os.environ | {"OMP_NUM_THREADS": "2"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.slow
def test_who_starts_a_thread_lets_his_workers_go_and_comes_to_the_same_numbers_after() -> None:
    more, inside, same = said(
        "first = work(); more = threads() - alone\n"
        "thread = BackgroundThread(threads, 'stablelab test').start().wait()\n"
        "print(more, thread.result - alone, work() == first)"
    )
    assert more == "1"  # the worker
    assert inside == "1"  # the thread that counts, and no worker
    assert same == "True"


@pytest.mark.slow
def test_a_loop_that_is_paused_lets_its_workers_go() -> None:
    working, paused = said(
        "control = Control(); control.pause()\n"
        "def loop():\n"
        "    work(); working = threads(); control.turn(); return working\n"
        "thread = BackgroundThread(loop, 'stablelab test').start(); control.rest(30); paused = threads()\n"
        "control.stop(); print(thread.wait().result - alone, paused - alone)"
    )
    assert (working, paused) == ("2", "1")  # the loop with its worker, and without


@pytest.mark.slow
def test_who_lets_a_loop_go_on_lets_his_workers_go() -> None:
    more, after = said(
        "control = Control(); work(); more = threads() - alone; control.step(1); print(more, threads() - alone)"
    )
    assert (more, after) == ("1", "0")
