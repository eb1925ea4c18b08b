"""Who is at work on which run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from stablelab.stability import Trial
from stablelab.stability.sweeps.ledger import Ledger, this_process
from stablelab.training import Settings

KEYS = ("a", "b")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(tmp_path / "runs.sqlite")
    made.add(KEYS, [Trial(Settings(), i, i) for i in range(2)], {"classes": []}, "test")
    return made


def _claimed_by(ledger: Ledger, owner: str, sign: float) -> None:
    ledger._base.execute("UPDATE runs SET state='claimed', owner=?, sign=? WHERE key='a'", (owner, sign))


def test_a_run_is_claimed_once(ledger: Ledger) -> None:
    other = Ledger(ledger.file)
    assert ledger.claim("a", 3) and not other.claim("a", 3) and other.claim("b", 3)
    assert ledger.states(KEYS) == {"claimed": 2}
    ledger.release(KEYS)
    assert ledger.claim("a", 3)


def test_claims_of_a_process_that_is_gone_are_free(ledger: Ledger) -> None:
    here = this_process().split()[0]
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    _claimed_by(ledger, f"{here} {gone.pid} 1.0", time.time())
    assert ledger.claim("a", 3)
    _claimed_by(ledger, f"{here} {os.getpid()} 1.0", time.time())  # this number, but given to another process before
    assert ledger.claim("a", 3)
    _claimed_by(ledger, this_process(), time.time())
    assert not ledger.claim("a", 3)


def test_claims_of_another_machine_hold_for_an_hour(ledger: Ledger) -> None:
    _claimed_by(ledger, "elsewhere 12 1.0", time.time() - 3500)
    assert not ledger.claim("a", 3)
    _claimed_by(ledger, "elsewhere 12 1.0", time.time() - 3700)
    assert ledger.claim("a", 3)


def test_a_run_that_takes_its_worker_down_is_not_tried_for_ever(ledger: Ledger) -> None:
    for _ in range(3):
        assert ledger.claim("a", 3)
        ledger.release(KEYS, died=True)
    assert not ledger.claim("a", 3)
    assert ledger.errors(KEYS) == ["whoever was at work on it died, 3 times"]
    ledger.reopen(KEYS)
    for _ in range(5):  # giving a run back is not a try
        assert ledger.claim("a", 3)
        ledger.release(KEYS)


def test_a_killed_process_that_nobody_asked_for_its_end_is_gone(ledger: Ledger) -> None:
    zombie = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    began = psutil.Process(zombie.pid).create_time()
    _claimed_by(ledger, f"{this_process().split()[0]} {zombie.pid} {began:.2f}", time.time())
    assert not ledger.claim("a", 3)
    zombie.kill()
    while psutil.Process(zombie.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert ledger.claim("a", 3)
    zombie.wait()


def test_a_process_that_was_killed_three_times_is_forgiven(ledger: Ledger) -> None:
    ledger._base.execute("UPDATE runs SET tries=3 WHERE key='a'")
    _claimed_by(ledger, f"{this_process().split()[0]} {os.getpid()} 1.0", time.time())
    ledger.reopen(KEYS)
    assert ledger.claim("a", 3)


def test_a_copy_holds_one_sweep(ledger: Ledger, tmp_path: Path) -> None:
    ledger.add(["c"], [Trial(Settings(), 7, 7)], {"classes": ["x"]}, "another")
    ledger.copy_to(tmp_path / "copy.sqlite", "test")
    copy = Ledger(tmp_path / "copy.sqlite", read_only=True)
    assert list(copy.descriptions()) == ["test"] and [key for key, _ in copy.runs("test")] == list(KEYS)
    assert sorted(p.name for p in tmp_path.glob("copy*")) == ["copy.sqlite"]
