"""Exercises that check themselves, and the learner's progress."""

from ._all import ALL
from ._notebook import check, hints, progress
from .exercise import Case, Exercise, Slip
from .grading import Verdict, judge

__all__ = ["ALL", "Case", "Exercise", "Slip", "Verdict", "check", "hints", "judge", "progress"]
