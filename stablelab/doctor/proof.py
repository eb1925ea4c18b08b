"""Did the cure do it? Pairs of short branches from one checkpoint, with it and without, over orders of batches."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._formatting import format_number, format_setting, setting_label
from ..training.background import Driver
from ..training.checkpoints import Checkpoint
from ..training.control import Control
from ..training.history import settings_at
from ..training.loop import TrainingLoop
from ..training.reproducibility import one_step_at_a_time
from ..training.run import Run
from ..training.runaway import TIMES
from ..training.settings import Settings
from .cures import why_not_applied
from .findings import Finding

PAIRS = 6  # orders of batches, each with the cure and without
STEPS = 30  # of a branch
SMOOTHED = 10  # its last losses, whose mean is what counts
HARDLY = 0.01  # of the loss: a difference below that is real, but does not matter
BEFORE = 5  # steps that rules smooth a loss over: by the first step that they name the trouble is so old
FEWEST_STEPS = 10  # that a run must have room for
LEVEL = 0.95
_NOT_SEEN = {"early_stopping"}  # settings that act on validations, which short branches do not have


class Cancelled(Exception):  # noqa: N818
    """It was to stop before it was done."""


@dataclass(frozen=True)
class Proof:
    """How far the losses at the end of pairs of branches are apart: without the cure less with it.

    Args:
        step: steps done at the checkpoint that all branches begin from.
        steps: of each branch.
        changes: the cure, by the names of settings.
        without, cured: (N,) of each order of batches the mean of the last losses of its two branches.
        mean, low, high: of the differences, and its 95 % interval (Student's t over the orders).
    """

    step: int
    steps: int
    changes: Mapping[str, Any]
    without: tuple[float, ...]
    cured: tuple[float, ...]
    mean: float
    low: float
    high: float

    @property
    def proved(self) -> bool:
        """Whether the loss is lower with the cure, beyond what another order does, and by more than next to nothing."""
        return self.low > 0 and not self._small

    @property
    def _small(self) -> bool:
        return abs(self.mean) < HARDLY * float(np.mean(self.without))

    def __str__(self) -> str:
        cure = ", ".join(f"{setting_label(name)} {format_setting(name, value)}" for name, value in self.changes.items())
        if self.low <= 0 <= self.high:
            verdict = "not proved"
        else:
            verdict = "the cure helps" if self.low > 0 else "the cure makes it worse"
            verdict += ", but next to nothing" if self._small else ""
        where = f"{self.steps} steps from step {self.step} with {cure}"
        return (
            f"{verdict}: {where} end {format_number(abs(self.mean))} {'lower' if self.mean >= 0 else 'higher'} than "
            f"without, 95 % interval {format_number(self.low)} to {format_number(self.high)} over {len(self.cured)} "
            f"orders of the batches (loss {format_number(float(np.mean(self.cured)))} against "
            f"{format_number(float(np.mean(self.without)))})"
        )


def why_not_proved(run: Driver, finding: Finding) -> str:
    """Why the cure of a finding cannot be tried on branches of this run, in one line; empty where it can."""
    if not isinstance(run, Run):
        return run.cannot.get("branch", "this kind of run keeps no state to go back to")
    if not finding.changes:
        return why_not_applied(finding)
    if set(finding.changes) <= _NOT_SEEN:
        return "it acts on validations: branches of a few steps cannot show it"
    if run.total_steps is not None and run.total_steps < FEWEST_STEPS:
        return f"the run has {run.total_steps} steps only"
    if _checkpoint(run, finding) is None:
        return "no checkpoint of before is left to begin from"
    return ""


def prove(
    run: Run,
    finding: Finding,
    *,
    at: int | None = None,
    pairs: int = PAIRS,
    steps: int = STEPS,
    progress: Callable[[int, int], object] = lambda done, of: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Proof:
    """Train short branches of a run from before the trouble, with the cure and without, and compare their losses.

    The two of a pair see the same batches and the same dropout; from pair to pair the order of the batches changes, as
    it might have been another one. A loss above ten times that of the start counts as that (``training.runaway``), and
    so does one that is not finite. The run itself is not touched, and may train on meanwhile.

    Args:
        run: that the finding is about.
        finding: with ``changes``.
        at: the step whose settings are those without the cure; the last one that the finding concerns if not given.
        pairs: how many orders of batches, 2 or more.
        steps: of each branch, at most; fewer where the run ends before.
        progress: called with the branches that are done, and of how many.
        cancelled: asked after each step; true ends it.

    Raises:
        ValueError: in one line, where it cannot be tried.
        Cancelled: it was cancelled.
    """
    why = why_not_proved(run, finding)
    start = None if why else _checkpoint(run, finding)
    if start is None:
        raise ValueError(f"cannot prove it: {why}")
    before = settings_at(run.settings, run.history.interventions(), finding.steps[1] if at is None else at)
    arms = (before, before.replace(**finding.changes))
    with one_step_at_a_time:  # no update may fall between two tensors
        model = copy.deepcopy(run.trains)
    trained = {id(p) for p in run.trained_parameters()}
    for ours, theirs in zip(model.parameters(), run.trains.parameters(), strict=True):
        ours.requires_grad_(id(theirs) in trained)
    end = start.step + steps if run.total_steps is None else min(start.step + steps, run.total_steps)
    losses: list[list[float]] = []
    for pair in range(pairs):
        seed = run.seed + 1 + pair
        for arm, settings in enumerate(arms):
            progress(2 * pair + arm, 2 * pairs)
            losses.append(_branch(run, model, start, settings, seed, end, cancelled))
    firsts = (each[0] for each in losses if math.isfinite(each[0]))
    limit = TIMES * max(math.log(max(2, len(run.task.classes))), *firsts)
    ends = [_end_of(each, end - start.step, limit) for each in losses]
    return _judged(start.step, end - start.step, finding.changes, ends[::2], ends[1::2])


def _checkpoint(run: Run, finding: Finding) -> Checkpoint | None:
    """The newest from before what was seen, and early enough for branches to have their steps."""
    latest = max(0, finding.steps[0] - 1 - BEFORE)
    if run.total_steps is not None:
        latest = min(latest, max(0, run.total_steps - STEPS))
    return run.checkpoints.at_or_before(latest)


def _branch(
    run: Run,
    model: Any,
    start: Checkpoint,
    settings: Settings,
    seed: int,
    end: int,
    cancelled: Callable[[], bool],
) -> list[float]:
    """The losses of the steps from a checkpoint on, in the order of batches of another seed."""
    loop = TrainingLoop(
        model,
        run.task.batches(seed, run.batch_size),
        run.loss,
        total_steps=run.total_steps,
        seed=seed,
        layers=run.layers,
        augment=run.augment,
    )
    loop.restore(start)
    loop.go_on()
    found = []
    for step in loop.steps(Control(settings), until=end):
        found.append(math.inf if step.diverged else step.loss)
        if step.diverged:
            break
        if cancelled():
            raise Cancelled
    return found


def _end_of(losses: list[float], steps: int, limit: float) -> float:
    if len(losses) < steps or not math.isfinite(losses[-1]):
        return limit
    return min(limit, float(np.mean(losses[-min(SMOOTHED, steps) :])))


def _judged(step: int, steps: int, changes: Mapping[str, Any], without: list[float], cured: list[float]) -> Proof:
    """The mean of the paired differences, and Student's interval of it."""
    from scipy.special import stdtrit

    apart = np.array(without) - np.array(cured)
    mean = float(apart.mean())
    half = float(stdtrit(len(apart) - 1, (1 + LEVEL) / 2)) * float(apart.std(ddof=1)) / math.sqrt(len(apart))
    return Proof(step, steps, dict(changes), tuple(without), tuple(cured), mean, mean - half, mean + half)
