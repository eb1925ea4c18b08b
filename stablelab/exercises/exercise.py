"""What an exercise is: a question, its solution, the inputs it is tried on, and the slips it recognizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Case:
    """One input an answer is tried on.

    Attributes:
        description: what is special about it; the learner reads this where an answer goes wrong.
        arguments: what the answer is called with, by position; tensors are copied for every call, in double precision.
    """

    description: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Slip:
    """A wrong answer that learners give, and what to tell them.

    Attributes:
        message: names the slip and what would be right.
        answer: does what the learner does; differs from the solution, and from every other slip, on at least one case.
    """

    message: str
    answer: Callable[..., Any]


@dataclass(frozen=True)
class Exercise:
    """A question that checks its own answer.

    Attributes:
        name: what ``check`` calls it, such as ``adam.update``.
        returns: what the answer returns, in words that complete "it returns …".
        solution: a function whose source the learner may read; it needs nothing but ``torch`` and ``math``.
        cases: inputs that tell the slips from the solution and from each other.
        slips: at least three.
        hints: from gentle to nearly there.
        tolerance: relative error that is forgiven, for numbers of double precision.
        absolute: error that is forgiven besides, in the unit of the result, where its formula magnifies rounding.
        restores: whether the tensors that it is given must be, after the call, as they were before it.
        known: what the solution and the slips return, case by case, once they have been called.
    """

    name: str
    returns: str
    solution: Callable[..., Any]
    cases: tuple[Case, ...]
    slips: tuple[Slip, ...]
    hints: tuple[str, ...]
    tolerance: float = 1e-6
    absolute: float = 0.0
    restores: bool = False
    known: dict[Callable[..., Any], list[Any]] = field(default_factory=dict, init=False, repr=False, compare=False)


def float64(*rows: Any) -> Tensor:
    """A tensor in double precision, of these numbers or rows."""
    return torch.tensor(rows, dtype=torch.float64)


def normal(*shape: int, seed: int) -> Tensor:
    """Standard normal numbers of this shape, in double precision."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
