"""Random numbers from a seed of one's own, with the global generator left alone."""

from __future__ import annotations

from collections.abc import Sequence
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
        kwargs = dict(kwargs or {})
        if kwargs.get("generator") is None and any(a.name == "generator" for a in func._schema.arguments):
            kwargs["generator"] = self.generator
        return func(*args, **kwargs)
