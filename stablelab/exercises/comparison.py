"""Comparing what an answer returned with what was expected: by values, whatever they are held in."""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

SINGLE = 1e-4  # relative error forgiven where a result is of single precision or less
ROUNDING, SINGLE_ROUNDING = 1e-12, 1e-6  # absolute errors forgiven, for numbers of size 1, in double and single
SHOWN = 6  # numbers that are printed before a result is shortened
DIGITS = (4, 6, 9, 12, 17)  # as many as it takes until two numbers look different


@dataclass(frozen=True)
class Tolerance:
    """How far a result may be from the expected one.

    Attributes:
        relative: share of the largest expected value.
        absolute: forgiven in any case, in the unit of the result.
        scale: size of the numbers the result was made of; what cancels to 0 is rounded at that size.
        single: whether they were of single precision.
    """

    relative: float
    absolute: float = 0.0
    scale: float = 0.0
    single: bool = False


def magnitude(values: Any) -> float:
    """Largest size of a finite floating-point number in a structure of tensors, numbers, lists, tuples and dicts."""
    if isinstance(values, Tensor):
        finite = values[values.isfinite()] if values.is_floating_point() else values.new_zeros(0)
        return finite.abs().max().item() if finite.numel() else 0.0
    if isinstance(values, float):
        return magnitude(torch.tensor(values))
    if isinstance(values, dict):
        values = tuple(values.values())
    return max(map(magnitude, values), default=0.0) if isinstance(values, tuple | list) else 0.0


