"""How long fuzzers look: the same few examples in the suite; others, for as long as STABLELAB_FUZZ_SECONDS says.

STABLELAB_FUZZ_SECONDS=300 pytest tests/data/test_fuzz.py    five minutes for each search, new examples every time
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

Value = TypeVar("Value")
SECONDS = float(os.environ.get("STABLELAB_FUZZ_SECONDS") or 0)


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
