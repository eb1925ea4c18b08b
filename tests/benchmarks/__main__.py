"""``make bench``: every promise about speed, as a table of ratios. One process, alternating, medians."""

from __future__ import annotations

import os
import sys

import adam
import against_trainer
import cached_head
import going_back
import gpu
import importing
import live_doctor
import many_heads
import moving_pictures
import precision
import sharpness
import shown_dashboard
import sweeping
import texts
import watched_loops
from timing import HEADER

BENCHMARKS = {
    "import": importing,
    "dashboard": shown_dashboard,
    "watch": watched_loops,
    "pictures": moving_pictures,
    "doctor": live_doctor,
    "trainer": against_trainer,
    "precision": precision,
    "head": cached_head,
    "back": going_back,
    "heads": many_heads,
    "sweep": sweeping,
    "sharpness": sharpness,
    "adam": adam,
    "texts": texts,
    "gpu": gpu,
}


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; exit status 1 if a promise is missed."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"there is no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
        return 2
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    print(HEADER, flush=True)
    missed = 0
    for name in names or BENCHMARKS:
        for row in BENCHMARKS[name].rows():
            print(row, flush=True)
            missed += row.ratio > row.at_most
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
