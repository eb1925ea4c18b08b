"""The device that the tests in tests/gpu run on, and what they call equal there.

Without CUDA they are not collected. STABLELAB_GPU_TESTS=cpu runs them on the processor, to try the tests themselves.
"""

from __future__ import annotations

import os

import torch

HERE = torch.cuda.is_available() or bool(os.environ.get("STABLELAB_GPU_TESTS"))
DEVICE = torch.device(os.environ.get("STABLELAB_GPU_TESTS") or "cuda")
ON_GPU = DEVICE.type == "cuda"
TWO_HERE = torch.cuda.device_count() > 1 or (HERE and not ON_GPU)

# Sums of a GPU come in no fixed order, unless torch is told to keep one. So two runs part, slowly at first: this is how
# far the losses of a dozen steps may be apart. (Once, on an H100, two of 40 steps of a ResNet were 0.04 apart.)
APART = 0.1


def synchronized() -> None:
    """Wait for the GPU."""
    if ON_GPU:
        torch.cuda.synchronize(DEVICE)


def generator_state() -> torch.Tensor:
    """The state of the generator that dropout on this device draws from."""
    return torch.cuda.get_rng_state(DEVICE) if ON_GPU else torch.get_rng_state()
