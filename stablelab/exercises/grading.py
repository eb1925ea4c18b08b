"""Judging an answer: it is called, never read, so every way of writing the right thing is right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .compare import difference
from .exercise import Case, Exercise
from .time_limit import TooSlow, deadline

RIGHT, NOT_YET, NOT_ATTEMPTED = "right", "not yet", "not attempted yet"
TIME_LIMIT = 10.0  # seconds for one call of an answer; the first use of torch.optim alone may take three


@dataclass(frozen=True)
class Verdict:
    """What is said of an answer.

    Attributes:
        status: ``right``, ``not yet`` or ``not attempted yet``.
        says: what was tried, or what went wrong, or a first hint.
        slip: number of the slip it was taken for, from 0, if one was recognized.
    """

    status: str
    says: str
    slip: int | None = None

    def __str__(self) -> str:
        return f"{self.status} · {self.says}"


@dataclass(frozen=True)
class _Failure:
    """A call that came to no result."""

    says: str


def judge(exercise: Exercise, answer: Any, time_limit: float = TIME_LIMIT) -> Verdict:
    """Call the answer on every case and compare; raises nothing of what the answer does.

    Arguments:
        exercise: the question.
        answer: the learner's function; a stub is one that returns ``...``.
        time_limit: seconds for one call.
    """
    if answer is ...:
        return _not_attempted(exercise)
    if not callable(answer):
        return Verdict(
            NOT_YET, f'hand over the function itself, without brackets: check("{exercise.name}", my_function)'
        )
    results = []
    for case in exercise.cases:
        result = _call(answer, case, time_limit)
        if result is ...:
            return _not_attempted(exercise)
        results.append(result)
        if isinstance(result, _Failure):
            return Verdict(NOT_YET, f"{result.says} (tried: {case.says})")
    expected = [exercise.solution(*_copy(case.arguments)) for case in exercise.cases]
    for case, right, result in zip(exercise.cases, expected, results, strict=True):
        wrong = difference(right, result, exercise.tolerance)
        if wrong:
            return _not_yet(exercise, f"{wrong} (tried: {case.says})", results)
    tried = "; ".join(case.says for case in exercise.cases)
    return Verdict(RIGHT, f"it returns {exercise.asks}. Tried: {tried}.")


def _not_attempted(exercise: Exercise) -> Verdict:
    return Verdict(NOT_ATTEMPTED, f"return {exercise.asks}. Hint: {exercise.hints[0]}")


def _not_yet(exercise: Exercise, says: str, results: list[Any]) -> Verdict:
    """The slip that does, on every case, what this answer does is what to tell the learner."""
    for number, slip in enumerate(exercise.slips):
        if all(
            difference(_outcome(slip.answer, case), result, exercise.tolerance) is None
            for case, result in zip(exercise.cases, results, strict=True)
        ):
            return Verdict(NOT_YET, f"{says}. Likely slip: {slip.says}", number)
    return Verdict(NOT_YET, says)


def _outcome(answer: Callable[..., Any], case: Case) -> Any:
    result = answer(*_copy(case.arguments))
    return tuple(result) if isinstance(result, list) else result


def _call(answer: Callable[..., Any], case: Case, time_limit: float) -> Any:
    try:
        with deadline(time_limit):
            return answer(*_copy(case.arguments))
    except TooSlow:
        return _Failure(f"it did not come back within {time_limit:g} seconds: a loop that never ends?")
    except KeyboardInterrupt:  # the learner's own stop button
        raise
    except BaseException as error:  # exit() too: whatever it is, the notebook goes on
        first_line = (str(error).strip() or "no message").splitlines()[0]
        return _Failure(f"it raised {type(error).__name__}: {first_line}")


def _copy(value: Any) -> Any:
    """Arguments of its own for every call, so that an answer may work in place; numbers in double precision."""
    if isinstance(value, Tensor):
        return value.detach().to(torch.float64, copy=True) if value.is_floating_point() else value.clone()
    if isinstance(value, tuple | list):
        return type(value)(_copy(part) for part in value)
    if isinstance(value, dict):
        return {key: _copy(part) for key, part in value.items()}
    return value
