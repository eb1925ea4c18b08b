"""Mixed precision: what a device can compute in, the forward pass in half precision, and the scale of fp16's loss.

In ``bf16`` and ``fp16`` the matrix products and convolutions of the forward and the backward pass run in half precision
(``torch.autocast``). In fp32 stay, on every device: the weights (the "master weights"), their gradients, clipping, the
optimizer and its state, the logits and the loss, and validation; a frozen body's features, too, which are computed
once. What lies between two products (softmax, norms, activations) torch decides operation by operation: a GPU computes
softmax and layer norm in fp32, a CPU in what the operation before handed over. Half precision plus fp32 is fp32: so in
BERT the residual stream and the layer norms on it stay in fp32 on a CPU as well; in a ResNet there all is bf16.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .protocols import Inputs

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_BF16 = ("avx512_bf16", "amx_bf16", "avx10_2", "bf16", "sve_bf16")  # as torch calls them; the last two are of ARM


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """What a forward pass runs under; nothing at all in fp32."""
    return torch.autocast(device.type, DTYPES[precision]) if precision in DTYPES else nullcontext()


# -- what a device can do ----------------------------------------------------------------------------------------------


def bf16_units(there: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """The instructions that compute in bf16, such as ``avx512_bf16``.

    Args:
        there: what the processor has, by torch's names; if not given, this one as far as torch says.
    """
    if there is None:
        there = getattr(torch.cpu, "get_capabilities", dict)()
    return tuple(name for name in _BF16 if there.get(name))


def check_precision(precision: str, device: torch.device) -> None:
    """Raise a one-line ValueError where a device cannot train in a precision, or not sensibly.

    In fp16 torch's CPU products take as long as in fp32 where the processor has ``avx512_fp16``, and a hundred times as
    long where it has not; a step of convolutions takes a hundred times as long either way (PyTorch 2.15).
    """
    if precision == "fp32" or device.type == "cuda" or (precision, device.type) == ("bf16", "cpu"):
        return
    if device.type == "cpu":
        raise ValueError(
            "precision is 'fp16', which needs a GPU (cuda): on a CPU it is never faster than fp32, and up to a hundred "
            "times slower; give bf16 or fp32"
        )
    raise ValueError(f"precision is {precision!r}, which trains on cuda and cpu only; on {device.type} give fp32")


def precisions_of(device: torch.device) -> tuple[str, ...]:
    """Those that a device can train in."""
    found = ["fp32"]
    for precision in DTYPES:
        try:
            check_precision(precision, device)
        except ValueError:
            continue
        found.append(precision)
    return tuple(found)


def slower_here(precision: str, device: torch.device) -> str:
    """One line where a precision is slower than fp32 on this device, because it has no arithmetic for it; else empty.

    Source: pytorch/pytorch, issue 146508: on processors with AVX2 only, products in bf16 take 40 to 500 times as long.
    """
    if precision != "bf16" or (device.type == "cpu" and bf16_units()):
        return ""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return ""
    what = "processor" if device.type == "cpu" else "GPU"
    return f"bf16 is slower than fp32 here: this {what} has no bf16 arithmetic, so that torch imitates it"


# -- the scale of the loss ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LossScale:
    """What the loss is multiplied with in fp16, so that small gradients do not vanish; these are divided by it again.

    The smallest positive number of fp16 is 2⁻²⁴ ≈ 6e-8. Where a gradient is not finite the step is left out and the
    scale is halved; after 2,000 good steps in a row it is doubled.

    Args:
        value: the scale.
        good: steps in a row without an overflow.

    Source:
        Micikevicius et al. 2018, "Mixed precision training", Section 3.2; the numbers are those of
        ``torch.amp.GradScaler``.
    """

    value: float = 2.0**16
    good: int = 0

    def after(self, overflow: bool) -> LossScale:
        """That of the next step."""
        if overflow:
            return LossScale(self.value / 2)
        grows = self.good + 1 == 2000
        return LossScale(2 * self.value) if grows else LossScale(self.value, self.good + 1)

    def unscale_(self, gradients: Sequence[Tensor]) -> None:
        """Divide gradients by it, in place."""
        torch._foreach_mul_(list(gradients), 1 / self.value)


# -- accumulation ------------------------------------------------------------------------------------------------------


def check_accumulation(accumulation: int, batch_size: int) -> None:
    """Raise a one-line ValueError where a batch cannot be cut into so many micro-batches of one size."""
    if batch_size % accumulation:
        low = [n for n in range(1, min(math.isqrt(batch_size), 10_000) + 1) if not batch_size % n]
        fits = ", ".join(map(str, sorted({*low, *(batch_size // n for n in low)})))
        raise ValueError(
            f"accumulation is {accumulation}, which does not divide the batch of {batch_size}; it can be {fits}"
        )


def micro_batches(
    inputs: Inputs, targets: Tensor, accumulation: int, batch_size: int | None = None
) -> Iterator[tuple[Inputs, Tensor, float]]:
    """A batch cut into ``accumulation`` parts; a smaller one, such as the last of an epoch, into fewer of that size.

    Args:
        inputs: of the batch.
        targets: of the batch.
        accumulation: ≥ 1.
        batch_size: of a whole batch; that of this one if not given.

    Yields:
        The inputs and targets of each part, and its share of the examples: what its mean gradient counts for.
    """
    if accumulation == 1:
        yield inputs, targets, 1.0
        return
    examples = len(targets)
    size = math.ceil((batch_size or examples) / accumulation)
    first = 0
    for rows in torch.arange(examples).tensor_split(math.ceil(examples / size)):
        part = slice(first, first + len(rows))
        cut = {name: each[part] for name, each in inputs.items()} if isinstance(inputs, Mapping) else inputs[part]
        yield cut, targets[part], len(rows) / examples
        first += len(rows)
