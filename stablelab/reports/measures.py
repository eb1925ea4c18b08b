"""What a stability report measures on the runs of a setting: each number, what it is, and where it comes from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._formatting import format_number
from ..stability import (
    Estimate,
    Outcome,
    Trial,
    churn,
    clipped_share,
    failed_rate,
    mean,
    median_steps_to_loss,
    reliability,
    sharpness_against,
    standard_deviation,
    value_range,
)

_SMOOTHED = 10  # steps that a loss is averaged over, before it counts as reached
_T = "Interval: Student's t over the runs."
_BCA = "Interval: BCa bootstrap over the runs (Efron 1987)."


@dataclass(frozen=True)
class Runs:
    """The runs of one setting.

    Attributes:
        trials, outcomes: of each of them.
        target: the loss that counts as reached (nats).
    """

    trials: tuple[Trial, ...]
    outcomes: tuple[Outcome, ...]
    target: float

    def of(self, name: str) -> list[Any]:
        """What each run has under this name."""
        return [getattr(outcome, name) for outcome in self.outcomes]


@dataclass(frozen=True)
class Quantity:
    """A number of the report and what it is.

    Attributes:
        name: above its column and with its definition.
        unit: of what is written; shares are written in % or percentage points.
        definition: what it is.
        source: paper, year, section or equation; of the interval too.
    """

    name: str
    unit: str
    definition: str
    source: str

    @property
    def heading(self) -> str:
        """Name and unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def write(self, value: float) -> str:
        """A value of it in its unit."""
        return format_number(100 * value if self.unit in ("%", "points") else value)


@dataclass(frozen=True)
class Measure(Quantity):
    """A quantity that is measured on the runs of a setting, by ``of``."""

    of: Callable[[Runs], Estimate]


FAILED = Measure(
    "failed runs",
    "%",
    "Share of runs that diverged, or ended at or below the accuracy of always guessing the most frequent class.",
    "Mosbach, Andriushchenko & Klakow 2021, Section 3. Interval: Wilson 1927.",
    of=lambda runs: failed_rate(runs.of("failed")),
)
RESULT = (
    Measure(
        "accuracy",
        "%",
        "Share of the validation split that is predicted right, as the mean over runs that did not diverge.",
        _T,
        of=lambda runs: mean(runs.of("accuracy"), method="t"),
    ),
    Measure(
        "standard deviation",
        "points",
        "√(Σ (x − x̄)² / (R − 1)) of the accuracies of R runs that differ in their seeds alone, in percentage points.",
        "Over seeds: Dodge et al. 2020; Mosbach et al. 2021. Interval: χ², for normal scores; failed runs "
        "make it too short.",
        of=lambda runs: standard_deviation(runs.of("accuracy"), method="chi2"),
    ),
    Measure(
        "range",
        "points",
        "Largest minus smallest accuracy, in percentage points. It describes these runs and grows with their number, "
        "so it has no interval.",
        "Wilks 1941, on how many further runs lie between the extremes.",
        of=lambda runs: value_range(runs.of("accuracy")),
    ),
    Measure(
        "validation loss",
        "nats",
        "Mean cross-entropy (nats) on the validation split, as the mean over runs that did not diverge. A mean over "
        "survivors flatters: read it with the failed runs.",
        _T,
        of=lambda runs: mean(runs.of("validation_loss"), method="t"),
    ),
    FAILED,
)
BEHAVIOUR = (
    Measure(
        "churn",
        "%",
        "Share of the validation split that two runs put into different classes, as the mean over all pairs of runs. "
        "Two runs of one accuracy may still disagree.",
        "Milani Fard et al. 2016; Bhojanapalli et al. 2021. Interval: percentile bootstrap over the runs.",
        of=lambda runs: churn(runs.of("predictions")),
    ),
    Measure(
        "calibration error",
        "%",
        "Expected calibration error: |accuracy − confidence| in 15 bins of equal width, each weighed by its examples; "
        "of each run, then the mean over runs. With few examples it comes out too high.",
        f"Naeini, Cooper & Hauskrecht 2015; Guo et al. 2017, eq. 3. {_BCA}",
        of=lambda runs: mean(list(map(_calibration_error, runs.outcomes))),
    ),
    Measure(
        "clipped steps",
        "%",
        "Share of the optimizer steps whose gradient was shortened, as the mean over runs.",
        f"Clipping by the norm: Pascanu, Mikolov & Bengio 2013. {_BCA}",
        of=lambda runs: clipped_share(runs.of("clipped")),
    ),
    Measure(
        "steps to the loss",
        "",
        "Optimizer steps until the training loss, averaged over the last 10 steps, is at or below half the loss at the "
        "start; the median over runs, in which a run that never gets there counts as slower than any other (∞).",
        "Interval: order statistics (Conover 1999, Section 3.2); it takes six runs.",
        of=lambda runs: median_steps_to_loss(runs.of("losses"), runs.target, _SMOOTHED),
    ),
)
CURVATURE = (
    Measure(
        "sharpness λ_max",
        "",
        "Largest eigenvalue of the Hessian of the training loss, at the end of training.",
        f"Cohen et al. 2021. {_BCA}",
        of=lambda runs: mean(runs.of("sharpness")),
    ),
    Measure(
        "λ_max · η / 2",
        "",
        "Sharpness over 2/η, the largest at which plain full-batch gradient descent is stable: above 1, a step along "
        "the sharpest direction overshoots. Adam's threshold is another one (Cohen et al. 2022).",
        f"Cohen et al. 2021. {_BCA}",
        of=lambda runs: mean(_edge(runs)),
    ),
)
SENSITIVITY = Quantity(
    "learning-rate sensitivity",
    "nats",
    "Mean over the learning rates η of min(loss(η), loss at the start) − the best loss (nats). 0: every rate does as "
    "well as the best one.",
    "Wortsman et al. 2023, Section 2. Interval: percentile bootstrap over the seeds.",
)
VARIANCE = Quantity(
    "variance by cause",
    "%",
    "The accuracy's variance, split into seed of the new weights (init), order of the data (order), training subset "
    "where there are several, and the rest: what they make together.",
    "Crossed design: Dodge et al. 2020. Estimates: Searle, Casella & McCulloch 1992, Chapter 4. Intervals: Weerahandi "
    "1993, for normal effects.",
)


def _calibration_error(outcome: Outcome) -> float:
    if outcome.diverged is not None:
        return math.nan
    logits = outcome.logits.astype(np.float64)  # (N, C)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return reliability(powers / powers.sum(axis=1, keepdims=True), outcome.targets).error


def _edge(runs: Runs) -> list[float]:
    pairs = zip(runs.trials, runs.of("sharpness"), strict=True)
    return [
        math.nan if found is None else float(sharpness_against(found, trial.settings.learning_rate))
        for trial, found in pairs
    ]
