"""What a dashboard says."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from stablelab.training import Run
from stablelab.training.records import Gesture
from stablelab.widgets import wording as words


def test_progress_with_and_without_a_known_pace() -> None:
    assert "step <b>120</b> of 640 · 40 steps/s · 13 s left" in words.progress(120, 640, 40.0)
    assert "steps/s" not in words.progress(0, 640, 0.0)
    assert "left" not in words.progress(640, 640, 10.0)
    assert "step <b>1 200</b> · 40 steps/s<" in words.progress(1200, None, 40.0), "a run without an end"


def test_pace_is_that_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 2.0, 10.0, 11.0])
    monkeypatch.setattr(words.time, "monotonic", lambda: next(clock))
    pace = words.Pace(seconds=4.0)
    assert [pace.at(n, True) for n in (0, 10, 20)] == [0.0, 10.0, 10.0]
    assert pace.at(20, False) == 0.0
    assert pace.at(25, True) == 5.0


def test_log_is_newest_first_escaped_and_of_bounded_length() -> None:
    changes = [Gesture(i, i, i, (("optimizer", "adamw", f"<b>{i}"),)) for i in range(1, words.LINES + 6)]
    said = words.log(changes)
    assert said.index(f"step {words.LINES + 5}:") < said.index("step 6:")
    assert "&lt;b&gt;" in said and "<b>" not in said
    assert said.count("stablelab-change") == words.LINES and "and 5 before" in said


def test_what_is_shown_of_a_branch_and_that_it_goes_back(make_run) -> None:
    branch = make_run(20).start().wait().branch(12)
    said = words.status(branch, "")
    assert "20 steps, the first 12 already done" in said and "run 2 · from 12 · branch of ring" in said
    assert "100 000 steps" in words.status(make_run(100_000), "")
    branch.stop()
    assert "12 of 20" in words.status(branch, "")
    for message, said in (
        ("going back to step 12: 2 steps", "going back to step 12: 2 steps"),
        ("running at step 3", ""),
        ("running at step 3 of 9", ""),
        ("running, but it diverges since step 2", "but it diverges since step 2"),
    ):
        assert words._message(SimpleNamespace(message=message), "running") == said


@pytest.mark.slow
def test_what_could_not_be_written_is_said_beside_what_could_not_be_done(make_run, monkeypatch) -> None:
    monkeypatch.setattr(Run, "trouble", "the disk is full")
    said = words.status(make_run(5), "stop: no")
    assert said.count("stablelab-note") == 2 and "the disk is full" in said and "stop: no" in said
