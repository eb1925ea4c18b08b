"""Judging an answer: it is called, never read, so every way of writing the right thing is right."""

from __future__ import annotations

import copy
import re
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._formatting import one_line
from .comparison import Tolerance, call, difference, magnitude
from .exercise import Case, Exercise
from .kernel_state import known_state
from .time_limit import TooSlow, deadline

RIGHT, NOT_YET, NOT_ATTEMPTED = "right", "not yet", "not attempted yet"
TIME_LIMIT = 10.0  # seconds for one call of an answer; the first use of torch.optim alone may take three
BESIDE_A_RUN = 3.0  # seconds while a run trains in the background, which waits for the answer
MIXED = re.compile("dtype|float|double", re.IGNORECASE)  # in an error's text: two precisions met


@dataclass(frozen=True)
class Verdict:
    """The judgement of an answer.

    Attributes:
        status: ``right``, ``not yet`` or ``not attempted yet``.
        message: what was tried, or what went wrong, or what is asked for.
        slip: number of the slip it was taken for, from 0, if one was recognized.
    """

    status: str
    message: str
    slip: int | None = None

    def __str__(self) -> str:
        return f"{self.status} · {self.message}"


@dataclass(frozen=True)
class _Failure:
    """A call that came to no result; ``mixed`` where numbers of two precisions may be the reason."""

    message: str
    mixed: bool = False


def judge(exercise: Exercise, answer: Any, time_limit: float | None = None) -> Verdict:
    """Call the answer on every case and compare; raises nothing of what the answer does, and leaves no trace of it.

    The numbers are of double precision, and so is what torch makes inside of the call. An answer that mixes them with
    numbers of single precision, which torch refuses, is called once more with single precision all through.

    Args:
        exercise: the question.
        answer: the learner's function; a stub is one that returns ``...``.
        time_limit: seconds for one call; None for ``TIME_LIMIT``, or ``BESIDE_A_RUN`` while one trains.

    Raises:
        KeyboardInterrupt: the learner stopped it.
    """
    if time_limit is None:
        time_limit = BESIDE_A_RUN if _a_run_is_at_work() else TIME_LIMIT
    not_attempted = Verdict(NOT_ATTEMPTED, f"return {exercise.returns}")
    if answer is ...:
        return not_attempted
    if not callable(answer):
        return Verdict(
            NOT_YET, f'hand over the function itself, without brackets: check("{exercise.name}", my_function)'
        )
    with known_state():
        expected = _own_results(exercise, exercise.solution)
        results = _results(answer, exercise.cases, time_limit, torch.float64)
        single = type(results[-1]) is _Failure and results[-1].mixed
        if single:
            others = _results(answer, exercise.cases, time_limit, torch.float32)
            single = type(others[-1]) is not _Failure
            results = others if single else results
        if _untouched(results[-1]):
            return not_attempted
        tolerances = [_tolerance(exercise, case, single) for case in exercise.cases]
        for case, right, result, tolerance in zip(exercise.cases, expected, results, tolerances, strict=False):
            wrong = result.message if type(result) is _Failure else difference(right, result, tolerance)
            if wrong:
                return _not_yet(answer, case, wrong, *_likely_slip(exercise, results, tolerances))
        if exercise.restores:
            dtype = torch.float32 if single else torch.float64
            for case, tolerance in zip(exercise.cases, tolerances, strict=True):
                given = _copy(case.arguments, dtype)
                _call(answer, given, time_limit, dtype)
                left = difference(_tensors(_copy(case.arguments, dtype)), _tensors(given), tolerance)
                if left:
                    return _not_yet(answer, case, f"afterwards what it was given is not as it was: {left}")
    tried = "; ".join(case.description for case in exercise.cases)
    return Verdict(RIGHT, f"it returns {exercise.returns}. Tried: {tried}.")


def _a_run_is_at_work() -> bool:
    return any(thread.name.startswith(("stablelab run", "stablelab live")) for thread in threading.enumerate())


def _tolerance(exercise: Exercise, case: Case, single: bool) -> Tolerance:
    return Tolerance(exercise.tolerance, exercise.absolute, magnitude(case.arguments), single)


