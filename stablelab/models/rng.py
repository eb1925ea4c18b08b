"""Random numbers from a seed of one's own, with the global generator left alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from .._validation import seed_number


class seeded_rng(TorchDispatchMode):  # noqa: N801, used as a context manager
    """Inside this context every random number of this thread comes from a generator with this seed.

    A fork of the global generator would do for one thread; but a model is often made while another one trains in
    the background, and the two would disturb each other's numbers.

    Args:
        seed: a whole number ≥ 0.

    Raises:
        ValueError: in one line, for any other seed.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed_number("seed", seed))

    def __torch_dispatch__(
        self, func: OpOverload, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs, drawing = dict(kwargs or {}), _with_generator(func)
        if drawing is None:
            return func(*args, **kwargs)
        if kwargs.get("generator") is None:
            kwargs["generator"] = self.generator
        return drawing(*args, **kwargs)


@cache
def _with_generator(func: OpOverload) -> OpOverload | None:
    """The overload that takes a generator and else the same arguments, as ``randn`` has one; None of what cannot."""
    arguments = [(a.name, str(a.type)) for a in func._schema.arguments if a.name != "generator"]
    for overload in (getattr(func.overloadpacket, name) for name in func.overloadpacket.overloads()):
        its = [(a.name, str(a.type)) for a in overload._schema.arguments]
        if len(its) > len(arguments) and [each for each in its if each[0] != "generator"] == arguments:
            return overload
    return None
