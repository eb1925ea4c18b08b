"""Going back: branches of the run that is shown, and which run of the family that is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import ipywidgets as w

from ..plots.curve_data import Feed
from ..training.history import settings_at
from ..training.records import Intervention
from ..training.run import Run
from .entries import answer_anywhere
from .notebook_cells import family
from .run_buttons import Presses

_PICK = "click on the curve to branch"
_BRANCH = "Go on from the picked step with the settings above, beside this run. This one waits."
_WHAT_IF = "what if I had not touched it?"
_UNTOUCHED = "Go back to before your last change and train on without it, beside this run. This one waits."
_SAID = 2  # changes that the name of a branch mentions


class Branching:
    """The buttons that go back, and the list of runs to look at.

    Arguments:
        run: called for the run that is shown.
        turn: called with the run to show from now on.
        picked: called for the step that is picked, None where there is none.
        presses: what does what is pressed.

    Attributes:
        branch_button, untouched_button, choice, box: the widgets.
    """

    def __init__(
        self,
        run: Callable[[], Run],
        turn: Callable[[Run], None],
        picked: Callable[[], int | None],
        presses: Presses,
    ) -> None:
        self._run, self._turn, self._picked, self._presses = run, turn, picked, presses
        self._family: list[Run] = []  # in the order in which they were first seen
        self._names: list[str] = []
        self._making = threading.Lock()
        self._listing = False
        self.branch_button = w.Button(description=_PICK, icon="code-fork", tooltip=_BRANCH, disabled=True)
        self.branch_button.add_class("lab-branch")
        self.branch_button.on_click(lambda _: self._press_branch())
        self.untouched_button = w.Button(description=_WHAT_IF, icon="history", tooltip=_UNTOUCHED, disabled=True)
        self.untouched_button.add_class("lab-untouched")
        self.untouched_button.on_click(lambda _: presses.do("what if", self.untouched))
        self.choice = w.Dropdown(description="run", tooltip="which run is shown; the others go on as they are")
        self.choice.add_class("lab-run")
        self.choice.layout.display = "none"
        self.choice.observe(self._chosen, "value")
        self.box = w.HBox([self.branch_button, self.untouched_button, self.choice])
        self.box.add_class("stablelab-back")
        answer_anywhere(self.branch_button, self.untouched_button, self.choice)

    def branch(self, step: int, **changes: Any) -> Run:
        """Go on from a step of the run that is shown, with the settings that the controls show.

        The run that was shown waits. Changes that were asked of it while it stood still were meant for the branch, so
        it keeps those it had.

        Arguments:
            step: steps done, from 0 to as many as the run has done.
            changes: of those settings.

        Returns:
            The branch, started and shown.

        Raises:
            ValueError: in one line, for a step that was not done or a setting that cannot be; nothing is changed then.
        """

        def make(run: Run) -> Run:
            stood = run.control.waiting or not run.alive
            child = run.branch(step, **run.control.settings.replace(**changes).to_dict())
            done = len(run.history)
            if stood and done > run.born:
                run.control.publish(settings_at(run.settings, run.history.interventions(), done))
            return child

        return self._go_on(make)

    def untouched(self) -> Run:
        """Go on from before the last change by hand, without it; see ``branch``.

        Raises:
            ValueError: nothing was changed by hand.
        """
        return self._go_on(lambda run: run.untouched())

    def show(self, feed: Feed, total: int) -> None:
        """Bring the widgets up to date. Ticker only, as all that is shown."""
        step = self._picked()
        there = step is not None and 0 <= step <= len(feed)
        self.branch_button.description = f"branch from step {step}" if there else _PICK
        self.branch_button.disabled = not there or step == total
        self.untouched_button.disabled = not feed.interventions
        self._list(self._run())

    def _go_on(self, make: Callable[[Run], Run]) -> Run:
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
            self._presses.do("branch", lambda: self.branch(step))

    # -- the family ------------------------------------------------------------------------------------------------

    def _list(self, run: Run) -> None:
        for each in family(run):
            if each not in self._family:
                self._family.append(each)
                self._names.append(self._name(each))
        options = tuple((name, i) for i, name in enumerate(self._names))
        self._listing = True
        try:
            with self.choice.hold_sync():
                if options != self.choice.options:
                    self.choice.options = options
                self.choice.value = self._family.index(run)
        finally:
            self._listing = False
        self.choice.layout.display = None if len(options) > 1 else "none"

    def _name(self, run: Run) -> str:
        """Such as ``from step 57 › from step 80 · learning rate 1e-3 → 3e-4``; no two are the same."""
        name = " · ".join([_way(run), *_changes(run)])
        names = [name, *(f"{name} ({i})" for i in range(2, len(self._names) + 2))]
        return next(each for each in names if each not in self._names)

    def _chosen(self, change: dict[str, Any]) -> None:
        if not self._listing and change["new"] is not None:
            self._turn(self._family[change["new"]])


def _way(run: Run) -> str:
    """How one gets to a run from the first of its family."""
    if run.parent is None:
        return run.name
    name = run.name.removeprefix(run.parent.name).lstrip(", ")
    return name if run.parent.parent is None else f"{_way(run.parent)} › {name}"


def _changes(run: Run) -> list[str]:
    """What a branch was told to do differently from its first step on."""
    if run.parent is None:
        return []
    before = settings_at(run.settings, run.history.interventions(), run.born) if run.born else run.parent.settings
    if len(run.history) > run.born:
        after = settings_at(run.settings, run.history.interventions(), run.born + 1)
    else:
        after = run.control.settings
    said = [str(Intervention(0, *each)).partition(": ")[2] for each in before.differences(after)]
    return said[:_SAID] + ([f"{len(said) - _SAID} more"] if len(said) > _SAID else [])
