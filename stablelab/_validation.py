"""The one-line complaints that formulas and optimizers share."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from functools import wraps
from numbers import Real
from typing import ParamSpec, TypeVar

from torch import Tensor

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def number(
    name: str,
    value: object,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> float:
    """Return `value` as a float if it is a finite number within the bounds.

    Args:
        name: what the learner calls the value; it opens the complaint.
        value: what was given; a bool is not a number here, because `True` is nearly always a slip.
        at_least: lower bound, included.
        above: lower bound, not included.
        at_most: upper bound, included.
        below: upper bound, not included.

    Raises:
        ValueError: in one line, with the value and what would be right.
    """
    result = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if (
        not math.isfinite(result)
        or (at_least is not None and result < at_least)
        or (above is not None and result <= above)
        or (at_most is not None and result > at_most)
        or (below is not None and result >= below)
    ):
        bounds = {"at least": at_least, "above": above, "at most": at_most, "below": below}
        wanted = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)
        raise ValueError(f"{name} is {value!r}; it must be a finite number {wanted}".rstrip())
    return result


def whole(name: str, value: object, at_least: int = 0, of: str = "") -> int:
    """Return `value` if it is a whole number, `at_least` or more.

    Args:
        name: what the learner calls the value; it opens the complaint.
        value: what was given; neither a bool nor 3.0 is a whole number here.
        at_least: the lower bound, included.
        of: what is counted, such as " of steps".

    Raises:
        ValueError: in one line, with the value and what would be right.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise ValueError(f"{name} is {value!r}; it must be a whole number{of}, {at_least} or more")
    return value


def same_shape(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    """Raise a one-line ValueError unless both have one shape: broadcasting would answer a question nobody asked."""
    if tensor.shape != other.shape:
        raise ValueError(
            f"{name} and {other_name} must have the same shape, not {tuple(tensor.shape)} and {tuple(other.shape)}"
        )


def switch(name: str, value: object) -> None:
    """Raise a one-line ValueError unless the value is True or False: a text such as "False" would count as true."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}; it must be True or False")


def did_you_mean(name: str, known: Iterable[str], most: int | None = None) -> str:
    """How a complaint about an unknown name ends: with the closest known ones, or with all where none is close.

    Close is a slip of the fingers, or an abbreviation by initials: `lr` for `learning_rate`.

    Args:
        name: what was given.
        known: what there is, in the order in which it is listed.
        most: how many are listed where none is close; all if not given.
    """
    names = list(known)
    near = [each for each in names if "".join(word[:1] for word in each.split("_")) == name.lower()]
    near = near or get_close_matches(name, names)
    return f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names[:most])}"


def choice(name: str, value: object, known: Sequence[str]) -> None:
    """Raise a one-line ValueError, with the nearest known names or a short list of them, unless `value` is known."""
    if value not in known:
        raise ValueError(f"unknown {name} {value!r}: {did_you_mean(str(value), known, most=12)}")


def explain_unknown_arguments(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a function answer an argument that it does not have with a one-line ValueError that names the closest ones.

    Python's own TypeError says neither what there is nor what was meant. The signature stays as it is.
    """
    known = inspect.signature(function).parameters

    @wraps(function)
    def checked(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        for name in kwargs:
            if name not in known:
                raise ValueError(f"{function.__name__} has no argument {name!r}; {did_you_mean(name, sorted(known))}")
        return function(*args, **kwargs)

    return checked
