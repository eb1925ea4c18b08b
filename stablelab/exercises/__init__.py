"""Exercises that check themselves, and the learner's progress."""

from .exercise import Case, Exercise, Slip
from .grading import Verdict, judge
from .notebook import ALL, answer_or_solution, check, hints, progress

__all__ = ["ALL", "Case", "Exercise", "Slip", "Verdict", "answer_or_solution", "check", "hints", "judge", "progress"]
