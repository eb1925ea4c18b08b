"""From a history to columns of numbers, and which of them the live chart and the pictures draw in which panel."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..training.history import History
from ..training.records import Evaluation, Gesture, Intervention, Step, gestures_in


@dataclass(frozen=True)
class Column:
    """A column of ``CurveData.rows`` or ``CurveData.evaluations``.

    Attributes:
        name: of the column in Python, in messages to the page, and in the script of the chart.
        label: what a reader is shown.
        unit: of its numbers; empty where they have none.
    """

    name: str
    label: str
    unit: str = ""


@dataclass(frozen=True)
class Panel:
    """A panel of the chart.

    Attributes:
        name: of the panel.
        title: what stands above it, with the unit.
        columns: names of the columns of each step that are drawn in it, in the order of drawing.
        earlier: name of the one that is drawn of earlier runs.
        evaluations: names of the columns of each validation that are drawn in it.
        log: whether its axis is logarithmic at first.
        from_zero: whether its axis, where it is linear, begins at 0.
        stepped: whether a value holds until the next step, as that of a setting does.
        gaps: whether a step without a number breaks the curve; else it goes on to the next number there is.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    earlier: str
    evaluations: tuple[str, ...] = ()
    log: bool = False
    from_zero: bool = False
    stepped: bool = False
    gaps: bool = True


COLUMNS = (
    Column("step", "step"),
    Column("loss", "training loss", "nats"),
    Column("smooth", "smoothed", "nats"),
    Column("norm_before", "‖g‖ before clipping"),
    Column("norm_after", "‖g‖ after"),
    Column("max_norm", "clip threshold"),
    Column("learning_rate", "learning rate"),
    Column("clipped", "clipped"),
)
EVALUATION_COLUMNS = (
    Column("step", "step"),
    Column("loss", "validation loss", "nats"),
    Column("accuracy", "accuracy"),
)
PANELS = (
    Panel("loss", "loss (nats)", ("loss", "smooth"), "smooth", evaluations=("loss",)),
    Panel("norm", "gradient norm ‖g‖", ("norm_before", "norm_after", "max_norm"), "norm_before", log=True),
    Panel("rate", "learning rate", ("learning_rate",), "learning_rate", from_zero=True, stepped=True),
)
LIMIT = 4000  # points of a curve; about twice the pixels of a wide chart, and 128 kB on the wire
MOST_LIMIT = 4 * LIMIT  # of all curves together
INDEX = {column.name: i for i, column in enumerate(COLUMNS)}  # of a column in ``CurveData.rows``
_LENGTH = 400  # steps of a run, where they are not known, as far as the running mean is concerned
_BUMPY = (INDEX["loss"], INDEX["norm_before"])
_SCALAR = "scalar: "  # in front of the name of a further scalar, so that one called "loss" has a column of its own


def chart_layout(data: CurveData) -> dict[str, Any]:
    """The columns and the panels as plain JSON values, for the script that draws them in the page.

    ``smoothing`` is how many steps the smoothed curve looks back.
    """
    return {
        "columns": [asdict(column) for column in data.columns],
        "evaluation_columns": [asdict(column) for column in EVALUATION_COLUMNS],
        "panels": [asdict(panel) for panel in data.panels],
        "smoothing": data.smoothing,
    }


