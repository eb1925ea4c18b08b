"""Judging an answer: it is called, never read, so every way of writing the right thing is right."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._formatting import one_line
from .exercise import Case, Exercise
from .kernel_state import known_state
from .time_limit import TooSlow, deadline

RIGHT, NOT_YET, NOT_ATTEMPTED = "right", "not yet", "not attempted yet"
TIME_LIMIT = 10.0  # seconds for one call of an answer; the first use of torch.optim alone may take three
SINGLE = 1e-4  # relative error forgiven where a result is of single precision or less
SHOWN = 6  # numbers that are printed before a result is shortened


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
    """A call that came to no result."""

    message: str


def judge(exercise: Exercise, answer: Any, time_limit: float = TIME_LIMIT) -> Verdict:
    """Call the answer on every case and compare; raises nothing of what the answer does, and leaves no trace of it.

    Args:
        exercise: the question.
        answer: the learner's function; a stub is one that returns ``...``.
        time_limit: seconds for one call.

    Raises:
        KeyboardInterrupt: the learner stopped it.
    """
    not_attempted = Verdict(NOT_ATTEMPTED, f"return {exercise.returns}")
    if answer is ...:
        return not_attempted
    if not callable(answer):
        return Verdict(
            NOT_YET, f'hand over the function itself, without brackets: check("{exercise.name}", my_function)'
        )
    with known_state():
        expected = _own_results(exercise.solution, exercise.cases)
        results = []
        for case in exercise.cases:
            result = _result(answer, case, time_limit)
            if _untouched(result):
                return not_attempted
            if isinstance(result, _Failure):
                return Verdict(NOT_YET, f"{result.message} (tried: {case.description})")
            results.append(result)
        for case, right, result in zip(exercise.cases, expected, results, strict=True):
            wrong = difference(right, result, exercise.tolerance)
            if wrong:
                return _not_yet(exercise, f"{wrong} (tried: {case.description})", results)
    tried = "; ".join(case.description for case in exercise.cases)
    return Verdict(RIGHT, f"it returns {exercise.returns}. Tried: {tried}.")


def _not_yet(exercise: Exercise, message: str, results: list[Any]) -> Verdict:
    """The slip that does, on every case, what this answer does is what to tell the learner."""
    for number, slip in enumerate(exercise.slips):
        theirs = _own_results(slip.answer, exercise.cases)
        if all(difference(one, other, exercise.tolerance) is None for one, other in zip(theirs, results, strict=True)):
            return Verdict(NOT_YET, f"{message}. Likely slip: {slip.message}", number)
    return Verdict(NOT_YET, message)


def _own_results(function: Callable[..., Any], cases: tuple[Case, ...]) -> list[Any]:
    """What the solution or a slip returns, case by case."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # also where the page makes errors of them
        results = [function(*_copy(case.arguments)) for case in cases]
    return [tuple(result) if isinstance(result, list) else result for result in results]


def _result(answer: Callable[..., Any], case: Case, time_limit: float) -> Any:
    """What the learner's function returns, or why it does not."""
    arguments = _copy(case.arguments)
    with known_state():  # of its own, so that the next call does not see what this one leaves behind
        try:
            with deadline(time_limit):
                return answer(*arguments)
        except TooSlow:
            return _Failure(f"it did not come back within {time_limit:g} seconds: a loop that never ends?")
        except KeyboardInterrupt:  # the learner's own stop button
            raise
        except BaseException as error:  # exit() too: whatever it is, the notebook goes on
            return _Failure(f"it raised {type(error).__name__}: {_first_line(error, time_limit)}")


def _first_line(error: BaseException, time_limit: float) -> str:
    try:
        with deadline(time_limit):
            return one_line((str(error).strip() or "no message").splitlines()[0], longest=200)
    except KeyboardInterrupt:
        raise
    except BaseException:  # a class of the learner's, with a __str__ of its own
        return "no message"


def _untouched(result: Any) -> bool:
    """Whether this is what a stub returns: ``...``, or a tuple of them where several results are asked for."""
    return result is ... or (type(result) in (tuple, list) and len(result) > 0 and all(one is ... for one in result))


def _copy(value: Any) -> Any:
    """Arguments of its own for every call, so that an answer may work in place; numbers in double precision."""
    if isinstance(value, Tensor):
        return value.detach().to(torch.float64, copy=True) if value.is_floating_point() else value.clone()
    if isinstance(value, tuple | list):
        return type(value)(_copy(part) for part in value)
    if isinstance(value, dict):
        return {key: _copy(part) for key, part in value.items()}
    return value


