"""Exercises that check themselves, and the learner's progress."""

from ._all import ALL
from .exercise import Case, Exercise, Slip
from .grading import Verdict, judge
from .notebook import check, hints, progress

__all__ = ["ALL", "Case", "Exercise", "Slip", "Verdict", "check", "hints", "judge", "progress"]