class CurveData:
    """The columns of a history, read as it grows, and the panels they are drawn in.

    There is a panel for what was recorded, and none for what never was. As long as nothing is known there are the three
    of every run, so that the first points move nothing. A scalar that is recorded for the first time becomes the last
    column and the last panel, and ``layout`` another number. Not thread-safe: each reader has its own.

    Args:
        history: of a run.
        total_steps: planned length of the run; sets how far the running mean looks back. None where it has no end.
        branched_at: how many steps are those of the run that this one is a branch of; 0 for none.

    Attributes:
        history, total_steps, branched_at: as given.
        marks: of changes by hand and divergences, dicts with ``step``, ``kind``, ``text``.
        interventions: the changes by hand as records; gestures: those of one gesture folded into one.
        clipped: how many steps were clipped so far.
        last: the newest step's numbers in full precision, non-finite ones as None.
        layout: grows whenever there are other columns or panels.
    """

    def __init__(self, history: History, total_steps: int | None = None, branched_at: int = 0) -> None:
        self.history = history
        self.total_steps, self.branched_at = total_steps, branched_at
        self.marks: list[dict[str, Any]] = []
        self.interventions: list[Intervention] = []
        self.gestures: tuple[Gesture, ...] = ()
        self._diverged: list[dict[str, Any]] = []
        self.clipped = 0
        self.last: dict[str, Any] | None = None
        self.layout = 0
        self._scalars: list[str] = []  # in the order first seen
        self._recorded: set[str] = set()  # names of the panels whose numbers were recorded at least once
        self._judged = False  # whether a step says which panels there are: one that diverged may lack any number
        self._scored = False  # whether the newest step had its validation
        self._mean = RunningMean(total_steps or _LENGTH)
        self._rows = _Table(len(COLUMNS))
        self._evaluations = _Table(len(EVALUATION_COLUMNS))

    def update(self) -> int:
        """Take in what the history has gained; returns how many steps that was."""
        panels = self.panels
        new = list(self.history.since(max(0, len(self._rows) - 1)))
        if len(self._rows):  # a validation may have joined the step that was the newest one at the last look
            before, *new = new
            if before.evaluation is not None and not self._scored:
                self._score(before.evaluation)
        for step in new:
            self._take(step)
        if new:
            self.last = _numbers(new[-1])
        self.layout += self.panels != panels
        return len(new)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> np.ndarray:
        """(N, 8 + further scalars) float32, columns as in ``columns``.

        NaN where there is no number: ``max_norm`` and ``norm_after`` where clipping is off, a scalar at the steps at
        which it was not recorded.
        """
        return self._rows.view

    @property
    def evaluations(self) -> np.ndarray:
        """(M, 3) float32, columns as in EVALUATION_COLUMNS."""
        return self._evaluations.view

    @property
    def smoothing(self) -> float:
        """How many steps the running mean looks back."""
        return 1 / (1 - self._mean.beta)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Of ``rows``: those of every run, then one for each further scalar."""
        return (*COLUMNS, *(Column(_SCALAR + name, name) for name in self._scalars))

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Loss, gradient norm and learning rate, as far as they were recorded; then one for each further scalar."""
        known = (panel for panel in PANELS if panel.name in self._recorded or not self._judged)
        further = ((_SCALAR + name, name) for name in self._scalars)
        return (*known, *(Panel(column, name, (column,), column, gaps=False) for column, name in further))

    def thinned_out(self, limit: int = LIMIT, first: int = 0) -> np.ndarray:
        """Indices of the rows to keep of a long history; see ``decimate``. More of them where there are more curves.

        Args:
            limit: the most of them, as long as there are no further scalars.
            first: of the rows from this one on; index 0 is that row.
        """
        columns = (*_BUMPY, *range(len(COLUMNS), len(self.columns)))
        return decimate(self.rows[first:], min(limit * len(columns) // len(_BUMPY), MOST_LIMIT), columns)

    def _take(self, step: Step) -> None:
        limit = math.nan if step.max_norm is None else step.max_norm
        smooth = self._mean.add(step.loss)
        rate = step.learning_rates[0] if step.learning_rates else math.nan
        after = math.nan if step.max_norm is None else step.norm_after
        new = [name for name in step.scalars if name not in self._scalars]
        if new:
            self._scalars += new
            self._rows.widen(len(new))
        further = (step.scalars.get(name, math.nan) for name in self._scalars)
        self._rows.add((step.step, step.loss, smooth, step.norm_before, after, limit, rate, step.clipped, *further))
        self._judge(step)
        self.clipped += step.clipped
        self._scored = False
        if step.evaluation is not None:
            self._score(step.evaluation)
        if step.diverged:
            self._diverged.append({"step": step.step, "kind": "diverged", "text": f"step {step.step}: diverged"})
        if step.interventions:
            self.interventions += step.interventions
            self.gestures = gestures_in(self.interventions)
        if step.interventions or step.diverged:
            by_hand = ({"step": each.first, "kind": each.changes[0][0], "text": str(each)} for each in self.gestures)
            self.marks = sorted([*by_hand, *self._diverged], key=lambda mark: mark["step"])

    def _score(self, evaluation: Evaluation) -> None:
        self._evaluations.add((evaluation.step, evaluation.loss, evaluation.accuracy))
        self._scored = True

    def _judge(self, step: Step) -> None:
        """Note which panels this step has numbers for."""
        there = {"loss": True, "norm": not math.isnan(step.norm_before), "rate": bool(step.learning_rates)}
        self._recorded.update(name for name, is_there in there.items() if is_there)
        self._judged = self._judged or not step.diverged


class RunningMean:
    """Exponentially weighted mean without the pull of its start (Kingma & Ba 2015, eq. 3 of section 3, on the loss).

    Args:
        total_steps: length of the run; the mean looks back about a 50th of it, between 8 and 30 steps.
    """

    def __init__(self, total_steps: int) -> None:
        self.beta = 1 - 1 / min(30, max(8, total_steps / 50))
        self._sum = 0.0
        self._weight = 0.0

    def add(self, value: float) -> float:
        """The mean with this value in it; a non-finite value is left out and the mean stays (NaN before any value)."""
        if math.isfinite(value):
            self._sum = self.beta * self._sum + (1 - self.beta) * value
            self._weight = self.beta * self._weight + (1 - self.beta)
        return self._sum / self._weight if self._weight else math.nan


def decimate(rows: np.ndarray, limit: int = LIMIT, columns: Sequence[int] = (1, 3)) -> np.ndarray:
    """Indices of the rows of a long curve to keep so that it looks the same: every bump of these columns survives.

    The rows are cut into equal stretches; of each, the rows that hold the smallest and the largest value of each column
    stay, as do the very first and the very last row.

    Args:
        rows: (N, C), oldest first; NaN where there is no value.
        limit: the most indices that come back, at least 2 + 2 per column.
        columns: which columns' bumps count.

    Returns:
        Ascending indices (K,), K ≤ limit; all N of them where N ≤ limit.

    Raises:
        ValueError: where the limit is too small to hold one stretch.
    """
    least = 2 + 2 * len(columns)
    if limit < least:
        raise ValueError(f"limit is {limit}; it must be at least {least} to keep the bumps of {len(columns)} columns")
    count = len(rows)
    if count <= limit:
        return np.arange(count)
    stretches = (limit - 2) // (2 * len(columns))
    edges = np.linspace(0, count, stretches + 1).astype(np.int64)
    chosen = [np.array([0, count - 1])]
    for column in columns:
        chosen += _bumps(rows[:, column], edges)
    return np.unique(np.concatenate(chosen))


class _Table:
    """float32 rows that grow at the end without copying each time."""

    def __init__(self, columns: int) -> None:
        self._values = np.empty((256, columns), dtype=np.float32)
        self._count = 0

    def widen(self, columns: int) -> None:
        """So many columns more, NaN so far."""
        more = np.full((len(self._values), columns), np.nan, dtype=np.float32)
        self._values = np.concatenate([self._values, more], axis=1)

    def add(self, row: Iterable[float]) -> None:
        if self._count == len(self._values):
            self._values = np.concatenate([self._values, np.empty_like(self._values)])
        self._values[self._count] = row  # type: ignore[call-overload]
        self._count += 1

    def __len__(self) -> int:
        return self._count

    @property
    def view(self) -> np.ndarray:
        return self._values[: self._count]


def _numbers(step: Step) -> dict[str, Any]:
    """The newest step in full precision, for the readers of the page."""
    rate = step.learning_rates[0] if step.learning_rates else None
    values = {"step": step.step, "learning_rate": rate, "loss": step.loss, "max_norm": step.max_norm}
    return {name: value if value is None or math.isfinite(value) else None for name, value in values.items()}


def _bumps(values: np.ndarray, edges: np.ndarray) -> list[np.ndarray]:
    """Per stretch, the index of its smallest and of its largest finite value (its first row where there is none)."""
    finite = np.isfinite(values)
    low, high = np.where(finite, values, np.inf), np.where(finite, values, -np.inf)
    pairs = list(itertools.pairwise(edges))
    lowest = np.array([a + int(np.argmin(low[a:b])) for a, b in pairs])
    highest = np.array([a + int(np.argmax(high[a:b])) for a, b in pairs])
    return [lowest, highest]
