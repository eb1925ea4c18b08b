"""The learner's own training loop: a plain function that is handed its knobs, and where to put what came of them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from typing import Any

from .._validation import did_you_mean
from .knobs import Knobs
from .records import Evaluation
from .watched import Stopped, Watched


class OwnLoop(Watched):
    """A plain function with a plain PyTorch loop.

    Args:
        train: called as ``train(live, *arguments)``, in a thread of its own.
        arguments: what it is called with besides.
        knobs: by name, where each starts; see ``knob``.
        total_steps: how many times it will call ``live.record``, if that is known.
        name: what the run is called; as the function if not given.

    Raises:
        ValueError: in one line, where ``train`` cannot be called, a knob cannot be steered or its name is taken.
    """

    def __init__(
        self,
        train: Callable[..., object],
        arguments: tuple[Any, ...] = (),
        knobs: Mapping[str, Any] | None = None,
        *,
        total_steps: int | None = None,
        name: str | None = None,
    ) -> None:
        for each in knobs or {}:
            if hasattr(Live, each) or each.startswith("_"):
                taken = ", ".join(known for known in dir(Live) if not known.startswith("_"))
                raise ValueError(f"a knob cannot be called {each!r}: live has {taken} already; give it another name")
        called = getattr(train, "__name__", type(train).__name__)
        where = getattr(train, "__module__", None) or "", getattr(train, "__qualname__", called)
        super().__init__(
            name or called,
            Knobs.of(knobs or {}),
            total_steps=total_steps,
            source=f"{called}()",
            fingerprint=".".join(where),
            cannot={
                "reset": "this loop is your own: run its cell again to begin anew",
                "branch": "this loop is your own, and keeps no state to go back to; lab.fine_tune does",
                "untouched": "this loop is your own, and keeps no state to go back to; lab.fine_tune does",
            },
            subject=train,
        )
        self._train_function, self._arguments = train, arguments
        self._claim_subject()

    def _loop(self) -> None:
        if self.begin():
            self._train_function(Live(self), *self._arguments)

    def _no_step(self) -> str:
        return f"{self.source} ended without a step: call live.record(loss=...) after each optimizer step"

    def record(self, loss: Any, norm: Any, rate: Any, limit: Any, scalars: Mapping[str, Any]) -> None:
        """See ``Live.record``."""
        self._check_thread("record")
        if loss is None:
            raise ValueError("live.record got no loss: give it the number that training lowers, live.record(loss=loss)")
        if getattr(loss, "requires_grad", False) and not self._trouble:
            self._trouble = "the recorded loss still held its graph: it was detached; loss.item() lets go of it sooner"
        used = self.now.values
        limit = used.get("max_norm") if limit is None else limit
        rate = used.get("learning_rate") if rate is None else rate
        self.add_step(
            as_number("loss", loss),
            gradient_norm=math.nan if norm is None else as_number("gradient_norm", norm),
            learning_rates=() if rate is None else (as_number("learning_rate", rate),),
            max_norm=None if limit is None else as_number("max_norm", limit),
            scalars={name: as_number(name, value) for name, value in scalars.items()},
        )
        if not self.next_turn():
            raise Stopped

    def evaluate(self, scores: Mapping[str, Any]) -> None:
        """See ``Live.evaluate``."""
        self._check_thread("evaluate")
        known = {name: as_number(name, value) for name, value in scores.items() if value is not None}
        if not known:
            raise ValueError("live.evaluate got no number: give it loss=..., accuracy=... or both")
        self.add_evaluation(Evaluation(len(self.history), **known))

    def _check_thread(self, what: str) -> None:
        if threading.get_ident() != self._owner:
            thread = threading.current_thread().name
            raise RuntimeError(f"live.{what} was called in the thread {thread!r}; only the one that trains may call it")
        if self._ended is not None:
            raise RuntimeError(f"live.{what} was called after the run was over ({self._ended})")


class Live:
    """What a watched function is handed: its knobs by name, and where it puts what came of them.

    ``live.learning_rate`` is the value of the knob ``learning_rate``. All knobs are read once, when a step begins, and
    stay what they are until ``record`` ends it.
    """

    __slots__ = ("_run",)

    def __init__(self, run: OwnLoop) -> None:
        object.__setattr__(self, "_run", run)

    def __getattr__(self, name: str) -> Any:
        values = object.__getattribute__(self, "_run").now.values
        if name in values:
            return values[name]
        hint = did_you_mean(name, values) if values else "it was given none"
        raise AttributeError(f"live has no knob {name!r}; {hint}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"live.{name} cannot be set in the loop: its slider moves it, or run.control.change")

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *self._run.now.values})

    @property
    def step(self) -> int:
        """How many steps were recorded so far."""
        return len(self._run.history)

    def record(
        self,
        loss: Any = None,
        *,
        gradient_norm: Any = None,
        learning_rate: Any = None,
        max_norm: Any = None,
        **scalars: Any,
    ) -> None:
        """End a step: it is drawn. Waits here while the run is paused, and ends the loop here when it is stopped.

        Args:
            loss: of this step's batch: a number, or a tensor that holds one.
            gradient_norm: before clipping.
            learning_rate: that was used; the knob of that name if not given.
            max_norm: the clip threshold that was used; the knob of that name if not given.
            **scalars: further numbers by name, such as ``sharpness``: each gets a panel of its own.

        Raises:
            ValueError: in one line, where one of these is not a number, or there is no loss.
            RuntimeError: it was called in another thread than the one that trains.
        """
        self._run.record(loss, gradient_norm, learning_rate, max_norm, scalars)

    def evaluate(
        self, loss: Any = None, accuracy: Any = None, *, precision: Any = None, recall: Any = None, f1: Any = None
    ) -> None:
        """Add a validation after the step that was recorded last.

        Args:
            loss: on the validation split.
            accuracy: in [0, 1], as are those that follow.
            precision: mean over the classes, as are those that follow.
            recall: as they are.
            f1: as they are.

        Raises:
            ValueError: in one line, where one of these is not a number, or there is none.
            RuntimeError: it was called in another thread than the one that trains.
        """
        self._run.evaluate({"loss": loss, "accuracy": accuracy, "precision": precision, "recall": recall, "f1": f1})


def as_number(name: str, value: Any) -> float:
    """A number, or a tensor or an array that holds one, as a float; raises ValueError in one line for anything else."""
    try:
        if getattr(value, "requires_grad", False):
            value = value.detach()
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        shape = getattr(value, "shape", None)
        given = repr(value) if shape is None else f"a {type(value).__name__} of shape {tuple(shape)}"
        raise ValueError(f"{name} is {given}; record one number, such as {name}.mean()") from None
