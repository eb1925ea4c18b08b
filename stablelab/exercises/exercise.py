"""What an exercise is: a question, its solution, the inputs it is tried on, and the slips it recognizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """One input an answer is tried on.

    Arguments:
        says: what is special about it; the learner reads this where an answer goes wrong.
        arguments: what the answer is called with, by position; tensors are copied for every call.
    """

    says: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Slip:
    """A wrong answer that learners give, and what to tell them.

    Arguments:
        says: names the slip and what would be right.
        answer: does what the learner does; differs from the solution, and from every other slip, on at least one case.
    """

    says: str
    answer: Callable[..., Any]


@dataclass(frozen=True)
class Exercise:
    """A question that checks its own answer.

    Arguments:
        name: what ``check`` calls it, such as ``adam.update``.
        asks: completes "returns …".
        solution: a function whose source the learner may read; it needs nothing but ``torch`` and ``math``.
        cases: inputs that tell the slips from the solution and from each other.
        slips: at least three.
        hints: from gentle to nearly there.
        tolerance: relative error that is forgiven, for numbers of double precision.
    """

    name: str
    asks: str
    solution: Callable[..., Any]
    cases: tuple[Case, ...]
    slips: tuple[Slip, ...]
    hints: tuple[str, ...]
    tolerance: float = 1e-6
