"""The twenty runs without names of notebook 11: how each is trained, what ails it, and how verdicts are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

HEALTHY = "healthy"
AILMENTS = (
    HEALTHY,
    "rate too high",
    "rate too low",
    "no zero_grad",
    "summed loss",
    "softmax twice",
    "wrong labels",
    "not shuffled",
    "overfitting",
    "clipped away",
    "schedule over",
    "not normalized",
)


class Case(NamedTuple):
    """A run: the settings that differ from the healthy ones of the page, and what ails it."""

    settings: Mapping[str, Any]
    ailment: str


CASES: tuple[Case, ...] = (
    Case({"flipped": 1.0, "seed": 11}, "wrong labels"),
    Case({"seed": 12}, HEALTHY),
    Case({"learning_rate": 8.0, "seed": 13}, "rate too high"),
    Case({"learning_rate": 0.3, "momentum": 0.5, "seed": 14}, HEALTHY),
    Case({"keep": 1.0, "seed": 15}, "no zero_grad"),
    Case({"softmax": 1.0, "learning_rate": 1.0, "seed": 16}, "softmax twice"),
    Case({"batch_size": 4, "learning_rate": 0.02, "steps": 400, "seed": 17}, HEALTHY),
    Case({"examples": 40, "steps": 400, "seed": 18}, "overfitting"),
    Case({"max_norm": 1e-3, "seed": 19}, "clipped away"),
    Case({"flipped": 0.3, "steps": 400, "seed": 20}, "wrong labels"),
    Case({"ends": 1.0, "decays": True, "seed": 21}, HEALTHY),
    Case({"summed": 1.0, "seed": 22}, "summed loss"),
    Case({"in_order": 1.0, "seed": 23}, "not shuffled"),
    Case({"ends": 0.25, "decays": True, "seed": 24}, "schedule over"),
    Case({"corrupt": 30.0, "seed": 25}, HEALTHY),
    Case({"learning_rate": 1e-5, "seed": 26}, "rate too low"),
    Case({"max_norm": 0.5, "learning_rate": 0.3, "seed": 27}, HEALTHY),
    Case({"raw": 255.0, "seed": 28}, "not normalized"),
    Case({"learning_rate": 0.03, "momentum": 0.9, "seed": 29}, HEALTHY),
    Case({"learning_rate": 2e-3, "seed": 30}, "rate too low"),
)


class Score(NamedTuple):
    """How good verdicts are.

    Attributes:
        sick_or_healthy: runs that were rightly called sick, or healthy.
        named: sick runs whose ailment was named.
        sick: how many there are.
        false_alarms: healthy runs that were called sick.
    """

    sick_or_healthy: int
    named: int
    sick: int
    false_alarms: int


def score(verdicts: Sequence[str | None], cases: Sequence[Case] = CASES) -> Score:
    """Score verdicts, one for each case in order; None is none, and counts as wrong.

    Raises:
        ValueError: a verdict that is none of ``AILMENTS``, or too few of them.
    """
    if len(verdicts) != len(cases):
        raise ValueError(f"there are {len(cases)} cases, and {len(verdicts)} verdicts")
    for number, verdict in enumerate(verdicts, 1):
        if verdict is not None and verdict not in AILMENTS:
            raise ValueError(f"the verdict of run {number} is {verdict!r}; it must be one of {', '.join(AILMENTS)}")
    both = [(verdict, case.ailment) for verdict, case in zip(verdicts, cases, strict=True)]
    return Score(
        sum(said is not None and (said == HEALTHY) == (true == HEALTHY) for said, true in both),
        sum(true != HEALTHY and said == true for said, true in both),
        sum(true != HEALTHY for _, true in both),
        sum(true == HEALTHY and said not in (None, HEALTHY) for said, true in both),
    )
