"""Data parallel training: the mean gradient by a ring of devices, and what a device holds and sends with sharding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .._validation import number, same_shape, whole


def ring_all_reduce_bytes(size: float, n: int) -> float:
    """2 (n - 1) / n · size: what each of n devices sends, and receives, until all hold the mean of n arrays.

    Derivation: the array is cut into n chunks, and the devices stand in a ring. First each chunk goes once around, and
    every device on its way adds its own: after n - 1 steps each device holds the complete sum of one chunk
    (reduce-scatter). Then each complete chunk goes around once more, and is kept by all: another n - 1 steps
    (all-gather). In every step every device sends one chunk, size / n bytes. That makes 2 (n - 1) steps of size / n.

    It is below 2 · size for any number of devices, and no exchange between pairs of devices needs less: each of n sums
    takes n - 1 additions and n - 1 copies, which are transfers, and n links share them. What grows with n is the number
    of steps, and with it the waiting time of small arrays.

    Args:
        size: bytes of the array, such as 4 for each gradient in fp32.
        n: devices, 1 or more.

    Raises:
        ValueError: in one line, for a size below 0 or no devices.

    Source:
        Patarasuk & Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of workstations"; the count of
        transfers and links: NVIDIA/nccl-tests on GitHub, "Performance reported by NCCL tests", AllReduce.
    """
    return 2 * (whole("n", n, 1, of=" of devices") - 1) / n * number("size", size, at_least=0)


def ring_all_reduce(arrays: Sequence[Tensor]) -> tuple[list[Tensor], list[int]]:
    """The mean of n arrays as a ring of n devices comes to it, and how many numbers each device has sent.

    Args:
        arrays: of each device the array, all of one shape.

    Returns:
        Of each device the mean, which is the same bit for bit on all, and the count of what it has sent.

    Raises:
        ValueError: in one line, for no arrays or shapes that differ.
    """
    n = whole("n", len(arrays), 1, of=" of devices")
    for array in arrays[1:]:
        same_shape("the first array", arrays[0], "another", array)
    chunks = [list(array.flatten().tensor_split(n)) for array in arrays]
    sent = [0] * n
    for step in range(2 * (n - 1)):
        moving = [(i - step) % n for i in range(n)]  # the chunk that device i hands on to device i + 1
        arriving = [chunks[i][c] for i, c in enumerate(moving)]
        for i, c in enumerate(moving):
            right = (i + 1) % n
            chunks[right][c] = chunks[right][c] + arriving[i] if step < n - 1 else arriving[i]
            sent[i] += arriving[i].numel()
    return [torch.cat(each).reshape(arrays[0].shape) / n for each in chunks], sent


def bytes_per_device(
    parameters: int, n: int, stage: int = 0, *, weights: float = 4, gradients: float = 4, optimizer: float = 8
) -> float:
    """What each of n devices holds of weights, gradients and optimizer state; activations come on top.

    With stage 0 (data parallel, ``DistributedDataParallel``) each holds everything. ZeRO divides by n the optimizer
    state (stage 1), the gradients too (stage 2), and the weights too (stage 3, as in FSDP's full sharding). For one
    parameter, with w, g and o bytes: w + g + o, w + g + o/n, w + (g + o)/n, (w + g + o)/n. At stage 3 a device holds
    for a while, beside its share, the whole weights of the layer that it computes.

    Args:
        parameters: how many the model has.
        n: devices, 1 or more.
        stage: of ZeRO, 0 to 3.
        weights: w, bytes of one parameter; 4 in fp32 and under autocast.
        gradients: g, bytes of its gradient.
        optimizer: o, bytes that the optimizer keeps for it: 8 for Adam's two moments in fp32, 4 for momentum, 0 for
            plain SGD. In the paper w = g = 2 (fp16), and o = 12: both moments and a copy of the weights in fp32.

    Raises:
        ValueError: in one line, for no devices or another stage.

    Source:
        Rajbhandari, Rasley, Ruwase & He 2020, "ZeRO: Memory optimizations toward training trillion parameter models",
        Section 5 and Figure 1, where the parameters are Ψ, the optimizer's bytes K and the devices N_d.
    """
    whole("n", n, 1, of=" of devices")
    whole("stage", stage, at_most=3)
    each = 0.0
    for name, part, divided_from in (("weights", weights, 3), ("gradients", gradients, 2), ("optimizer", optimizer, 1)):
        each += number(name, part, at_least=0) / (n if stage >= divided_from else 1)
    return whole("parameters", parameters) * each


def bytes_sent_per_step(size: float, n: int, stage: int = 0) -> float:
    """What each of n devices sends in one step of data parallel training, where gradients take as much as weights.

    Stages 0 to 2 send as much as an all-reduce, 2 (n - 1) / n · size: where gradients are sharded only its first half
    is of gradients, and the second one hands out the new weights. Stage 3 collects the weights for the forward pass and
    again for the backward pass, and reduces the gradients: three halves, 3 (n - 1) / n · size.

    Args:
        size: bytes of the weights, and of the gradients.
        n: devices, 1 or more.
        stage: of ZeRO, 0 to 3.

    Raises:
        ValueError: in one line, for a size below 0, no devices or another stage.

    Source:
        Rajbhandari, Rasley, Ruwase & He 2020, Section 7.2: 2 Ψ and 3 Ψ.
    """
    return ring_all_reduce_bytes(size, n) * (1.5 if whole("stage", stage, at_most=3) == 3 else 1.0)
