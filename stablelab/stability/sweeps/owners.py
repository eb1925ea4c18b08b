"""Who is at work on a run: which process, on which machine, and whether it is still there."""

from __future__ import annotations

import os
import socket
import time
from functools import cache

PATIENCE = 3600.0  # seconds after which a process of another machine that gave no sign counts as gone


def me() -> str:
    """This process: host, number, and when it began (numbers are given again)."""
    return f"{socket.gethostname()} {os.getpid()} {_began(os.getpid()):.2f}"


def gone(owner: str, sign: float) -> bool:
    """Whether that process is no longer there.

    Arguments:
        owner: what ``me`` said there.
        sign: when it last gave a sign, in seconds since 1970.
    """
    import psutil

    host, process, began = owner.split()
    if host != socket.gethostname():
        return time.time() - sign > PATIENCE
    try:
        there = psutil.Process(int(process))
        # A killed process that nobody has asked for its end, as in a container without an init, is no worker any more.
        return there.status() == psutil.STATUS_ZOMBIE or abs(there.create_time() - float(began)) > 1
    except psutil.NoSuchProcess:
        return True


@cache
def _began(process: int) -> float:
    import psutil

    return float(psutil.Process(process).create_time())
