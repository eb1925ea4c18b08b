"""Randomness inside step k as a pure function of (seed, k), with nothing global left changed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# torch's default generators belong to the whole process: while one step has them set, no other step may begin.
one_step_at_a_time = threading.RLock()


@contextmanager
def step_randomness(seed: int, k: int, device: torch.device) -> Iterator[None]:
    """Dropout and the like draw from (seed, k) inside; the generators' states of before are put back after.

    Arguments:
        seed: the run's seed, a whole number ≥ 0.
        k: the step's index, from 0.
        device: where the model is; its generator is set as well as the CPU's.
    """
    mixed = (seed * 0x9E3779B97F4A7C15 + k) % 2**63  # odd multiplier: two seeds never share a stretch of steps
    with one_step_at_a_time:
        before = torch.get_rng_state()
        on_gpu = device.type == "cuda"
        before_gpu = torch.cuda.get_rng_state(device) if on_gpu else None
        try:
            torch.default_generator.manual_seed(mixed)
            if on_gpu:
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(mixed)
            yield
        finally:
            torch.set_rng_state(before)
            if before_gpu is not None:
                torch.cuda.set_rng_state(before_gpu, device)
