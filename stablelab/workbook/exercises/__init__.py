"""The exercises, a module per notebook."""

from __future__ import annotations

from . import adam, attention, clipping, descent, losses, schedules

ALL = {
    exercise.name: exercise
    for module in (descent, adam, losses, schedules, clipping, attention)
    for exercise in module.EXERCISES
}
