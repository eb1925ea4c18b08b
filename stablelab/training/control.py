"""The one thing that crosses from a widget to the training loop: the latest settings, and go, pause or stop."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, Protocol, Self, TypeVar, cast

from .._validation import whole
from .openmp import let_workers_go
from .settings import Settings

GESTURE = 1.0  # seconds between two changes of the same settings that still belong to one drag of a slider


class Steerable(Protocol):
    """Settings that a control can hand over: one frozen value."""

    @property
    def label(self) -> str:
        """Who does the arithmetic, in a few words."""

    def replace(self, **changes: Any) -> Self:
        """The same with some fields changed; raises ValueError in one line where that cannot be."""

    def differences(self, other: Self) -> tuple[tuple[str, Any, Any], ...]:
        """(name, value here, value in ``other``) for each field that differs."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""


S = TypeVar("S", bound=Steerable)


class Control(Generic[S]):
    """Latest settings, pause and stop behind one lock. The loop reads it once per step, anyone may write it.

    What is changed carries the number of its gesture: a drag of a slider publishes many changes, and is one gesture.

    Args:
        settings: to begin with; the defaults of ``Settings`` if not given.
        gestures: how many gestures there were before.
        check: called with settings before they are published; raises ValueError in one line where they cannot be here.

    Attributes:
        gestures: the number of the latest gesture.
    """

    def __init__(
        self, settings: S | None = None, gestures: int = 0, check: Callable[[S], object] | None = None
    ) -> None:
        self._settings: S = cast(S, Settings()) if settings is None else settings
        self._check = check
        # What differs from the step before it at the very first turn, such as in a branch, is one gesture.
        self.gestures = self._first = gestures + 1
        self._gesture_of: dict[str, int] = {}  # by setting: the gesture that changed it last
        self._last: tuple[frozenset[str], float] = (frozenset(), -math.inf)  # settings of the latest change, and when
        self._taken: tuple[S | None, dict[str, int]] = (None, {})  # as of the last turn
        self._allowed: float = math.inf  # steps that may still begin before the loop has to wait
        self._stopped = False
        self._waiting = False
        self._changed = threading.Condition()

    @property
    def settings(self) -> S:
        """The latest settings published."""
        return self._settings

    def publish(self, settings: S) -> None:
        """Make these the settings of every step that begins from now on; what differs is one gesture."""
        with self._changed:
            self._publish(settings, None)

    def change(self, *, gesture: int | None = None, **changes: Any) -> S:
        """Publish the latest settings with some fields changed.

        Args:
            gesture: the number of the gesture that this is part of. If not given, a change of the same settings within
                a second of the last one belongs to the same gesture, and any other change begins a new one.
            **changes: new values by name; together they are one gesture.

        Returns:
            The settings now.

        Raises:
            ValueError: in one line, where a value cannot be; nothing is changed then.
        """
        with self._changed:
            self._publish(self._settings.replace(**changes), gesture)
            return self._settings

    def new_gesture(self) -> int:
        """The number of a gesture of its own, for ``change``."""
        with self._changed:
            self.gestures += 1
            return self.gestures

    def gesture_of(self, name: str) -> int:
        """The number of the gesture that had last changed a setting when the last turn was given."""
        return self._taken[1].get(name, self._first)

    def unused(self) -> frozenset[str]:
        """The names of the settings that were changed since the last turn and wait for a step that uses them."""
        taken, latest = self._taken[0], self._settings
        if taken is None or taken is latest:
            return frozenset()
        return frozenset(name for name, _, _ in taken.differences(latest))

    def pause(self) -> None:
        """Let the step under way end, then wait."""
        self._allow(0)

    def resume(self) -> None:
        """Go on."""
        self._allow(math.inf)

    def step(self, n: int = 1) -> None:
        """Do n more steps, then wait."""
        self._allow(whole("n", n, at_least=1, of=" of steps"))

    def stop(self) -> None:
        """End the loop before its next step. Final."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    @property
    def stopped(self) -> bool:
        """Whether stop() was called."""
        return self._stopped

    @property
    def waiting(self) -> bool:
        """Whether the loop stands still because of a pause."""
        return self._waiting

    @property
    def paused(self) -> bool:
        """Whether the next step has to wait, the one under way aside."""
        return self._allowed == 0

    def turn(self) -> S | None:
        """Called by the loop before each step: waits while paused; the settings to use, or None if it must end."""
        with self._changed:
            while self._allowed <= 0 and not self._stopped:
                if not self._waiting:  # also after a resume that a pause followed before this thread woke up
                    self._waiting = True
                    let_workers_go()
                    self._changed.notify_all()
                self._changed.wait()
            self._waiting = False
            if self._stopped:
                return None
            self._allowed -= 1
            if self._taken[0] is not self._settings:
                self._taken = (self._settings, dict(self._gesture_of))
            return self._settings

    def rest(self, timeout: float) -> bool:
        """Wait until the loop stands still because of a pause, for at most so many seconds; whether it does."""
        with self._changed:
            return self._changed.wait_for(lambda: self._waiting, timeout)

    def _publish(self, settings: S, gesture: int | None) -> None:
        if self._check is not None:
            self._check(settings)
        names = frozenset(name for name, _, _ in self._settings.differences(settings))
        self._settings = settings
        if not names:
            return
        now, (last, when) = time.monotonic(), self._last
        if gesture is not None:
            self.gestures = max(self.gestures, gesture)
        elif names != last or now - when > GESTURE:
            self.gestures += 1
        number = self.gestures if gesture is None else gesture
        self._gesture_of.update(dict.fromkeys(names, number))
        # A gesture that was given its number ends there: what is dragged a moment after an undo is another one.
        self._last = (names, now) if gesture is None else (frozenset(), -math.inf)

    def _allow(self, steps: float) -> None:
        let_workers_go()  # the caller's: it will hardly compute while the loop does
        with self._changed:
            self._allowed = steps
            self._waiting = self._waiting and steps <= 0  # at once: who asks next must not hear of the pause before
            self._changed.notify_all()
