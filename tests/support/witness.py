"""What goes on in a kernel while a page steers it, written down beside the workbook's own records, and compared."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import traceback
import weakref
from typing import Any

from ipywidgets.widgets.widget import _instances

from stablelab._formatting import format_number
from stablelab.training.background import Driver
from stablelab.training.control import Control
from stablelab.widgets.dashboard import Dashboard, _open, end_family
from stablelab.widgets.family import family_of
from stablelab.widgets.inputs import ChoiceInput, NumberInput, SwitchInput

from .helpers import threads_of_ours, until


class Witness:
    """From now on every control keeps what was published and what each step was handed.

    Attributes:
        published: all values that a setting was ever given by hand, by its name.
        errors: exceptions that nobody caught, and what was logged as an error or a warning.
    """

    def __init__(self) -> None:
        self.published: dict[str, list[Any]] = {}
        self.errors: list[str] = []
        self._widgets = set(_instances)
        self._runs: list[weakref.ref[Any]] = []
        self._watch_controls()
        self._watch_errors()

    def differences(self, board: Dashboard) -> list[str]:
        """Where the history of a run, or of another one of its family, is not what its control says."""
        return [each for run in family_of(board.run) for each in history_against_control(run)]

    def stand(self, board: Dashboard) -> dict[str, Any]:
        """What the page has to show of the run that is shown, and what went wrong in it."""
        run = board.run
        gestures = run.history.gestures()
        trouble = [f"{each.name}: {each.error!r}" for each in family_of(run) if each.error is not None]
        return {
            "state": run.state,
            "length": len(run.history),
            "marks": len(gestures) + sum(step.diverged for step in run.history),
            "newest": str(gestures[-1]) if gestures else "",
            "inputs": inputs_to_show(board),
            "note": board._note,
            "trouble": trouble,
        }

    def end(self, boards: list[Dashboard]) -> dict[str, Any]:
        """Stop and close all of it; what is still there afterwards. Delete the names of runs and boards before."""
        while boards:
            board = boards.pop()
            end_family(family_of(board.run)[0])
            board.close()
        del board
        until(lambda: not threads_of_ours())
        until(lambda: gc.collect() >= 0 and not self.alive())
        widgets = [each for key, each in _instances.items() if key not in self._widgets]
        return {"runs": self.alive(), "widgets": [repr(each) for each in widgets], "threads": threads_of_ours()}

    def alive(self) -> list[str]:
        """The names of the runs that are still held by somebody."""
        return [run.name for each in self._runs if (run := each()) is not None]

    def _watch_controls(self) -> None:
        publish, turn, get_ready = Control._publish, Control.turn, Driver._get_ready
        witness = self

        def published(control: Any, settings: Any, gesture: Any) -> None:
            before = control.settings
            publish(control, settings, gesture)
            kept = vars(control).setdefault("kept", [(-1, before)])
            kept.append((len(vars(control).setdefault("handed", [])), settings))
            for name, _, new in before.differences(settings):
                witness.published.setdefault(name, []).append(new)

        def turned(control: Any) -> Any:
            settings = turn(control)
            vars(control).setdefault("handed", []).append(settings)
            return settings

        def got_ready(run: Any, *rest: Any) -> None:
            witness._runs.append(weakref.ref(run))
            get_ready(run, *rest)

        Control._publish, Control.turn, Driver._get_ready = published, turned, got_ready  # type: ignore[method-assign]

    def _watch_errors(self) -> None:
        errors = self.errors

        def noted(what: Any) -> None:
            errors.append("".join(traceback.format_exception(what.exc_type, what.exc_value, what.exc_traceback)))

        class Listener(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                errors.append(f"{record.name}: {record.getMessage()} {record.exc_text or record.exc_info or ''}")

        threading.excepthook, sys.unraisablehook = noted, noted
        for name in (None, "traitlets", "ipykernel", "comm"):
            logging.getLogger(name).addHandler(Listener(logging.WARNING))


def board_of(run: Any) -> Dashboard:
    """The dashboard that shows this run or another one of its family."""
    return next(board for board in _open if any(each is run for each in family_of(board.run)))


def history_against_control(run: Any) -> list[str]:
    """Where a run's history is not what was published to its control: each step has to use the latest settings."""
    wrong = []
    handed, kept = vars(run.control).get("handed", []), vars(run.control).get("kept", [])
    steps = run.history.since(run.born)
    latest = 0
    for j, (settings, step) in enumerate(zip(handed, steps, strict=False)):  # one may be waiting for its step
        where = f"{run.name}, step {step.step}"
        if kept:
            # What was published before the turn before this one had been handed over has to be there by now.
            due = max(i for i, (turns, _) in enumerate(kept) if turns < j or i == 0)
            found = [i for i in range(max(due, latest), len(kept)) if kept[i][1] == settings]
            if not found:
                wrong.append(f"{where}: was handed {settings}, published was {kept[due][1]}")
                break
            latest = found[0]
        wrong += [f"{where}: {each}" for each in step_against_settings(step, settings)]
        if j:
            changes = [(e.name, e.old, e.new) for e in step.interventions]
            if changes != list(handed[j - 1].differences(settings)):
                wrong.append(f"{where}: {changes} in the history, {handed[j - 1].differences(settings)} was changed")
    return wrong[:5]


def step_against_settings(step: Any, settings: Any) -> list[str]:
    """Where a step did not use the settings it was handed."""
    values, wrong = settings.to_dict(), []
    constant = values.get("schedule", "constant") == "constant" and not values.get("warmup_steps")
    rate = step.learning_rates[0] if step.learning_rates else None
    if constant and not step.diverged and rate != values["learning_rate"]:
        wrong.append(f"learning rate {rate}, set was {values['learning_rate']}")
    if step.max_norm != values["max_norm"]:
        wrong.append(f"clip threshold {step.max_norm}, set was {values['max_norm']}")
    return wrong


def inputs_to_show(board: Dashboard) -> dict[str, Any]:
    """What each input on the page has to show, from the settings that the next step will use; by its CSS class."""
    settings, shown = board.run.control.settings, {}
    for name, each in board.controls.inputs.items():
        value = getattr(settings, name)
        if isinstance(each, NumberInput):
            off = each._absent is not None and value == each._absent[0]
            if each.switch is not None:
                shown[each.switch._dom_classes[0]] = not off
            if not off:
                shown[each.field._dom_classes[0]] = format_number(value)
        elif isinstance(each, ChoiceInput):
            value = each._count(value) if hasattr(each, "_count") else value
            labels = {of: label for label, of in each.dropdown.options}
            shown[each.dropdown._dom_classes[0]] = labels[value]
        elif isinstance(each, SwitchInput):
            shown[each.tick._dom_classes[0]] = value
        else:
            shown[each.field._dom_classes[0]] = str(value)
    return shown
