"""The numbers of a stability report: each measured on the runs of one setting, with its interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._formatting import format_number
from ..plots.sweep_tables import Group, groups, spaced
from ..stability import spread
from ..stability.calibration import reliability
from ..stability.churn import churn
from ..stability.estimates import Estimate
from ..stability.lr_sensitivity import learning_rate_sensitivity
from ..stability.spread import failed_rate
from ..stability.sweeps.results import Results
from ..stability.sweeps.trial import Outcome, Trial
from ..stability.training_curves import clipped_share, median_steps_to_loss, sharpness_against
from ..stability.variance_components import VarianceSplit, variance_split

WINDOW = 10  # steps that a loss is averaged over, before it counts as reached


@dataclass(frozen=True)
class Runs:
    """The runs of one setting.

    Arguments:
        points, outcomes: of each of them.
        target: the loss that counts as reached (nats).
    """

    points: tuple[Trial, ...]
    outcomes: tuple[Outcome, ...]
    target: float

    def of(self, name: str) -> list[Any]:
        """What each run has under this name."""
        return [getattr(outcome, name) for outcome in self.outcomes]


@dataclass(frozen=True)
class Column:
    """A number in a table.

    Arguments:
        name: of its definition, in ``report_words.DEFINITIONS``.
        heading: above the column.
        say: writes a value of it.
    """

    name: str
    heading: str
    say: Callable[[float], str]


@dataclass(frozen=True)
class Quantity(Column):
    """A number that is measured on the runs of a setting, by ``of``."""

    of: Callable[[Runs], Estimate]


def percent(value: float) -> str:
    """A share, such as 91.2 %."""
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def plain(value: float) -> str:
    """Three digits; a dash where there is none, ∞ where it is never reached."""
    return "–" if math.isnan(value) else "∞" if math.isinf(value) else format_number(value)


def whole(value: float) -> str:
    """A number of steps."""
    return "–" if math.isnan(value) else "never" if math.isinf(value) else f"{value:.0f}"


RESULT = (
    Quantity("accuracy", "accuracy (%)", percent, lambda r: spread.mean(r.of("accuracy"))),
    Quantity(
        "deviation", "standard deviation (points)", percent, lambda r: spread.standard_deviation(r.of("accuracy"))
    ),
    Quantity("range", "range (points)", percent, lambda r: spread.value_range(r.of("accuracy"))),
    Quantity("loss", "validation loss (nats)", plain, lambda r: spread.mean(r.of("validation_loss"))),
    Quantity("failed", "failed runs (%)", percent, lambda r: failed_rate(r.of("failed"))),
)
BEHAVIOUR = (
    Quantity("churn", "churn (%)", percent, lambda r: churn(r.of("predictions"))),
    Quantity("calibration", "calibration error (%)", percent, lambda r: spread.mean(list(map(_ece, r.outcomes)))),
    Quantity("clipped", "clipped steps (%)", percent, lambda r: clipped_share(r.of("clipped"))),
    Quantity("steps", "steps to the loss", whole, lambda r: median_steps_to_loss(r.of("losses"), r.target, WINDOW)),
)
CURVATURE = (
    Quantity("sharpness", "sharpness λ_max", plain, lambda r: spread.mean(r.of("sharpness"))),
    Quantity("edge", "λ_max · η / 2", plain, lambda r: spread.mean(_edge(r))),
)
SENSITIVITY = Column("sensitivity", "learning-rate sensitivity (nats)", plain)


def by_setting(results: Results) -> list[tuple[Group, Runs]]:
    """The runs of each setting that has any, in the order of the grid."""
    target = 0.5 * float(np.mean([outcome.start_loss for outcome in results.outcomes]))
    return [
        (group, Runs(_at(results.trials, group), _at(results.outcomes, group), target))
        for group in groups(results.trials, results.grid)
        if group.positions
    ]


def sensitivities(results: Results) -> Iterator[tuple[str, Estimate]]:
    """Learning-rate sensitivity, for each combination of the other settings; none where only one rate was run.

    Only seeds count that were run at every rate.
    """
    rates = results.grid.get("learning_rate", ())
    if len(rates) < 2:
        return
    others = {name: values for name, values in results.grid.items() if name != "learning_rate"}
    for group in groups(results.trials, others):
        losses: dict[tuple[int, int, int | None], dict[float, Outcome]] = {}
        for i in group.positions:
            point = results.trials[i]
            seeds = losses.setdefault((point.init, point.order, point.subset), {})
            seeds[point.settings.learning_rate] = results.outcomes[i]
        whole_rows = [row for row in losses.values() if len(row) == len(rates)]
        if whole_rows:
            ends = [[row[rate].validation_loss for row in whole_rows] for rate in rates]
            starts = [float(np.mean([run.start_loss for run in row.values()])) for row in whole_rows]
            yield group.label, learning_rate_sensitivity(ends, starts)


def splits(results: Results) -> Iterator[tuple[str, VarianceSplit]]:
    """The accuracy's variance by what causes it, for each setting whose seeds were crossed."""
    for group, runs in by_setting(results):
        seeds = {name: [getattr(p, name) for p in runs.points] for name in ("init", "order", "subset")}
        crossed = min(len(set(seeds["init"])), len(set(seeds["order"]))) > 1
        if not crossed or len(set(zip(seeds["init"], seeds["order"], strict=True))) == len(set(seeds["init"])):
            continue
        subsets = seeds["subset"] if len(set(seeds["subset"])) > 1 else None
        try:
            yield group.label, variance_split(runs.of("accuracy"), seeds["init"], seeds["order"], subsets)
        except ValueError:  # a run is missing, or one diverged: there is no split
            continue


def seeds_of(points: Sequence[Trial]) -> str:
    """The seeds that were used, in words."""
    said = []
    for name in ("init", "order", "subset"):
        values = sorted({getattr(point, name) for point in points} - {None})
        if values:
            said.append(f"{spaced(name)} {_listed(values)}")
    return "; ".join(said)


def _listed(values: Sequence[int]) -> str:
    if len(values) > 2 and list(values) == list(range(values[0], values[-1] + 1)):
        return f"{values[0]} to {values[-1]}"
    return ", ".join(map(str, values))


def _at(things: Sequence[Any], group: Group) -> tuple[Any, ...]:
    return tuple(things[i] for i in group.positions)


def _ece(outcome: Outcome) -> float:
    if outcome.diverged is not None:
        return math.nan
    scores = outcome.logits.astype(np.float64)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return reliability(powers / powers.sum(axis=1, keepdims=True), outcome.targets).error


def _edge(runs: Runs) -> list[float]:
    pairs = zip(runs.points, runs.of("sharpness"), strict=True)
    return [
        math.nan if found is None else float(sharpness_against(found, point.settings.learning_rate))
        for point, found in pairs
    ]
