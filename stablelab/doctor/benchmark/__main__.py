"""``python -m stablelab.doctor.benchmark``: train all runs, keep what they left behind, and print the tables."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ...data.cache import cache_folder
from ...studies.keeping import provenance_of
from .record import load_records
from .runs import KEPT, SEEDS, gather, keep, missing, plan, run, run_in_processes
from .scoring import score
from .tasks import PARTS


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m stablelab.doctor.benchmark", description=__doc__)
    parser.add_argument("--part", choices=[*PARTS, "both"], default="both", help="which tasks (default: both)")
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each (default: 2)")
    parser.add_argument("--only", action="append", default=[], metavar="KIND", help="only this fault or variant")
    parser.add_argument("--tenth", action="store_true", help="only a tenth of the runs")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"runs of each kind (default: {SEEDS})")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no run after so many seconds")
    parser.add_argument("--folder", type=Path, default=None, help="where the records of single runs lie")
    parser.add_argument("--kept", action="store_true", help="train nothing: the tables of what is kept in the package")
    parser.add_argument("--keep", action="store_true", help="train nothing: write what is there into the package")
    parser.add_argument("--no-tables", action="store_true", help="train, and print no tables")
    parser.add_argument("--share", default="", help=argparse.SUPPRESS)  # "0/2": what one of two processes does
    options = parser.parse_args(given)
    folder = options.folder or cache_folder() / "doctor-benchmark"
    parts = list(PARTS) if options.part == "both" else [options.part]
    for part in parts:
        if options.kept:
            file = KEPT / f"{part}.npz"
            print(f"{part}: {provenance_of(file)}\n\n{score(load_records(file))}\n", flush=True)
            continue
        jobs = plan(part, options.only, options.tenth, options.seeds)
        if options.share:
            number, workers = map(int, options.share.split("/"))
            for record in run(jobs[number::workers], folder, options.seconds):
                spent = record.outcome["seconds"] + record.outcome["probe_seconds"]
                accuracy = record.outcome["true_accuracy"]
                print(f"{record.task} {record.kind} {record.seed}: {accuracy:.3f}, {spent:.1f} s", flush=True)
            continue
        todo = missing(jobs, folder)
        if todo and not options.keep:
            print(f"{part}: {len(jobs) - len(todo)} of {len(jobs)} runs are done", flush=True)
            run_in_processes([*given, "--part", part], max(1, options.workers))  # of two --part the last holds
        left = len(missing(jobs, folder))
        if options.keep:
            file = KEPT / f"{part}.npz"
            keep(gather(jobs, folder), file, f"python -m stablelab.doctor.benchmark --part {part}")
            print(f"{part}: {file.name}, {file.stat().st_size / 2**20:.1f} MiB, {left} runs are not in it", flush=True)
        elif not options.no_tables:
            print(f"{part}, {left} runs are missing\n\n{score(gather(jobs, folder))}\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
