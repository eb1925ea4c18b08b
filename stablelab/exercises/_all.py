"""The exercises, a module per notebook."""

from __future__ import annotations

from . import adam, attention, clipping, descent, ensembles, losses, measuring, robustness, schedules

ALL = {
    exercise.name: exercise
    for module in (descent, adam, losses, schedules, clipping, attention, measuring, robustness, ensembles)
    for exercise in module.EXERCISES
}
