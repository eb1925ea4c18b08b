"""What is loaded is said out loud, except where the same thing is loaded again and again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


def say(line: str) -> None:
    """Print it, unless inside ``quietly``."""
    if not _quiet.get():
        print(line)


@contextmanager
def quietly() -> Iterator[None]:
    """Inside this context, and in this thread, loading says nothing."""
    before = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(before)
