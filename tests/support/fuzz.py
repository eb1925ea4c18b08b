"""How long fuzzers look: the same few examples in the suite; others, for as long as they are told, at random.

STABLELAB_FUZZ_SECONDS=300 pytest tests/data/test_fuzz.py    five minutes for each search, new examples every time
make fuzz MINUTES=20                                         all searches, twenty minutes in all
"""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

Value = TypeVar("Value")
SECONDS = float(os.environ.get("STABLELAB_FUZZ_SECONDS") or 0)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Under ``-p support.fuzz`` the minutes of STABLELAB_FUZZ_MINUTES are shared by all searches that were found."""
    global SECONDS
    minutes = float(os.environ.get("STABLELAB_FUZZ_MINUTES") or 0)
    searches = sum("search(" in inspect.getsource(getattr(item, "function", item.__class__)) for item in session.items)
    if minutes and searches:
        SECONDS = 60 * minutes / searches


def refused(call: Callable[[], object], *errors: type[Exception]) -> bool:
    """Whether a call was refused in one line: by a ``ValueError``, or by one of ``errors``. All else is a finding."""
    try:
        call()
    except (ValueError, *errors) as error:
        assert type(error) in (ValueError, *errors) and str(error) and "\n" not in str(error), repr(error)
        return True
    return False


def search(
    what: str,
    values: SearchStrategy[Value],
    attempt: Callable[[Value], bool],
    examples: int,
    report: Callable[[str, object], None],
) -> None:
    """Try values until one makes ``attempt`` raise, or enough were tried.

    Args:
        what: is tried, such as "tables".
        values: where they come from.
        attempt: returns whether the value was refused in one line; what it raises is a finding.
        examples: how many in the suite.
        report: pytest's ``record_property``; the numbers are said at the end of the tests.
    """
    tried = turned_down = 0

    def count(value: Value) -> None:
        nonlocal tried, turned_down
        tried += 1
        turned_down += attempt(value)

    longer = bool(SECONDS)
    phases = [Phase.explicit, Phase.generate, Phase.shrink]
    hunt = settings(
        max_examples=examples,
        derandomize=not longer,
        database=None,
        deadline=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
    until = time.monotonic() + SECONDS
    while True:
        hunt(given(values)(count))()
        if time.monotonic() >= until:
            break
    report("in summary", f"fuzzed {what}: {tried} tried, {turned_down} refused in one line, none otherwise")