def difference(expected: Any, got: Any, tolerance: float) -> str | None:
    """None if ``got`` is ``expected`` up to rounding, else how it differs, in a learner's words.

    Args:
        expected: a tensor, number, bool, text, or a tuple of these.
        got: anything. Tensors of other types, numpy arrays, numbers and lists of numbers count by their values.
        tolerance: relative to the largest expected value.
    """
    if got is None:
        return "it returned nothing (None): is a return missing?"
    try:
        if isinstance(expected, tuple):
            return _difference_of_parts(expected, got, tolerance)
        if isinstance(expected, str | bool):
            same = type(_plain(got)) is type(expected) and _plain(got) == expected
            return None if same else f"expected {expected!r}, got {_plain(got)!r}"
        return _difference_of_numbers(expected, got, tolerance)
    except Exception:  # a class of the learner's, whose methods raise
        return f"expected {show(expected)}, got {_kind(got)}"


def _difference_of_parts(expected: tuple[Any, ...], got: Any, tolerance: float) -> str | None:
    if not isinstance(got, tuple | list):
        return f"expected {len(expected)} results, as a tuple; got one {_kind(got)}"
    if len(got) != len(expected):
        return f"expected {len(expected)} results, got {len(got)}"
    for i, (one, other) in enumerate(zip(expected, got, strict=True), 1):
        wrong = difference(one, other, tolerance)
        if wrong:
            return f"result {i} of {len(expected)}: {wrong}"
    return None


def _difference_of_numbers(expected: Any, got: Any, tolerance: float) -> str | None:
    theirs = _tensor(got)
    if theirs is None:
        return f"expected {show(expected)}, got {_kind(got)}"
    ours = torch.as_tensor(expected)
    if theirs.shape != ours.shape:
        return f"expected shape {tuple(ours.shape)}, got shape {tuple(theirs.shape)}"
    if theirs.dtype in (torch.float32, torch.float16, torch.bfloat16):
        tolerance = max(tolerance, SINGLE)
    ours, theirs = ours.detach().double(), theirs.double()
    if theirs.isnan().any() and not ours.isnan().any():
        return f"there is nan in it, where {show(ours)} was expected: 0 / 0, or inf - inf?"
    finite = ours[ours.isfinite()]
    scale = finite.abs().max().item() if finite.numel() else 1.0
    # Entries near zero beside larger ones are allowed the rounding of the larger ones, up to 1.
    if torch.allclose(theirs, ours, rtol=tolerance, atol=tolerance * min(scale, 1.0), equal_nan=True):
        return None
    if ours.numel() <= SHOWN:
        return f"expected {show(ours)}, got {show(theirs)}"
    gap = (ours - theirs).abs().nan_to_num(nan=torch.inf)
    place = torch.unravel_index(gap.argmax(), gap.shape)
    at = ", ".join(str(int(i)) for i in place)
    return f"at [{at}] expected {ours[place].item():.4g}, got {theirs[place].item():.4g}"


def _tensor(value: Any) -> Tensor | None:
    """The value as a tensor on the CPU; None where it is not made of numbers."""
    try:
        tensor = value.detach().cpu() if isinstance(value, Tensor) else torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
    if tensor.dtype.is_complex or tensor.is_sparse:
        return None
    # A Python float, or a list of them, is of double precision, whatever torch makes of it.
    return tensor if isinstance(value, Tensor) or not tensor.is_floating_point() else torch.as_tensor(value).double()


def _plain(value: Any) -> Any:
    """A tensor or numpy scalar of no dimensions as what it holds."""
    return value.item() if getattr(value, "shape", None) == () else value


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return f"the text {value[:30]!r}"
    return f"a {type(value).__name__}"


def show(value: Any) -> str:
    """A result in a few characters."""
    if isinstance(value, tuple):
        return "(" + ", ".join(show(part) for part in value) + ")"
    if isinstance(value, str | bool):
        return repr(value)
    tensor = torch.as_tensor(value).detach()
    if tensor.dim() == 0:
        return f"{tensor.item():.4g}" if tensor.is_floating_point() else str(tensor.item())
    if tensor.numel() > SHOWN:
        return f"numbers of shape {tuple(tensor.shape)}"
    return "[" + ", ".join(show(part) for part in tensor) + "]"
