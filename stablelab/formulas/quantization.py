"""Weights in eight bits: whole numbers from -127 to 127 and one scale, for a tensor or for each of its channels."""

from __future__ import annotations

import torch
from torch import Tensor

LARGEST = 127  # -128 is left out, so that the range is symmetric and 0 stays 0


def quantize_int8(x: Tensor, dim: int | None = None) -> tuple[Tensor, Tensor]:
    """round(x / s) with s = max |x| / 127: symmetric quantization, per tensor or per channel.

    The largest |x| becomes 127, so nothing is cut off, and rounding is off by at most s/2; spread evenly between
    -s/2 and s/2 the error has a variance of s²/12. So one large weight makes s, and the error of all others, large:
    with a scale of its own for each channel only those of its channel.

    Args:
        x: weights, floating point, finite, at least one.
        dim: the dimension that numbers the channels (0 for the weight of ``nn.Linear`` and ``nn.Conv2d``: outputs);
            None for one scale for all.

    Returns:
        Whole numbers (int8), of x's shape, and the scale: 0-dim, or with a size of 1 in all dimensions but ``dim``.
        Where all is 0 the scale is 1.

    Raises:
        ValueError: x is empty, not floating point or not finite, or has no such dimension.

    Source:
        Krishnamoorthi 2018, "Quantizing deep convolutional networks for efficient inference: a whitepaper",
        on the uniform symmetric quantizer, and its comparison of one scale for a layer with one for each channel; Wu et
        al. 2020, "Integer quantization for deep learning inference: principles and empirical evaluation", Section 3.1
        (range mapping).
    """
    if not x.is_floating_point() or x.numel() == 0 or not bool(x.isfinite().all()):
        raise ValueError(f"int8 needs finite floating-point numbers, at least one; x is {x.dtype} {tuple(x.shape)}")
    if dim is not None and not -x.dim() <= dim < x.dim():
        raise ValueError(f"dim is {dim}; x of shape {tuple(x.shape)} has dimensions 0 to {x.dim() - 1}")
    if dim is None:
        largest = x.detach().abs().amax()
    else:
        others = [i for i in range(x.dim()) if i != dim % x.dim()]
        largest = x.detach().abs().amax(others, keepdim=True) if others else x.detach().abs()
    scale = torch.where(largest > 0, largest / LARGEST, 1)
    return (x.detach() / scale).round().clamp(-LARGEST, LARGEST).to(torch.int8), scale


def dequantize_int8(q: Tensor, scale: Tensor) -> Tensor:
    """s · q: what the whole numbers stand for, each at most s/2 from the weight that it came from.

    Args:
        q: whole numbers, any shape.
        scale: s, as ``quantize_int8`` returns it.

    Source:
        As ``quantize_int8``.
    """
    return q.to(scale.dtype) * scale
