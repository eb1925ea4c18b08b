"""Many processes on one sweep: none of this is simulated."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path

import joblib
import numpy as np
import psutil
import pytest
import torch
from torch import nn

import stablelab as lab
from stablelab.stability.sweeps.execution import PickledOnce, gpu_of_worker, worker_number
from stablelab.stability.sweeps.ledger import Ledger

MakeSweep = Callable[..., lab.Sweep]
GRID = {"learning_rate": [1e-3, 3e-3, 1e-2], "max_norm": [None, 0.1]}
LONG = {"steps": 150}  # a few tenths of a second for each run, so that there is a middle of the sweep

ALONE = """
import sys
sys.path.insert(0, sys.argv[2])
import stablelab as lab
from support.tiny import tiny_model
task = lab.digits(train=60, validation=40, test=40, size=8)
print("ready", flush=True)
sys.stdin.readline()
lab.sweep(tiny_model(), task, {grid}, steps=150, batch_size=10, seeds=range(2), file=sys.argv[1]).run(bar=False)
""".replace("{grid}", repr(GRID))


@pytest.fixture(scope="module")
def undisturbed(make_sweep: MakeSweep) -> lab.Results:
    """What the sweep comes to in one process that nothing happens to."""
    return make_sweep(GRID, **LONG).run(bar=False)


def _same(results: lab.Results, others: lab.Results) -> None:
    assert results.trials == others.trials
    for one, other in zip(results.outcomes, others.outcomes, strict=True):
        np.testing.assert_array_equal(one.losses, other.losses)
        np.testing.assert_array_equal(one.logits, other.logits)


def _begun(file: Path) -> subprocess.Popen[str]:
    """A process of its own that works on the sweep in this file, from now on."""
    command = [sys.executable, "-c", ALONE, str(file), str(Path(__file__).parents[2])]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("go\n")
    process.stdin.flush()
    return process


def _kill_after(sweep: lab.Sweep, runs: int, victim: Callable[[], int]) -> list[int]:
    """Kill a process when so many runs are done; the list holds it then."""
    killed: list[int] = []

    def watch(each: lab.Sweep) -> None:
        if each.done >= runs and not killed:
            killed.append(victim())
            os.kill(killed[0], signal.SIGKILL)

    sweep.watchers.append(watch)
    return killed


def _a_worker() -> int:
    """One of the processes that joblib has started."""
    return next(p.pid for p in psutil.Process().children() if any("popen_loky" in word for word in p.cmdline()))


@pytest.mark.slow
def test_killed_and_shared_by_two_processes(make_sweep: MakeSweep, undisturbed: lab.Results, tmp_path: Path) -> None:
    file = tmp_path / "sweep.sqlite"
    sweep = make_sweep(GRID, file=file, **LONG)
    victim = _begun(file)
    while sweep.done < 2:
        assert victim.poll() is None
        time.sleep(0.02)
    victim.kill()
    victim.wait()
    done = sweep.done
    assert 2 <= done < sweep.total
    finished = [outcome.seconds for outcome in sweep.results().outcomes]
    other = _begun(file)
    here = sweep.run(bar=False)
    assert other.wait(timeout=60) == 0
    results = sweep.results()
    assert sweep.done == sweep.total and len(here) <= sweep.total
    assert [o.seconds for o in results.outcomes][:done] == finished  # what was done is not done again
    tries = [row[0] for row in Ledger(file)._base.execute("SELECT tries FROM runs")]
    assert sorted(tries) == [1] * (sweep.total - 1) + [2] or tries == [1] * sweep.total  # 2: what the victim was at
    _same(results, undisturbed)


@pytest.mark.slow
def test_a_worker_that_dies(make_sweep: MakeSweep, undisturbed: lab.Results, capfd: pytest.CaptureFixture[str]) -> None:
    sweep = make_sweep(GRID, **LONG)
    killed = _kill_after(sweep, 2, _a_worker)
    results = sweep.run(n_jobs=2, bar=False)
    assert killed and len(results) == sweep.total
    assert "a worker died" in capfd.readouterr().err
    _same(results, undisturbed)


@pytest.fixture
def environment_restored() -> Iterator[None]:
    """dask writes how many threads its workers have into the environment of this process, and leaves it there."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.slow
