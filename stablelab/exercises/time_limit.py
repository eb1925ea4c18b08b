"""A time limit for somebody else's code, without a thread or a process of its own."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

AGAIN = 0.05  # seconds: code that swallows the first interruption meets another


class TooSlow(BaseException):
    """Not an ``Exception``, so that ``except Exception`` in a learner's loop does not swallow it."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise ``TooSlow`` in the body once it has run for so long; a single call into C is not cut short.

    Where the system has an alarm for the main thread (Linux, macOS) it also ends a sleep. Elsewhere, as on Windows, the
    clock is looked at before every line of Python, and code that swallows the one interruption goes on.

    Args:
        seconds: how long the body may take.

    Raises:
        TooSlow: in the body, which took longer.
    """
    here = threading.current_thread() is threading.main_thread()
    with _alarm(seconds) if here and hasattr(signal, "setitimer") else _watched_lines(seconds):
        yield


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    armed, rings = True, 0

    def ring(_signal: int, frame: FrameType | None) -> None:
        nonlocal rings
        rings += 1
        # One that comes late, while the timer is being switched off, has nothing to end.
        if armed and rings == 1:
            raise TooSlow
        if armed and frame is not None:
            # Swallowed, by a bare except around what takes the time. The next line of Python may be outside of it.
            frame.f_trace = end_line
            sys.settrace(end_line)

    def end_line(_frame: FrameType, _event: str, _argument: Any) -> Any:
        if armed:
            raise TooSlow

    tracing = sys.gettrace()
    before = signal.signal(signal.SIGALRM, ring)
    left = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *left)  # one of the caller's goes on
        sys.settrace(tracing)


@contextmanager
def _watched_lines(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds

    def look(_frame: FrameType, _event: str, _argument: Any) -> Any:
        if time.monotonic() > end:
            raise TooSlow
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        yield
    finally:
        sys.settrace(before)