def _not_yet(answer: Any, case: Case, wrong: str, likely: str = "", slip: int | None = None) -> Verdict:
    """The call that went wrong, and how."""
    return Verdict(NOT_YET, f"{call(_name(answer), case.arguments)}: {wrong} (tried: {case.description}){likely}", slip)


def _name(answer: Any) -> str:
    try:
        name = answer.__name__
    except Exception:  # an object of the learner's that is called like a function
        name = None
    return name if isinstance(name, str) and name.isidentifier() and len(name) <= 60 else "your_answer"


def _likely_slip(exercise: Exercise, results: list[Any], tolerances: list[Tolerance]) -> tuple[str, int] | tuple[()]:
    """The slip that does, on every case, what this answer does is what to tell the learner."""
    if type(results[-1]) is _Failure:
        return ()
    for number, slip in enumerate(exercise.slips):
        theirs = zip(_own_results(exercise, slip.answer), results, tolerances, strict=True)
        if all(difference(one, other, tolerance) is None for one, other, tolerance in theirs):
            return f". Likely slip: {slip.message}", number
    return ()


def _own_results(exercise: Exercise, function: Callable[..., Any]) -> list[Any]:
    """What the solution or a slip returns, case by case; it is called but once."""
    if function not in exercise.known:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # also where the page makes errors of them
            results = [function(*_copy(case.arguments)) for case in exercise.cases]
        exercise.known[function] = [tuple(result) if isinstance(result, list) else result for result in results]
    return exercise.known[function]


def _results(answer: Callable[..., Any], cases: tuple[Case, ...], time_limit: float, dtype: torch.dtype) -> list[Any]:
    """What the learner's function returns, case by case, up to the first call that comes to nothing."""
    results: list[Any] = []
    for case in cases:
        results.append(_call(answer, _copy(case.arguments, dtype), time_limit, dtype))
        if type(results[-1]) is _Failure or _untouched(results[-1]):
            break
    return results


def _call(answer: Callable[..., Any], arguments: tuple[Any, ...], time_limit: float, dtype: torch.dtype) -> Any:
    """What the learner's function returns for these arguments, or why it does not."""
    with known_state(dtype):  # of its own, so that the next call does not see what this one leaves behind
        try:
            with deadline(time_limit):
                return answer(*arguments)
        except TooSlow:
            return _Failure(f"it did not come back within {time_limit:g} seconds: a loop that never ends?")
        except KeyboardInterrupt:  # the learner's own stop button
            raise
        except BaseException as error:  # exit() too: whatever it is, the notebook goes on
            line = _first_line(error, time_limit)
            return _Failure(f"it raised {type(error).__name__}: {line}", mixed=bool(MIXED.search(line)))


def _first_line(error: BaseException, time_limit: float) -> str:
    try:
        with deadline(time_limit):
            return one_line((str(error).strip() or "no message").splitlines()[0], longest=200)
    except KeyboardInterrupt:
        raise
    except BaseException:  # a class of the learner's, with a __str__ of its own
        return "no message"


def _tensors(arguments: tuple[Any, ...]) -> tuple[Tensor, ...]:
    return tuple(each for each in arguments if isinstance(each, Tensor))


def _untouched(result: Any) -> bool:
    """Whether this is what a stub returns: ``...``, or a tuple of them where several results are asked for."""
    return result is ... or (type(result) in (tuple, list) and len(result) > 0 and all(one is ... for one in result))


def _copy(value: Any, dtype: torch.dtype = torch.float64) -> Any:
    """Arguments of its own for every call, so that an answer may work in place; numbers in this precision."""
    if isinstance(value, Tensor):
        return value.detach().to(dtype, copy=True) if value.is_floating_point() else value.clone()
    if isinstance(value, tuple | list):
        return type(value)(_copy(part, dtype) for part in value)
    if isinstance(value, dict):
        return {key: _copy(part, dtype) for key, part in value.items()}
    if isinstance(value, torch.nn.Module):  # an answer may leave it in another mode
        return copy.deepcopy(value).to(dtype)
    return value