def difference(expected: Any, got: Any, tolerance: Tolerance) -> str | None:
    """None if ``got`` is ``expected`` up to rounding, else how it differs, in a learner's words.

    Args:
        expected: a tensor, number, bool, text, or a tuple of these.
        got: anything. Tensors of other types, numpy arrays, numbers, fractions and lists of them count by their values;
            an array or a tensor of several rows counts as a tuple of them.
        tolerance: how far it may be.
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


def _difference_of_parts(expected: tuple[Any, ...], got: Any, tolerance: Tolerance) -> str | None:
    if isinstance(got, Tensor | np.ndarray) and tuple(got.shape) == (
        len(expected),
        *torch.as_tensor(expected[0]).shape,
    ):
        got = list(got)  # stacked
    if not isinstance(got, tuple | list):
        return f"expected {len(expected)} results, as a tuple; got {_kind(got)}"
    if len(got) != len(expected):
        return f"expected {len(expected)} results, got {len(got)}"
    for i, (one, other) in enumerate(zip(expected, got, strict=True), 1):
        wrong = difference(one, other, tolerance)
        if wrong:
            return f"result {i} of {len(expected)}: {wrong}"
    return None


def _difference_of_numbers(expected: Any, got: Any, tolerance: Tolerance) -> str | None:
    theirs = _tensor(got)
    if theirs is None:
        return f"expected {show(expected)}, got {_kind(got)}"
    ours = torch.as_tensor(expected).detach()
    if theirs.shape != ours.shape:
        return f"expected {_shape(ours)}, got {_shape(theirs)}"
    if (ours.dtype == torch.bool) != (theirs.dtype == torch.bool):
        if theirs.dtype == torch.bool:
            return "expected numbers, got True and False"
        return f"expected True and False, of type bool, got numbers of type {str(theirs.dtype).removeprefix('torch.')}"
    single = tolerance.single or theirs.dtype in (torch.float32, torch.float16, torch.bfloat16)
    as_they_are = ours, theirs
    ours, theirs = ours.double(), theirs.double()
    if theirs.isnan().any() and not ours.isnan().any():
        reasons = "0 / 0, inf - inf, or acos, root or logarithm of a number outside its range?"
        return f"there is nan in it, where {show(ours)} was expected: {reasons}"
    relative = max(tolerance.relative, SINGLE) if single else tolerance.relative
    largest = magnitude(ours) if ours.isfinite().any() else 1.0
    # Entries near zero beside larger ones are allowed the rounding of the larger ones, up to 1.
    absolute = tolerance.absolute + relative * min(largest, 1.0)
    absolute += (SINGLE_ROUNDING if single else ROUNDING) * max(largest, tolerance.scale)
    if torch.allclose(theirs, ours, rtol=relative, atol=absolute, equal_nan=True):
        return None
    if ours.numel() <= SHOWN:
        return "expected {}, got {}".format(*_told_apart(*as_they_are))
    gap = (ours - theirs).abs().nan_to_num(nan=torch.inf)
    place = torch.unravel_index(gap.argmax(), gap.shape)
    at = ", ".join(str(int(i)) for i in place)
    return "at [{}] expected {}, got {}".format(at, *_told_apart(*(each[place] for each in as_they_are)))


def _told_apart(one: Tensor, other: Tensor) -> tuple[str, str]:
    """Both with as many digits as show a difference."""
    for digits in DIGITS:
        shown = show(one, digits), show(other, digits)
        if shown[0] != shown[1]:
            break
    return shown


def _tensor(value: Any) -> Tensor | None:
    """The value as a tensor on the CPU; None where it is not made of real numbers."""
    try:
        tensor = _of_numbers(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
    return None if tensor.dtype.is_complex or tensor.is_sparse else tensor


def _of_numbers(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, list | tuple) and value:
        return torch.stack([_of_numbers(part) for part in value])
    if isinstance(value, int):
        return torch.tensor(value)
    if isinstance(value, numbers.Real) and not isinstance(value, np.generic):
        return torch.tensor(float(value), dtype=torch.float64)  # also a fraction
    array = np.asarray(value)
    # An array of fractions, or of more digits than torch has.
    return torch.as_tensor(array.astype(np.float64) if array.dtype.char in "Og" else array)


def _plain(value: Any) -> Any:
    """A tensor or numpy scalar of no dimensions as what it holds."""
    return value.item() if getattr(value, "shape", None) == () else value


def _shape(tensor: Tensor) -> str:
    return f"a tensor of shape {tuple(tensor.shape)}" if tensor.dim() else "one number"


def _kind(value: Any) -> str:
    if type(value) is str:
        return f"the text {value[:30]!r}"
    name = type(value).__name__  # not isinstance, which would ask a class of the learner's
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def show(value: Any, digits: int = 4) -> str:
    """A result in a few characters."""
    if isinstance(value, tuple):
        return "(" + ", ".join(show(part, digits) for part in value) + ")"
    if isinstance(value, str | bool):
        return repr(value)
    tensor = torch.as_tensor(value).detach()
    if tensor.dim() == 0:
        return f"{tensor.item():.{digits}g}" if tensor.is_floating_point() else str(tensor.item())
    if tensor.numel() > SHOWN:
        return f"numbers of shape {tuple(tensor.shape)}"
    return "[" + ", ".join(show(part, digits) for part in tensor) + "]"


def literal(value: Any, longest: int = 24) -> str:
    """An argument as a learner would type it; … for functions and for tensors of more than ``longest`` numbers."""
    if isinstance(value, Tensor):
        return "…" if value.numel() > longest else f"tensor({_nested(value)})"
    if isinstance(value, tuple | list):
        inside = ", ".join(literal(part, longest) for part in value)
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' * (len(value) == 1)})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {literal(part, longest)}" for key, part in value.items()) + "}"
    return "…" if callable(value) else repr(value)


def _nested(tensor: Tensor) -> str:
    if tensor.dim():
        return "[" + ", ".join(map(_nested, tensor)) + "]"
    if not tensor.is_floating_point():
        return str(tensor.item())
    text = f"{tensor.item():.6g}"
    return text + "." * text.lstrip("-").isdigit()  # 1. is a float, 1 is none


def call(name: str, arguments: Iterable[Any], longest: int = 150) -> str:
    """The call of a function as a learner would type it, its longest arguments left out until it is short enough."""
    parts = [literal(argument) for argument in arguments]
    while sum(len(part) + 2 for part in parts) > longest - len(name) and max(map(len, parts)) > 1:
        parts[max(range(len(parts)), key=lambda i: len(parts[i]))] = "…"
    return f"{name}({', '.join(parts)})"
