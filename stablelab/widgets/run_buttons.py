"""The buttons of a run: start, pause, one step, resume, stop, reset; and those that go back: branches of it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

import ipywidgets as w

from ..plots.curve_data import CurveData
from ..plots.earlier_runs import remember
from ..training.background import BackgroundThread, Driver
from ..training.history import settings_at
from ..training.records import change_in_words
from .family import family_of

_BUTTONS = {  # name: (label, icon, tooltip, the states it can be pressed in)
    "start": ("start", "play", "train from the first step", ("ready",)),
    "pause": ("pause", "pause", "let the step under way end, then wait", ("running",)),
    "step": ("one step", "step-forward", "do one optimizer step, then wait", ("ready", "paused", "diverged")),
    "resume": ("resume", "forward", "go on from here", ("paused", "diverged")),
    "stop": ("stop", "stop", "end the run for good", ("running", "paused", "diverged")),
    "reset": (
        "reset",
        "undo",
        "back to the first weights; the curve stays to compare with",
        ("running", "paused", "over"),
    ),
}
_OVER = ("diverged", "finished", "stopped", "failed")
_PICK = "click on the curve to branch"
_BRANCH = "Go on from the picked step with the settings above, beside this run. This one waits."
_WHAT_IF = "what if I had not touched it?"
_UNTOUCHED = "Go back to before your last change and train on without it, beside this run. This one waits."
_NAMED = 2  # changes that the name of a branch mentions


class ActionQueue:
    """Does what is pressed in short threads, in the order pressed.

    Some of it waits for the training thread, and the thread that a press arrives on must not wait.

    Args:
        done: called after each, with an empty line or with what went wrong.
    """

    def __init__(self, done: Callable[[str], None]) -> None:
        self._done = done
        self._pressed: queue.SimpleQueue[tuple[str, Callable[[], object]]] = queue.SimpleQueue()
        self._working = threading.Lock()

    def do(self, name: str, action: Callable[[], object]) -> None:
        """See to it that this is done; returns at once. ``name`` is what a learner calls it."""
        self._pressed.put((name, action))
        BackgroundThread(self._work, name="stablelab button").start()

    def _work(self) -> None:
        with self._working:
            name, action = self._pressed.get()
            note = ""
            try:
                action()
            except Exception as error:  # whatever it is, the learner has to read it
                note = f"{name}: {error}"
        self._done(note)


class RunButtons:
    """The six buttons of a run.

    Args:
        run: called for the run they act on.
        actions: does what is pressed.

    Attributes:
        buttons: by name; box: all of them in a row.
    """

    def __init__(self, run: Callable[[], Driver], actions: ActionQueue) -> None:
        self._run, self._actions = run, actions
        self.buttons = {name: self._button(name) for name in _BUTTONS}
        self.box = w.HBox(tuple(self.buttons.values()))
        self.box.add_class("stablelab-buttons")
        self.show(run().state)

    def show(self, state: str) -> None:
        """Enable those that make sense in this state."""
        for name, button in self.buttons.items():
            states, why = _BUTTONS[name][3], self._run().cannot.get(name)
            button.disabled = why is not None or not (state in states or ("over" in states and state in _OVER))
            button.tooltip = why or _BUTTONS[name][2]

    def press(self, name: str) -> None:
        """Do what a button does; returns at once."""
        self._actions.do(name, lambda: self._do(name))

    def _do(self, name: str) -> None:
        run = self._run()  # by now: what was pressed before may have turned to another one
        if name == "reset":
            run.stop()
            remember(run)
        getattr(run, name)()

    def _button(self, name: str) -> w.Button:
        label, icon, tooltip, _ = _BUTTONS[name]
        button = w.Button(description=label, icon=icon, tooltip=tooltip).add_class(f"lab-{name}")
        button.on_click(lambda _: self.press(name))
        return button


class BranchButtons:
    """The buttons that go back, and the list of the runs of a family to look at.

    Args:
        run: called for the run that is shown.
        turn: called with the run to show from now on.
        picked: called for the step that is picked, None where there is none.
        actions: does what is pressed.

    Attributes:
        branch_button, untouched_button, run_choice, box: the widgets.
        runs: those listed, in the order in which they were first seen.
    """

    def __init__(
        self,
        run: Callable[[], Driver],
        turn: Callable[[Driver], None],
        picked: Callable[[], int | None],
        actions: ActionQueue,
    ) -> None:
        self._run, self._turn, self._picked, self._actions = run, turn, picked, actions
        self.runs: list[Driver] = []
        self._names: list[str] = []
        self._making = threading.Lock()
        self._listing = False
        self.branch_button = w.Button(
            description=_PICK, icon="code-fork", tooltip=_BRANCH, disabled=True, layout={"width": "auto"}
        )
        self.branch_button.add_class("lab-branch").on_click(lambda _: self._press_branch())
        self.untouched_button = w.Button(
            description=_WHAT_IF, icon="history", tooltip=_UNTOUCHED, disabled=True, layout={"width": "auto"}
        )
        self.untouched_button.add_class("lab-untouched").on_click(lambda _: actions.do("what if", self.untouched))
        self.run_choice = w.Dropdown(description="run", tooltip="which run is shown; the others go on as they are")
        self.run_choice.style.description_width, self.run_choice.layout.width = "28px", "auto"
        self.run_choice.layout.display = "none"
        self.run_choice.add_class("lab-run").observe(self._chosen, "value")
        self.box = w.VBox([self.branch_button, self.untouched_button, self.run_choice])
        self.box.add_class("stablelab-back")

    def branch(self, step: int, **changes: Any) -> Driver:
        """Go on from a step of the run that is shown, with the settings that the controls show.

        The run that was shown waits. Changes that were asked of it while it stood still were meant for the branch, so
        it keeps those it had.

        Args:
            step: steps done, from 0 to as many as the run has done.
            changes: of those settings.

        Returns:
            The branch, started and shown.

        Raises:
            ValueError: in one line, for a step that was not done or a setting that cannot be; nothing is changed then.
        """

        def make(run: Driver) -> Driver:
            stood = run.control.waiting or not run.alive
            child = run.branch(step, **run.control.settings.replace(**changes).to_dict())
            done = len(run.history)
            if stood and done > run.born:
                run.control.publish(settings_at(run.settings, run.history.interventions(), done))
            return child

        return self._go_on(make)

    def untouched(self) -> Driver:
        """Go on from before the last change by hand, without it; see ``branch``.

        Raises:
            ValueError: nothing was changed by hand.
        """
        return self._go_on(lambda run: run.untouched())

    def show(self, data: CurveData, total: int | None) -> None:
        """Bring the widgets up to date, for a run of so many steps in all. Refresher only."""
        step = self._picked()
        there = step is not None and 0 <= step <= len(data)
        self.branch_button.description = f"branch from step {step}" if there else _PICK
        cannot = self._run().cannot
        self.branch_button.disabled = "branch" in cannot or not there or step == total
        self.branch_button.tooltip = cannot.get("branch", _BRANCH)
        self.untouched_button.disabled = "untouched" in cannot or not data.gestures
        self.untouched_button.tooltip = cannot.get("untouched", _UNTOUCHED)
        self._list(self._run())

    def _go_on(self, make: Callable[[Driver], Driver]) -> Driver:
        with self._making:
            run = self._run()
            running = run.state == "running"
            if running:
                run.control.pause()  # before, so that making the branch need not wait for more than the step under way
            try:
                child = make(run)
            except BaseException:
                if running:
                    run.control.resume()
                raise
            self._turn(child.start())  # in this order: somebody may be waiting for the run that is shown
            return child

    def _press_branch(self) -> None:
        step = self._picked()  # when it is pressed
        if step is not None:
            self._actions.do("branch", lambda: self.branch(step))

    def _list(self, run: Driver) -> None:
        for each in family_of(run):
            if each not in self.runs:
                self.runs.append(each)
                self._names.append(self._name(each))
        options = tuple((name, i) for i, name in enumerate(self._names))
        self._listing = True
        try:
            with self.run_choice.hold_sync():
                if options != self.run_choice.options:
                    self.run_choice.options = options
                self.run_choice.value = self.runs.index(run)
        finally:
            self._listing = False
        self.run_choice.layout.display = None if len(options) > 1 else "none"

    def _name(self, run: Driver) -> str:
        """Such as ``run 3 · from 80 · learning rate 1e-3 → 3e-4``: what tells it from the others stands in front."""
        return " · ".join([f"run 1 · {run.name}" if run.parent is None else run.name, *_changes(run)])

    def _chosen(self, change: dict[str, Any]) -> None:
        if not self._listing and change["new"] is not None:
            self._turn(self.runs[change["new"]])


def _changes(run: Driver) -> list[str]:
    """What a branch was told to do differently from its first step on."""
    if run.parent is None:
        return []
    before = settings_at(run.settings, run.history.interventions(), run.born) if run.born else run.parent.settings
    if len(run.history) > run.born:
        after = settings_at(run.settings, run.history.interventions(), run.born + 1)
    else:
        after = run.control.settings
    changes = [change_in_words(*each) for each in before.differences(after)]
    return changes[:_NAMED] + ([f"{len(changes) - _NAMED} more"] if len(changes) > _NAMED else [])
