"""The workers that torch computes with on a processor: a thread that waits for another one lets its own go.

torch uses OpenMP there, and each thread that computes has a team of workers of its own. While all teams together have
more members than there are cores, GNU's OpenMP (libgomp, as in PyPI's torch for Linux) does not let a worker spin for
its next piece of work but puts it to sleep each time, though the other team may have nothing to do. On two cores a step
of the bundled BERT in a background thread then took 1.6 times as long as in the main thread, and does not any more.

Source:
    libgomp's manual, ``GOMP_SPINCOUNT``: with more OpenMP threads than available CPUs 100 spins in place of 300,000.
    OpenMP 5.0: ``omp_pause_resource_all``.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache

SOFT = 1  # omp_pause_soft: what was set, such as the number of threads, stays


@cache
def _pause() -> Callable[[int], int] | None:
    """OpenMP's own function, in the library that torch has loaded; None elsewhere than on Linux, or in older ones."""
    return getattr(ctypes.CDLL(None), "omp_pause_resource_all", None) if sys.platform == "linux" else None


def let_workers_go() -> None:
    """End the calling thread's idle workers; its next operation makes new ones, and comes to the same numbers."""
    pause = _pause()
    if pause is not None:
        pause(SOFT)
