"""The exercise on dropping the learning rate where the validation loss no longer falls."""

from __future__ import annotations

import math

from .exercise import Case, Exercise, Slip


def plateau(losses, factor, patience):
    best, waited, multiplier = math.inf, 0, 1.0
    for loss in losses:
        if loss < best:
            best, waited = loss, 0
        else:
            waited += 1
        if waited > patience:
            multiplier, waited = multiplier * factor, 0
    return multiplier


def _plateau(losses, factor, patience, early=False, forgets=True, previous=False, resets=True):
    """The solution with a slip switched on."""
    best, waited, multiplier = math.inf, 0, 1.0
    for loss in losses:
        better = loss < best
        if better:
            waited = 0 if forgets else waited
        else:
            waited += 1
        best = loss if better or previous else best
        if waited > patience - early:
            multiplier, waited = multiplier * factor, 0 if resets else waited
    return multiplier


PLATEAU = Exercise(
    name="schedules.plateau",
    asks="the multiplier after these validation losses",
    solution=plateau,
    cases=(
        Case("better every time", ([1.0, 0.8, 0.6, 0.5], 0.1, 1)),
        Case("as many evaluations without improvement as patience forgives", ([1.0, 1.1, 1.2, 0.9, 0.8], 0.1, 2)),
        Case("eight evaluations that are no better", ([0.5] * 9, 0.5, 2)),
        Case("a zigzag that never gets below its best", ([0.5, 0.7, 0.6, 0.7, 0.6, 0.7, 0.6, 0.7], 0.1, 3)),
        Case("better every third time", ([1.0, 1.1, 1.2, 0.9, 1.0, 1.1, 0.8, 0.9], 0.2, 3)),
        Case("no patience", ([1.0, 1.0, 0.9, 0.9], 0.5, 0)),
    ),
    slips=(
        Slip(
            "patience is what is forgiven: the drop comes when there are more bad evaluations than that",
            lambda losses, factor, patience: _plateau(losses, factor, patience, early=True),
        ),
        Slip(
            "an improvement starts the count of bad evaluations from 0 again",
            lambda losses, factor, patience: _plateau(losses, factor, patience, forgets=False),
        ),
        Slip(
            "compare with the best loss so far, not with the one before",
            lambda losses, factor, patience: _plateau(losses, factor, patience, previous=True),
        ),
        Slip(
            "after a drop the count starts from 0 again, else every further evaluation drops the rate",
            lambda losses, factor, patience: _plateau(losses, factor, patience, resets=False),
        ),
    ),
    hints=(
        "Carry three things along: the best loss so far, the number of evaluations since, and the multiplier.",
        "A loss below the best is the new best, and sets the count to 0. Any other adds 1 to it.",
        "When the count is above patience: multiply by factor, and set the count to 0.",
    ),
)
