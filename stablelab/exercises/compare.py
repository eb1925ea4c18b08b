"""Whether a result is the one expected, and if not, in a learner's words, how it differs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

SINGLE = 1e-4  # relative error forgiven where a result is of single precision or less
SHOWN = 6  # numbers that are printed before a result is shortened


def difference(expected: Any, got: Any, tolerance: float) -> str | None:
    """None if ``got`` is ``expected`` up to rounding, else what is wrong with it.

    Arguments:
        expected: a tensor, number, bool, text, or a tuple of these.
        got: anything. Tensors of other types, numpy arrays, numbers and lists of numbers count by their values.
        tolerance: relative to the largest expected value.
    """
    if got is None:
        return "it returned nothing (None): is a return missing?"
    if isinstance(expected, tuple):
        return _parts(expected, got, tolerance)
    if isinstance(expected, str | bool):
        same = type(_plain(got)) is type(expected) and _plain(got) == expected
        return None if same else f"expected {expected!r}, got {_plain(got)!r}"
    return _numbers(expected, got, tolerance)


def _parts(expected: tuple[Any, ...], got: Any, tolerance: float) -> str | None:
    if not isinstance(got, tuple | list):
        return f"expected {len(expected)} results, as a tuple; got one {_kind(got)}"
    if len(got) != len(expected):
        return f"expected {len(expected)} results, got {len(got)}"
    for i, (one, other) in enumerate(zip(expected, got, strict=True), 1):
        wrong = difference(one, other, tolerance)
        if wrong:
            return f"result {i} of {len(expected)}: {wrong}"
    return None


def _numbers(expected: Any, got: Any, tolerance: float) -> str | None:
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
    return _where(ours, theirs)


def _where(ours: Tensor, theirs: Tensor) -> str:
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
    except (TypeError, ValueError, RuntimeError):
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
