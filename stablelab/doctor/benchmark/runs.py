"""Which runs make up the benchmark, and how they are done: a file for each, so that a stopped benchmark goes on."""

from __future__ import annotations

import logging
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..._files import reason_of
from ..._logging import log_level
from ..._validation import choice
from ..probes import measure_all
from .faults import FAULTS
from .healthy import HEALTHY
from .recipe import Recipe, train
from .record import RunRecord, load_records, save_records
from .tasks import PARTS, TASKS

SEEDS = 8
CLEAN = "clean"
KEPT = Path(__file__).parent / "kept"


@dataclass(frozen=True)
class Job:
    """One run of the benchmark.

    Args:
        task: the name of a task.
        kind: ``clean``, or the name of a fault or of a healthy variant.
        seed: from 0.
    """

    task: str
    kind: str
    seed: int

    def file(self, folder: Path) -> Path:
        """Where its record lies."""
        return folder / f"{self.task}-{self.kind}-{self.seed}.npz"

    def recipe(self) -> tuple[Recipe, float]:
        """What is done, and the severity of its fault."""
        clean = TASKS[self.task]()
        if self.kind == CLEAN:
            return clean, 0.0
        for fault in FAULTS:
            if fault.name == self.kind:
                return fault(clean), 1.0
        return {each.name: each for each in HEALTHY}[self.kind](clean), 0.0

    def do(self) -> RunRecord:
        """Train, let the probes measure, and leave the model behind."""
        recipe, severity = self.recipe()
        record = train(recipe, self.seed, kind=self.kind, severity=severity)
        began = time.perf_counter()
        record.probes = measure_all(record.setup())
        record.outcome["probe_seconds"] = time.perf_counter() - began
        record.live = None
        return record


def plan(part: str, only: Iterable[str] = (), tenth: bool = False, seeds: int = SEEDS) -> list[Job]:
    """The runs of one part, seed by seed, the clean ones first.

    Args:
        part: ``development`` or ``test``.
        only: names of kinds; all where there are none.
        tenth: a tenth of the runs, evenly spread over tasks, kinds and seeds.
        seeds: how many of each kind.

    Raises:
        ValueError: no such part, or no such kind.
    """
    choice("part", part, list(PARTS))
    known = [CLEAN, *(fault.name for fault in FAULTS), *(each.name for each in HEALTHY)]
    wanted = [choice("only", kind, known) for kind in only] or known
    applies: dict[str, Callable[[Recipe], bool]] = {fault.name: fault.applies_to for fault in FAULTS}
    applies |= {each.name: each.applies_to for each in HEALTHY}
    jobs = [
        Job(task, kind, seed)
        for seed in range(seeds)
        for kind in wanted
        for task in PARTS[part]
        if kind == CLEAN or applies[kind](TASKS[task]())
    ]
    return jobs[::10] if tenth else jobs


def missing(jobs: Sequence[Job], folder: Path) -> list[Job]:
    """Those that have no record yet."""
    return [job for job in jobs if not job.file(folder).exists()]


def run(jobs: Iterable[Job], folder: Path, seconds: float = float("inf")) -> Iterator[RunRecord]:
    """Do the runs that have no record yet, one after the other, in this process, and write each as it is done.

    Args:
        jobs: to be done.
        folder: where the records lie; it is made.
        seconds: none is begun after so long.
    """
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    for job in jobs:
        if time.perf_counter() - began > seconds:
            return
        if job.file(folder).exists():
            continue
        with log_level(logging.WARNING):
            record = job.do()
        record.save(job.file(folder))
        yield record


def run_in_processes(arguments: Sequence[str], workers: int) -> None:
    """Start the same command in so many processes, each of which does its share, and wait for them.

    Args:
        arguments: of ``python -m stablelab.doctor.benchmark``.
        workers: how many; each has one thread.

    Raises:
        OSError: one of them failed.
    """
    command = [sys.executable, "-m", "stablelab.doctor.benchmark", *arguments]
    started = [subprocess.Popen([*command, "--share", f"{i}/{workers}"]) for i in range(workers)]
    try:
        codes = [process.wait() for process in started]
    finally:
        for process in started:
            process.terminate()
    if any(codes):
        raise OSError(f"a worker of the benchmark ended with {max(codes)}; what is done is kept: run it again to go on")


def gather(jobs: Sequence[Job], folder: Path) -> list[RunRecord]:
    """The records of these runs that are there.

    Raises:
        ValueError: one of them cannot be read.
    """
    records = []
    for job in jobs:
        file = job.file(folder)
        if file.exists():
            try:
                records += load_records(file)
            except (OSError, ValueError, KeyError) as error:
                raise ValueError(f"{file} cannot be read ({reason_of(error)}); delete it and run again") from error
    return records


def keep(records: Sequence[RunRecord], file: Path, command: str) -> None:
    """Write the records of one part into one file, with what made them."""
    seconds = sum(each.outcome["seconds"] + each.outcome.get("probe_seconds", 0.0) for each in records)
    seeds = sorted({each.seed for each in records})
    by = (
        f"{command}; {len(records)} runs, seeds {seeds[0]} to {seeds[-1]}, {seconds:.0f} s on one thread each; "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    save_records(file, records, by)
