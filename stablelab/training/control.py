"""The one thing that crosses from a widget to the training loop: the latest settings, and go, pause or stop."""

from __future__ import annotations

import math
import threading
from typing import Any

from .._validation import whole
from .settings import Settings


class Control:
    """Latest settings, pause and stop behind one lock. The loop reads it once per step, anyone may write it."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._allowed: float = math.inf  # steps that may still begin before the loop has to wait
        self._stopped = False
        self._waiting = False
        self._changed = threading.Condition()

    @property
    def settings(self) -> Settings:
        """The latest settings published."""
        return self._settings

    def publish(self, settings: Settings) -> None:
        """Make these the settings of every step that begins from now on."""
        with self._changed:
            self._settings = settings

    def change(self, **changes: Any) -> Settings:
        """Publish the latest settings with some fields changed; raises ValueError and changes nothing if one is bad."""
        with self._changed:
            self._settings = self._settings.replace(**changes)
            return self._settings

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

    def turn(self) -> Settings | None:
        """Called by the loop before each step: waits while paused; the settings to use, or None if it must end."""
        with self._changed:
            while self._allowed <= 0 and not self._stopped:
                if not self._waiting:  # also after a resume that a pause followed before this thread woke up
                    self._waiting = True
                    self._changed.notify_all()
                self._changed.wait()
            self._waiting = False
            if self._stopped:
                return None
            self._allowed -= 1
            return self._settings

    def rest(self, timeout: float) -> bool:
        """Wait until the loop stands still because of a pause, for at most so many seconds; whether it does."""
        with self._changed:
            return self._changed.wait_for(lambda: self._waiting, timeout)

    def _allow(self, steps: float) -> None:
        with self._changed:
            self._allowed = steps
            self._waiting = self._waiting and steps <= 0  # at once: who asks next must not hear of the pause before
            self._changed.notify_all()
