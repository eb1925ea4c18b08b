"""torch's default dtype for one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# What makes floating-point numbers out of nothing, and what does so only where it is given such.
_ALWAYS = {torch.empty, torch.zeros, torch.ones, torch.eye, torch.linspace, torch.logspace, torch.rand, torch.randn}
_SOMETIMES = {torch.tensor, torch.as_tensor, torch.full, torch.arange}


class DefaultDtype(TorchFunctionMode):
    """A context in which this thread makes tensors of ``dtype`` wherever a function would take torch's default.

    ``torch.set_default_dtype`` holds for every thread. A picture that sets it while something trains would have the
    training draw other random numbers.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called by torch in place of each of its functions."""
        kwargs = kwargs or {}
        default = torch.get_default_dtype()
        if default == self._dtype or kwargs.get("dtype") is not None:
            return func(*args, **kwargs)
        own = {**kwargs, "dtype": self._dtype}
        if func in _ALWAYS:
            return func(*args, **own)
        made = func(*args, **kwargs)
        if not isinstance(made, Tensor) or made.dtype != default:
            return made
        if func in _SOMETIMES:
            return made if isinstance(args[0] if args else None, np.ndarray | Tensor) else func(*args, **own)
        tensors = [each for each in args if isinstance(each, Tensor)]
        if not tensors or any(each.is_floating_point() for each in tensors):
            return made
        # Such as the quotient of two whole numbers.
        return func(*(each.to(self._dtype) if isinstance(each, Tensor) else each for each in args), **kwargs)
