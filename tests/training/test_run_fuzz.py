"""Whatever is pressed in whatever order: no hang, no thread left behind, no gap in the history."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from support.clouds import Clouds, network
from support.fuzz import refused, search
from support.helpers import threads_of_ours, until

from stablelab.training import Run, Settings

STEPS = 12
presses = st.one_of(
    st.tuples(st.sampled_from(["start", "pause", "resume", "stop", "reset", "untouched", "wait", "rest"])),
    st.tuples(st.just("step"), st.integers(0, 4)),
    st.tuples(st.just("branch"), st.integers(-1, STEPS + 1)),
    st.tuples(st.just("change"), st.sampled_from([1e-3, 0.5, 1e9, math.nan])),
)
# Which run of the family it is pressed on, and what.
games = st.lists(st.tuples(st.integers(0, 3), presses), min_size=1, max_size=14)


def press(runs: list[Run], run: Run, what: str, *given: Any) -> None:
    if what in ("branch", "untouched"):
        runs.append(getattr(run, what)(*given))
    elif what == "change":
        run.control.change(learning_rate=given[0])
    elif what == "rest":
        run.wait_paused()
    elif what == "wait":
        run.wait(0.005)
    else:
        getattr(run, what)(*given)


@pytest.mark.slow
def test_any_order_of_presses_leaves_a_whole_history(record_property: Callable[[str, object], None]) -> None:
    before = threads_of_ours()

    def attempt(game: list[tuple[int, tuple[Any, ...]]]) -> bool:
        settings = Settings(learning_rate=0.02)
        runs = [Run(network(), Clouds(), settings=settings, steps=STEPS, batch_size=40, evaluate_every=5)]
        refusals = 0
        for which, what in game:
            run = runs[which % len(runs)]
            if what == ("rest",) and not run.control.paused:
                continue  # it would wait for the end
            refusals += refused(lambda run=run, what=what: press(runs, run, *what), TimeoutError)  # type: ignore[misc]
            for each in runs:
                assert [step.step for step in each.history] == list(range(1, len(each.history) + 1))
                assert len(each.history) <= STEPS and each.error is None
        for run in runs:
            run.stop()
            assert not run.alive and run.state in ("stopped", "finished")
            assert len(run.history) == STEPS or run.state == "stopped"
        until(lambda: threads_of_ours() == before, 10)
        return refusals == len(game)

    search("orders of presses", games, attempt, 60, record_property)
