"""The one thread that writes what a dashboard shows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

SECONDS = 0.2  # between two refreshes: 5 Hz


class Ticker:
    """Calls ``tick`` five times a second, in one daemon thread, for as long as it says there is more to come.

    Arguments:
        tick: returns whether to go on. It is never called by two threads at once.
        seconds: between two calls.
    """

    def __init__(self, tick: Callable[[], bool], seconds: float = SECONDS) -> None:
        self._tick = tick
        self._seconds = seconds
        self._thread: threading.Thread | None = None
        self._state = threading.Condition()
        self._asked = 0  # ticks that somebody wants to have begun after asking
        self._served = 0
        self._closed = False

    @property
    def alive(self) -> bool:
        """Whether the thread is there."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def wake(self) -> int:
        """See to it that one more tick begins after this call, starting the thread if need be; returns its ticket."""
        with self._state:
            self._asked += 1
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="stablelab-ticker", daemon=True)
                self._thread.start()
            self._state.notify_all()
            return self._asked

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until everything there is by now is shown; False where that takes longer than ``timeout`` seconds."""
        if self._closed or threading.current_thread() is self._thread:
            return False
        ticket = self.wake()
        with self._state:
            return self._state.wait_for(lambda: self._served >= ticket or self._closed, timeout)

    def close(self) -> None:
        """End the thread for good, after the tick under way."""
        with self._state:
            self._closed = True
            thread = self._thread
            self._state.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=10.0)

    def _run(self) -> None:
        while True:
            began, ticket = time.monotonic(), self._asked
            more = self._tick()
            with self._state:
                self._served = ticket
                if self._closed or not (more or self._asked > ticket):
                    self._thread = None  # while the lock is held: whoever wakes us next must see that we are gone
                    self._state.notify_all()
                    return
                self._state.notify_all()
                pause = self._seconds - (time.monotonic() - began)
                self._state.wait_for(partial(self._wanted, ticket), max(pause, 0.01))

    def _wanted(self, ticket: int) -> bool:
        return self._asked > ticket or self._closed
