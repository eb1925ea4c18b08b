"""A run of a loop that is not the workbook's: steered by knobs, recorded step by step, saved and loaded."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._files import reason_of, seal, unseal, write_atomically
from .._validation import whole
from .background import BorrowedThread, Driver
from .control import Control
from .history import History
from .knobs import Choice, Knob, Knobs, Slider, Switch, Whole
from .records import FINAL, Evaluation, Intervention, Step

_FORMAT, _KIND = 1, "watched run"
_KINDS = {kind.__name__: kind for kind in (Slider, Choice, Whole, Switch)}


class Stopped(BaseException):
    """Ends a learner's loop that is to stop. No ``except Exception`` catches it, every ``finally`` runs."""


class Watched(Driver):
    """A run of a loop that is not the workbook's: start, pause, step, resume, stop, wait; its history can be saved.

    Args:
        name: what it is called in charts.
        knobs: what can be changed while it trains.
        total_steps: how long it is; None where that is not known.
        source: what trains, for the status line.
        fingerprint: runs that have the same one are drawn beside each other.
        cannot: of each button that does not work the reason, in one line.
        subject: what only one run at a time may train: a function, or a model.

    Attributes:
        history: the steps, as they were recorded.
        control: ``run.control.change(learning_rate=1e-4)`` does what a slider does.
        settings: the values of the knobs at the first step.
        now: those of the step under way, read once when it begins, so that a step sees one value only.
    """

    def __init__(
        self,
        name: str,
        knobs: Knobs,
        *,
        total_steps: int | None = None,
        source: str = "",
        fingerprint: str = "",
        cannot: Mapping[str, str] | None = None,
        subject: object = None,
    ) -> None:
        super().__init__(name)
        self.total_steps = None if total_steps is None else whole("steps", total_steps, at_least=1)
        self._source, self._fingerprint, self.cannot = source or name, fingerprint or name, cannot or {}
        self.settings: Knobs = knobs
        self.subject = subject
        steered: Any = knobs
        self._get_ready(History(), Control(steered))
        self.now = knobs
        self._last = knobs  # of the step before
        self._cut = False  # whether it was ended before its time
        self._early: Evaluation | None = None  # a validation before the first step
        self._began = time.perf_counter()
        self._trouble = ""
        self._owner = 0  # the thread that trains

    # -- what the learner sees -------------------------------------------------------------------------------------

    @property
    def source(self) -> str:
        """What trains."""
        return self._source

    @property
    def fingerprint(self) -> str:
        """The same for runs that are drawn beside each other."""
        return self._fingerprint

    @property
    def trouble(self) -> str:
        """One line on something about the loop that the learner may want to mend; empty where there is nothing."""
        return self._trouble

    @property
    def message(self) -> str:
        """One line on how it stands."""
        if self.error is not None:
            return f"failed: {type(self.error).__name__}: {self.error}"
        of = "" if self.total_steps is None else f" of {self.total_steps}"
        if self.state == "ready":
            return "ready" if self.total_steps is None else f"ready: {self.total_steps} steps"
        return f"{self.state} at step {len(self.history)}{of if self.state != 'finished' else ''}"

    # -- what the loop says, in the thread that trains --------------------------------------------------------------

    def begin(self) -> bool:
        """The loop begins in this thread: waits while paused; whether to go on."""
        self._owner = threading.get_ident()
        return self.next_turn()

    def next_turn(self) -> bool:
        """Between two steps: waits while paused; whether to go on."""
        settings: Any = self.control.turn()
        if settings is None:
            self._cut = True
        else:
            self.now = settings
        self._began = time.perf_counter()
        return not self._cut

    def add_step(
        self,
        loss: float,
        *,
        gradient_norm: float = math.nan,
        learning_rates: tuple[float, ...] = (),
        max_norm: float | None = None,
        optimizer: str = "",
        epoch: float = math.nan,
        clip: str = "norm",
        scalars: Mapping[str, float] | None = None,
    ) -> None:
        """An optimizer step was done with the values of ``now``; the arguments are those of ``Step``."""
        done, used = len(self.history) + 1, self.now
        if done == 1:
            self.settings = self._last = used
        clipped = max_norm is not None and gradient_norm > max_norm
        step = Step(
            step=done,
            epoch=epoch,
            loss=loss,
            learning_rates=learning_rates,
            max_norm=max_norm,
            clip=clip,
            norm_before=gradient_norm,
            norm_after=max_norm if clipped and max_norm is not None else gradient_norm,
            clipped=clipped,
            examples_per_second=math.nan,
            tokens_per_second=None,
            seconds=time.perf_counter() - self._began,
            optimizer=optimizer or used.label,
            interventions=tuple(
                Intervention(done, *each, self.control.gesture_of(each[0])) for each in self._last.differences(used)
            ),
            evaluation=self._early,
            scalars=dict(scalars or {}),
        )
        self._last, self._early = used, None
        self._take(step)

    def add_evaluation(self, evaluation: Evaluation) -> None:
        """The model was scored as it stands."""
        if len(self.history):
            self.history.add_evaluation(evaluation)
        else:
            self._early = evaluation

    # -- in somebody else's thread ------------------------------------------------------------------------------------

    def attach(self) -> None:
        """Training begins in this very thread, by somebody else's doing; ``detach`` says when it is over."""
        self._need_unfinished("start")
        self._thread = BorrowedThread()
        self._started()

    def detach(self, error: BaseException | None = None) -> None:
        """Training in the thread that ``attach`` was called in is over."""
        if isinstance(self._thread, BorrowedThread) and self._thread.alive:
            self._over(error)
            self._thread.end()

    # -- on disk ---------------------------------------------------------------------------------------------------

    def save(self, file: str | os.PathLike[str]) -> str:
        """Write the history and what it takes to show it again, as JSON; ``load`` opens it.

        ``run.history.to_csv(file)`` writes a table.

        Raises:
            OSError: it cannot be written; a file that was there stays as it was.
        """
        knobs = {name: {"kind": type(knob).__name__, **vars(knob)} for name, knob in self.settings.knobs.items()}
        values = {
            "kind": _KIND,
            "name": self.name,
            "source": self.source,
            "fingerprint": self.fingerprint,
            "total_steps": self.total_steps,
            "state": self.state,
            "label": self.settings.label,
            "knobs": knobs,
            "values": self.settings.to_dict(),
            "latest": self.control.settings.to_dict(),
            "history": [step.to_dict() for step in self.history],
        }
        sealed = seal(_FORMAT, json.loads(json.dumps(values, default=str)))  # a list may offer what JSON does not know
        target = Path(file).expanduser()
        write_atomically(target, json.dumps(sealed))
        return str(target)

    @classmethod
    def load(cls, file: str | os.PathLike[str]) -> Watched:
        """What ``save`` wrote: a run that is over, to be shown, compared with and exported.

        Raises:
            FileNotFoundError: in one line, where there is none.
            ValueError: in one line, where it is something else, or damaged.
        """
        path = Path(file).expanduser()
        try:
            about = unseal(_FORMAT, path.read_bytes(), "it")
            if about["kind"] != _KIND:
                raise ValueError("it holds something else")
            knobs = Knobs({name: _knob_from(each) for name, each in about["knobs"].items()}, about["values"])
            run = Watched(
                about["name"],
                Knobs(knobs.knobs, knobs.values, about["label"]),
                total_steps=about["total_steps"],
                source=about["source"],
                fingerprint=about["fingerprint"],
                cannot=dict.fromkeys(("reset", "branch", "untouched"), "only its history was saved"),
            )
            run.history = History(tuple(map(Step.from_dict, about["history"])))
            run.control.change(**about["latest"])
        except FileNotFoundError:
            raise FileNotFoundError(f"there is no file {str(path)!r}") from None
        except OSError as error:
            raise ValueError(f"{str(path)!r} cannot be read: {reason_of(error)}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{str(path)!r} is not a watched run that was saved, or is damaged: {error}") from error
        run._end(about["state"] if about["state"] in FINAL else "stopped")
        return run

    # -- what the driver asks --------------------------------------------------------------------------------------

    def _loop(self) -> None:
        """Train, in this thread; a loop that is asked to stop may raise ``Stopped``."""
        raise NotImplementedError

    def _no_step(self) -> str:
        """What to say of a loop that ended by itself and did no step."""
        raise NotImplementedError

    def _work(self) -> None:
        try:
            self._loop()
        except Stopped:
            return
        if not len(self.history) and not self._cut:
            raise ValueError(self._no_step())

    def _complete(self) -> bool:
        return not self._cut

    def _after(self, step: Step) -> bool:
        return False  # whether to go on where the loss is not finite is for the loop to say

    def _keep(self, end: str | None = None) -> None:
        """Nothing is kept but the history."""

    def _need_unfinished(self, what: str) -> None:
        if self._ended is not None:
            raise ValueError(f"cannot {what}: the run is over ({self._ended}); watch it anew")


def _knob_from(values: dict[str, Any]) -> Knob:
    """The knob that ``save`` wrote."""
    kind: Any = _KINDS[values["kind"]]
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k != "kind"})
