"""What tests of every room use: what must be equal bit for bit, waiting for a state, seeded normal numbers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from stablelab.training import Step


def timeless(history: Iterable[Step]) -> list[str]:
    """What must be the same bit for bit: everything but the clock. As text, in which a nan equals a nan."""

    def still(s: Step) -> Step:
        changes = tuple(replace(each, gesture=0) for each in s.interventions)  # the clock tells gestures apart
        judged = s.evaluation and replace(s.evaluation, seconds=0)
        return replace(
            s, seconds=0, examples_per_second=0, tokens_per_second=None, interventions=changes, evaluation=judged
        )

    return [repr(still(s)) for s in history]


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for a state; fails where it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the state waited for did not come"
        time.sleep(0.002)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers in float64."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def threads_of_ours() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("stablelab")]
