"""What a dashboard says."""

from __future__ import annotations

import pytest

from stablelab.studio import words
from stablelab.training.record import Intervention


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (59.4, "59 s"), (125, "2 min 05 s"), (12_000, "3 h 20 min")]
)
def test_durations(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


def test_progress_with_and_without_a_known_pace() -> None:
    assert "step <b>120</b> of 640 · 40 steps/s · 13 s left" in words.progress(120, 640, 40.0)
    assert "steps/s" not in words.progress(0, 640, 0.0)
    assert "left" not in words.progress(640, 640, 10.0)


def test_pace_is_that_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 2.0, 10.0, 11.0])
    monkeypatch.setattr(words.time, "monotonic", lambda: next(clock))
    pace = words.Pace(seconds=4.0)
    assert [pace.at(n, True) for n in (0, 10, 20)] == [0.0, 10.0, 10.0]
    assert pace.at(20, False) == 0.0
    assert pace.at(25, True) == 5.0


def test_log_is_newest_first_escaped_and_of_bounded_length() -> None:
    changes = [Intervention(i, "optimizer", "adamw", f"<b>{i}") for i in range(words.LINES + 5)]
    said = words.log(changes)
    assert said.index(f"step {words.LINES + 4}:") < said.index("step 5:")
    assert "&lt;b&gt;" in said and "<b>" not in said
    assert said.count("<li>") == words.LINES and "and 5 before" in said


def test_long_messages_are_one_line() -> None:
    said = words.one_line("a\n b\t" + "c" * 999)
    assert len(said) == 240 and said.startswith("a b c") and said.endswith("…")
