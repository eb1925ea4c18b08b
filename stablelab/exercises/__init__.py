"""Exercises that check themselves, and the learner's progress."""

from .exercise import Case, Exercise, Slip
from .front import check, hints, progress
from .judge import Verdict, judge

__all__ = ["Case", "Exercise", "Slip", "Verdict", "check", "hints", "judge", "progress"]
