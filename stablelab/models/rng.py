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
        kwargs, func = dict(kwargs or {}), drawing_from_a_generator(func)
        if kwargs.get("generator") is None and takes_generator(func):
            kwargs["generator"] = self.generator
        return func(*args, **kwargs)


def takes_generator(func: OpOverload) -> bool:
    return any(argument.name == "generator" for argument in func._schema.arguments)


@cache
def drawing_from_a_generator(func: OpOverload) -> OpOverload:
    """The overload with a generator and else the same arguments, as of ``randn``; ``func`` itself if there is none."""

    def others(overload: OpOverload) -> list[tuple[str, str]]:
        return [(a.name, str(a.type)) for a in overload._schema.arguments if a.name != "generator"]

    overloads = (getattr(func.overloadpacket, name) for name in func.overloadpacket.overloads())
    alike = (each for each in overloads if takes_generator(each) and others(each) == others(func))
    return func if takes_generator(func) else next(alike, func)
