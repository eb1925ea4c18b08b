"""The one-line complaints that formulas and optimizers share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from difflib import get_close_matches
from numbers import Real

from torch import Tensor


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
        at_least, above: lower bound, included or not.
        at_most, below: upper bound, included or not.

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


def choice(name: str, value: object, known: Sequence[str]) -> None:
    """Raise a one-line ValueError, with the nearest known names or a short list of them, unless `value` is known."""
    if value not in known:
        near = get_close_matches(str(value), known, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known[:12])}"
        raise ValueError(f"unknown {name} {value!r}: {hint}")
