"""Arguments are checked here, once: types, ranges and names, each with a complaint of one line."""

from __future__ import annotations

import collections.abc
import inspect
import math
import os
import types
import typing
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import lru_cache, wraps
from numbers import Real
from typing import Any, ParamSpec, TypeVar

import numpy as np
from torch import Tensor, nn

from ._formatting import one_line

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
LARGEST_SEED = 2**63 - 1
_EXACT = 2**53  # whole numbers up to here are the same as a float


def plain(value: Any) -> Any:
    """Scalars of numpy and torch, and fractions, as Python's own numbers; all else as it is."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray | Tensor) and value.ndim == 0):
        try:
            return value.item()
        except (RuntimeError, ValueError):  # a tensor without numbers
            return value
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    try:
        return int(value) if isinstance(value, int) else float(value)
    except OverflowError:
        return value


def shown(value: object) -> str:
    """How a complaint shows a value: as it would be typed, on one line, cut where it is long."""
    try:
        return one_line(repr(value))
    except Exception:  # a repr of the learner's own, or an integer of thousands of digits
        return f"something of type {type(value).__name__}"


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
    try:
        result = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        result = math.inf
    if (
        not math.isfinite(result)
        or (at_least is not None and result < at_least)
        or (above is not None and result <= above)
        or (at_most is not None and result > at_most)
        or (below is not None and result >= below)
    ):
        bounds = {"at least": at_least, "above": above, "at most": at_most, "below": below}
        wanted = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)
        raise ValueError(f"{name} is {shown(value)}; it must be a finite number {wanted}".rstrip())
    return result


def plain_number(name: str, value: object, **bounds: float) -> float:
    """`number`, of scalars of numpy and torch too; and a whole number stays one, so that it is written as given."""
    given = plain(value)
    result = number(name, given, **bounds)
    return given if isinstance(given, int) and abs(given) <= _EXACT else result


def whole(name: str, value: object, at_least: int = 0, of: str = "", at_most: int | None = None) -> int:
    """Return `value` as an int if it is a whole number within the bounds.

    Args:
        name: what the learner calls the value; it opens the complaint.
        value: what was given; neither a bool nor 3.0 is a whole number here.
        at_least: the lower bound, included.
        of: what is counted, such as " of steps".
        at_most: the upper bound, included.

    Raises:
        ValueError: in one line, with the value and what would be right.
    """
    given = plain(value)
    if isinstance(given, bool) or not isinstance(given, int) or given < at_least:
        raise ValueError(f"{name} is {shown(value)}; it must be a whole number{of}, {at_least} or more")
    if at_most is not None and given > at_most:
        raise ValueError(f"{name} is {shown(value)}; it must be a whole number{of}, at most {at_most}")
    return given


def seed_number(name: str, value: object) -> int:
    """Return `value` as an int if it can seed torch's generators; raise a one-line ValueError where it cannot."""
    return whole(name, value, at_most=LARGEST_SEED)


def same_shape(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    """Raise a one-line ValueError unless both have one shape: broadcasting would answer a question nobody asked."""
    if tensor.shape != other.shape:
        raise ValueError(
            f"{name} and {other_name} must have the same shape, not {tuple(tensor.shape)} and {tuple(other.shape)}"
        )


def switch(name: str, value: object) -> bool:
    """Return `value` if it is True or False, else raise a one-line ValueError: "False" would count as true."""
    given = plain(value)
    if not isinstance(given, bool):
        raise ValueError(f"{name} is {shown(value)}; it must be True or False")
    return given


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


def choice(name: str, value: object, known: Iterable[Any]) -> Any:
    """Return the one of the `known` that `value` is, else raise a one-line ValueError with the nearest ones."""
    given, options = plain(value), list(known)
    for each in options:
        if type(each) is type(given) and each == given:
            return each
    for each in options:
        if isinstance(given, str | int | float) and each == given:
            return each
    names = [str(each) for each in options]
    raise ValueError(f"unknown {name} {shown(value)}: {did_you_mean(shown(value).strip(chr(39)), names, most=12)}")


# -- the front desk ----------------------------------------------------------------------------------------------------


def checked_arguments(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Check a function's arguments by its own signature, before it begins. The signature stays as it is.

    A name that it does not have is answered with the closest ones: Python's own TypeError says neither what there is
    nor what was meant. A value of another type is refused. Numbers of numpy and torch become plain ones; their ranges,
    and what a number may be at all, the function says.

    Raises:
        ValueError: by the function that is returned, in one line.
    """
    signature = inspect.signature(function)
    known = signature.parameters

    @wraps(function)
    def checked(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        for name in kwargs:
            if name not in known:
                raise ValueError(f"{function.__name__} has no argument {name!r}; {did_you_mean(name, sorted(known))}")
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)  # Python's own complaint names what is missing
        bound.arguments = {name: plain(value) for name, value in bound.arguments.items()}
        for name, value in bound.arguments.items():
            _check_type(name, value, _hints(function), bound.arguments)
        return function(*bound.args, **bound.kwargs)

    return checked


@lru_cache(maxsize=256)
def _hints(function: Callable[..., object]) -> dict[str, Any]:
    """The types of a function's parameters; those that only a type checker knows are left out."""
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        hint = parameter.annotation
        try:
            # Written in the function's own module, never by somebody else: from `__future__` import annotations.
            found[name] = eval(hint, getattr(function, "__globals__", {})) if isinstance(hint, str) else hint
        except NameError:
            continue
    return found


def _check_type(name: str, value: object, hints: dict[str, Any], given: dict[str, Any]) -> None:
    hint = hints.get(name, Any)
    if _fits(value, hint):
        return
    for other, theirs in given.items():
        if other != name and _fits(value, hints.get(other)) and _fits(theirs, hint):
            raise ValueError(f"{name} is {shown(value)}; are {name} and {other} swapped?")
    words = list(dict.fromkeys(map(_type_in_words, typing.get_args(hint) if _is_union(hint) else (hint,))))
    wanted = " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
    raise ValueError(f"{name} is {shown(value)}; it must be {wanted}")


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _fits(value: object, hint: Any) -> bool:
    """Whether a value is of this type. Numbers and containers fit all: what they may be, others say better."""
    if _is_union(hint):
        return any(_fits(value, each) for each in typing.get_args(hint))
    kind = typing.get_origin(hint) or hint
    if kind is None or kind is types.NoneType:
        return value is None
    if kind is bool:
        return isinstance(value, bool)
    if kind is collections.abc.Callable:
        return callable(value)
    if not inspect.isclass(kind) or kind in (int, float, Any):  # from Python 3.11 on Any is a class
        return True
    if getattr(kind, "_is_protocol", False):  # what an object of the learner's own lacks is said where it is needed
        return not isinstance(value, types.NoneType | str | int | float | nn.Module)
    container = kind is not os.PathLike and kind.__module__ in ("builtins", "collections.abc") and kind is not str
    return container or isinstance(value, kind)


def _type_in_words(hint: Any) -> str:
    kind = typing.get_origin(hint) or hint
    words = {
        types.NoneType: "None",
        bool: "True or False",
        str: "a text",
        os.PathLike: "a path",
        collections.abc.Callable: "a function",
        nn.Module: "a torch.nn.Module",
    }
    return words.get(kind) or f"a {kind.__name__}"
