"""Start, pause, one step, resume, stop, reset."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import ipywidgets as w

from ..plots.earlier_runs import remember
from ..training.run import Run
from .entries import answer_anywhere

_KINDS = {  # name: (label, icon, tooltip, the states it can be pressed in)
    "start": ("start", "play", "train from the first step", ("ready",)),
    "pause": ("pause", "pause", "let the step under way end, then wait", ("running",)),
    "step": ("one step", "step-forward", "do one optimizer step, then wait", ("ready", "paused", "diverged")),
    "resume": ("resume", "forward", "go on from here", ("paused", "diverged")),
    "stop": ("stop", "stop", "end the run for good", ("running", "paused", "diverged")),
    "reset": ("reset", "undo", "back to the first weights; this curve stays as a ghost", ("running", "paused", "over")),
}
_OVER = ("diverged", "finished", "stopped", "failed")


class Presses:
    """Does what is pressed in short threads, in the order pressed: some of it waits for the training thread, and the
    thread that a press arrives on must not wait.

    Arguments:
        done: called after each, with an empty line or with what went wrong.
    """

    def __init__(self, done: Callable[[str], None]) -> None:
        self._done = done
        self._pressed: queue.SimpleQueue[tuple[str, Callable[[], object]]] = queue.SimpleQueue()
        self._working = threading.Lock()

    def do(self, name: str, action: Callable[[], object]) -> None:
        """See to it that this is done; returns at once. ``name`` is what a learner calls it."""
        self._pressed.put((name, action))
        threading.Thread(target=self._work, name="stablelab-button", daemon=True).start()

    def _work(self) -> None:
        with self._working:
            name, action = self._pressed.get()
            note = ""
            try:
                action()
            except Exception as error:  # whatever it is, the learner has to read it
                note = f"{name}: {error}"
        self._done(note)


class Buttons:
    """The six buttons of a run.

    Arguments:
        run: called for the run they act on.
        presses: what does it.
    """

    def __init__(self, run: Callable[[], Run], presses: Presses) -> None:
        self._run, self._presses = run, presses
        self.each = {name: self._button(name) for name in _KINDS}
        self.box = w.HBox(tuple(self.each.values()))
        self.box.add_class("stablelab-buttons")
        self.show(run().state)
        answer_anywhere(*self.each.values())

    def show(self, state: str) -> None:
        """Enable those that make sense in this state."""
        for name, button in self.each.items():
            button.disabled = not _fits(_KINDS[name][3], state)

    def press(self, name: str) -> None:
        """Do what a button does; returns at once."""
        self._presses.do(name, lambda: self._do(name))

    def _do(self, name: str) -> None:
        run = self._run()  # by now: what was pressed before may have turned to another one
        if name == "reset":
            run.stop()
            remember(run)
        getattr(run, name)()

    def _button(self, name: str) -> w.Button:
        label, icon, tooltip, _ = _KINDS[name]
        button = w.Button(description=label, icon=icon, tooltip=tooltip)
        button.add_class(f"lab-{name}")
        button.on_click(lambda _: self.press(name))
        return button


def _fits(states: tuple[str, ...], state: str) -> bool:
    return state in states or ("over" in states and state in _OVER)