@pytest.mark.usefixtures("environment_restored")
def test_on_a_cluster_one_of_whose_workers_is_killed(make_sweep: MakeSweep, undisturbed: lab.Results) -> None:
    from dask.distributed import Client, LocalCluster

    sweep = make_sweep(GRID, **LONG)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        processes = client.run(os.getpid)
        assert len(set(processes.values())) == 2
        killed = _kill_after(sweep, 2, lambda: next(iter(processes.values())))
        ended: list[int] = []
        sweep.watchers.append(lambda each: ended.append(each.done))
        with joblib.parallel_config("dask"):
            results = sweep.run(bar=False)
    assert killed and len(results) == sweep.total
    assert ended == list(range(1, sweep.total + 1))  # every run once
    _same(results, undisturbed)


@pytest.mark.slow
def test_of_those_under_way_only_the_one_that_kills_its_worker_fails(tiny_task: lab.data.Task) -> None:
    main = os.getpid()

    def deadly(task: lab.data.Task, seed: int) -> nn.Module:
        if seed == 1 and os.getpid() != main:
            os._exit(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(192, 10))

    sweep = lab.sweep(deadly, tiny_task, seeds=range(4), steps=2, batch_size=10)
    assert [trial.init for trial in sweep.run(n_jobs=2, bar=False).trials] == [0, 2, 3]
    assert sweep.errors == ["whoever was at work on it died, 3 times"]


# -- one GPU for each worker -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [None, "cuda", torch.device("cuda")])
def test_workers_take_the_gpus_in_turn(asked: str | torch.device | None) -> None:
    assert [gpu_of_worker(asked, worker, 4) for worker in range(4)] == [0, 1, 2, 3]
    assert [gpu_of_worker(asked, worker, 2) for worker in range(5)] == [0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("asked", "gpus"), [("cpu", 4), ("cuda:1", 4), (torch.device("cuda", 0), 4), ("cuda", 1), (None, 0)]
)
def test_where_there_is_nothing_to_choose_a_worker_takes_what_was_asked_for(
    asked: str | torch.device | None, gpus: int
) -> None:
    assert gpu_of_worker(asked, 3, gpus) is None


def _say_number(connection: Connection, folder: Path) -> None:
    tempfile.tempdir = str(folder)
    worker_number.cache_clear()
    connection.send(worker_number())
    connection.recv()  # until the test is over


@pytest.mark.slow
def test_each_worker_has_a_number_of_its_own_and_leaves_it_when_it_is_killed(tmp_path: Path) -> None:
    forks = multiprocessing.get_context("fork")  # processes that need not import torch again
    workers: list[ForkProcess] = []

    def number_of_a_new_one() -> int:
        here, there = forks.Pipe()
        workers.append(forks.Process(target=_say_number, args=(there, tmp_path), daemon=True))
        workers[-1].start()
        connections.append(here)
        return int(here.recv())

    connections: list[Connection] = []
    try:
        assert [number_of_a_new_one() for _ in range(3)] == [0, 1, 2]
        workers[1].kill()
        workers[1].join()
        assert [number_of_a_new_one() for _ in range(2)] == [1, 3]
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


def test_what_has_come_from_another_process_knows_that_it_is_in_a_worker(make_sweep: MakeSweep) -> None:
    shared = PickledOnce(make_sweep().trainable)
    assert not shared.travelled
    there = pickle.loads(pickle.dumps(shared))
    assert there.travelled and pickle.loads(pickle.dumps(there)).travelled
    assert there.trainable.device is None
