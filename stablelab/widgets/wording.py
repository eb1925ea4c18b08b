"""What a dashboard says: status, progress and log as small pieces of HTML."""

from __future__ import annotations

import html
import time
from collections import deque
from collections.abc import Sequence

from .._formatting import format_duration, format_number, one_line
from ..training.background import Driver
from ..training.records import Gesture

_FRESH = ("optimizer", "implementation", "bias_correction")
LINES = 200  # of the log, newest first
LONGEST = 240  # characters of a message


class Pace:
    """Steps per second over the last few seconds of wall-clock time, validation included."""

    def __init__(self, seconds: float = 4.0) -> None:
        self._seconds = seconds
        self._seen: deque[tuple[float, int]] = deque()

    def at(self, steps: int, running: bool) -> float:
        """Note how many steps are done by now; 0 while the pace is not known."""
        now = time.monotonic()
        if not running or (self._seen and steps < self._seen[-1][1]):
            self._seen.clear()
        self._seen.append((now, steps))
        while len(self._seen) > 2 and self._seen[0][0] < now - self._seconds:
            self._seen.popleft()
        (then, first), (last, latest) = self._seen[0], self._seen[-1]
        return (latest - first) / (last - then) if last > then else 0.0


def progress(done: int, total: int | None, pace: float) -> str:
    """Such as ``step 120 of 640 · 35 steps/s · 15 s left``; without an end that is known, ``step 120 · 35 steps/s``."""
    of = "" if total is None else f" of {total:,}"
    parts = [f"step <b>{done:,}</b>{of}".replace(",", " ")]
    if pace > 0:
        parts.append(f"{format_number(pace)} steps/s" if pace < 1000 else f"{pace:,.0f} steps/s".replace(",", " "))
        if total is not None and done < total:
            parts.append(f"{format_duration((total - done) / pace)} left")
    return f"<span class='stablelab-progress'>{' · '.join(parts)}</span>"


def memory(used: int, budget: int) -> str:
    """Such as ``memory 0.4 of 1.5 GB``."""
    return f"memory {used / 1e9:.1f} of {budget / 1e9:.1f} GB" if budget else ""


def status(run: Driver, note: str) -> str:
    """State, what happened, what trains; and one line on the last thing that could not be done."""
    state = html.escape(run.state)
    steps = len(run.history)
    optimizer = run.history[steps - 1].optimizer if steps else run.control.settings.label
    origin = [] if run.parent is None else [f"branch of {run.parent.name}"]
    named = dict.fromkeys((run.name, *origin, run.source, optimizer))  # a loop may have its model's name
    about = " · ".join(html.escape(one_line(text, LONGEST)) for text in named)
    message = html.escape(_message(run, state))
    line = f"<span class='stablelab-state stablelab-{state}'>{state}</span>"
    notes = (html.escape(one_line(each, LONGEST)) for each in (note, run.trouble) if each)
    aside = "".join(f"<div class='stablelab-note'>{each}</div>" for each in notes)
    said = f"{aside}<div>{message}</div><div class='stablelab-about'>{about}</div>"
    return f"<div class='stablelab-line'>{line}</div><div class='stablelab-said'>{said}</div>"


def _message(run: Driver, state: str) -> str:
    """What there is to say beside the state. How far a running one is, the progress bar says, and saves a message."""
    said = one_line(run.message, LONGEST)
    if said.startswith("running at step"):
        return ""
    return said.removeprefix(state).lstrip(":, ")


def log(gestures: Sequence[Gesture]) -> str:
    """What was changed by hand, newest first."""
    if not gestures:
        return "<div class='stablelab-empty'>no change made by hand yet</div>"
    lines = [change(each) for each in reversed(gestures[-LINES:])]
    hidden = len(gestures) - len(lines)
    more = f"<div class='stablelab-empty'>and {hidden} before</div>" if hidden > 0 else ""
    return "".join(lines) + more


def change(gesture: Gesture) -> str:
    """What one gesture changed."""
    fresh = any(name in _FRESH for name, _, _ in gesture.changes)
    said = html.escape(one_line(str(gesture), LONGEST)) + (" (fresh optimizer state)" if fresh else "")
    return f"<div class='stablelab-change'>{said}</div>"
