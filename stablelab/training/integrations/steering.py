"""What a trainer's learning rate, clipping and weight decay look like as knobs, and how they reach its optimizers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..knobs import Knobs
from ..records import Evaluation
from ..watched import Watched

_NOTED = ("initial_lr", "max_lr", "min_lr")  # what schedules note in a parameter group, beside its learning rate


def cannot(trainer: str) -> dict[str, str]:
    """Why the buttons that go back do not work."""
    back = f"{trainer} keeps no state to go back to; lab.fine_tune does"
    return {"reset": f"{trainer} trains once: make a new one to begin anew", "branch": back, "untouched": back}


class Groups:
    """The parameter groups of some optimizers, and what they and their schedules began with.

    As long as a knob stays where it began nothing is written, so that every number stays as it is.

    Args:
        optimizers: whose groups they are.
        schedulers: of torch; those inside them are found.
        learning_rate: where the knob began; that of the first group, before its schedule, if not given.

    Attributes:
        learning_rate: as given, or found.
    """

    def __init__(
        self, optimizers: Iterable[Any], schedulers: Iterable[Any], learning_rate: float | None = None
    ) -> None:
        self.groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        self._schedulers = [each for scheduler in schedulers for each in _with_inner(scheduler)]
        if learning_rate is None:
            learning_rate = float(self.groups[0].get("initial_lr", self.groups[0]["lr"]))
        self.learning_rate = self._first = learning_rate
        self._rate = learning_rate
        self._began = [{name: group[name] for name in _NOTED if name in group} for group in self.groups]
        self._full = [group.get("initial_lr", group["lr"]) for group in self.groups]  # where the schedule is at 1
        self._now = list(self._full)
        self._bases = [list(each.base_lrs) for each in self._schedulers]
        # Where none decays, the trainers that tell matrices from other parameters put the matrices first.
        decaying = [group for group in self.groups if group.get("weight_decay", 0.0)]
        self._decaying = decaying or [group for group in self.groups if "weight_decay" in group][:1]
        self._decay = self.weight_decay

    @property
    def weight_decay(self) -> float:
        """Of those that decay."""
        return float(self._decaying[0]["weight_decay"]) if self._decaying else 0.0

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """Of each group, as it stands."""
        return tuple(float(group["lr"]) for group in self.groups)

    def apply(self, learning_rate: float, weight_decay: float) -> None:
        """Let the next step use these; a schedule keeps its shape."""
        if learning_rate != self._rate:
            full = [self._scaled(each, learning_rate) for each in self._full]
            for group, began, before, after in zip(self.groups, self._began, self._now, full, strict=True):
                group["lr"] = after * (group["lr"] / before)  # as far as the schedule has come
                group.update({name: self._scaled(value, learning_rate) for name, value in began.items()})
            for scheduler, bases in zip(self._schedulers, self._bases, strict=True):
                scheduler.base_lrs = [self._scaled(base, learning_rate) for base in bases]
            self._rate, self._now = learning_rate, full
        if weight_decay != self._decay:
            for group in self._decaying:
                group["weight_decay"] = weight_decay
            self._decay = weight_decay

    def _scaled(self, base: float, learning_rate: float) -> float:
        return learning_rate if base == self._first else base * (learning_rate / self._first)


def _with_inner(scheduler: Any) -> Iterator[Any]:
    """The scheduler, what it wraps and what it is made of, as far as they have base learning rates."""
    if scheduler is None:
        return
    inner = getattr(scheduler, "scheduler", None)  # accelerate's wrapper
    if inner is not None:
        yield from _with_inner(inner)
        return
    if hasattr(scheduler, "base_lrs"):
        yield scheduler
    for each in getattr(scheduler, "_schedulers", ()):
        yield from _with_inner(each)


class TrainerRun(Watched):
    """A run of a trainer of another package.

    Args:
        trainer: what trains; its class gives the run its name in messages.
        model: what it trains: no other run may, at the same time.
        learning_rate, max_norm, weight_decay: where the knobs start.
        total_steps: see ``Watched``.
        name: what the run is called; as the model's class if not given.
        data: what the runs that are drawn beside each other have in common, beside the model.
    """

    def __init__(
        self,
        trainer: Any,
        model: Any,
        *,
        learning_rate: float,
        max_norm: float | None,
        weight_decay: float,
        total_steps: int | None = None,
        name: str | None = None,
        data: str = "",
    ) -> None:
        kind, of = type(trainer).__name__, type(model).__name__
        start = {"learning_rate": learning_rate, "max_norm": max_norm, "weight_decay": weight_decay}
        super().__init__(
            name or of,
            Knobs.of(start, kind),
            total_steps=total_steps,
            source=of,
            fingerprint=f"{kind} · {of} · {data}",
            cannot=cannot(f"this {kind}"),
            subject=model,
        )
        self.trainer = trainer
        self._claim_subject()

    def check_free(self) -> None:
        """Raise ValueError in one line where another run has the model, or the trainer has trained already."""
        super().check_free()
        if self.others():
            raise ValueError(f"{self.source} is watched already: start that run, or stop() it before you watch anew")
        if self.steps_before():
            kind, done = self.settings.label, self.steps_before()
            raise ValueError(f"this {kind} has trained {done} steps already, and its schedule with it: make a new one")

    def steps_before(self) -> int:
        """How many steps the trainer has done before this run, where there must be none."""
        return 0

    def _no_step(self) -> str:
        return "the Trainer ended without a step: its training data or its number of steps is empty"

    def corrects(self, **values: float) -> None:
        """What the knobs began with was not what the optimizers say: those that nobody moved show that from now on."""
        wrong = {name: value for name, value in values.items() if self.settings.values[name] != value}
        if wrong and len(self.history) == 0:
            moved = {name for name, *_ in self.settings.differences(self.control.settings)}
            corrected: dict[str, Any] = {name: value for name, value in wrong.items() if name not in moved}
            self.control.change(**corrected)
            self.settings = self._last = self.settings.replace(**wrong)
            self.version += 1

    def begins(self, total_steps: int | None) -> None:
        """Its length is known now."""
        if total_steps != self.total_steps:
            self.total_steps = total_steps
            self.version += 1  # so that what shows it looks again


def scores(metrics: Mapping[str, Any], step: int) -> Evaluation | None:
    """A validation from a trainer's metrics by name, of which some say ``loss`` and ``accuracy`` in theirs."""
    found: dict[str, float] = {}
    for name, value in metrics.items():
        for score in ("loss", "accuracy", "precision", "recall", "f1"):
            if score not in found and (
                name.lower().endswith(score) or (score == "accuracy" and name.lower().endswith("acc"))
            ):
                found[score] = float(value)
    return Evaluation(step, **found) if found else None
