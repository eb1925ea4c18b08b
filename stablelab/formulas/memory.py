"""How many bytes a training step needs: weights, gradients, what the optimizer keeps, and activations.

Activations are what the forward pass keeps because the backward pass needs it. All results are bytes (10⁶ to the MB).
Under bf16 and fp16 the weights, gradients and moments stay in fp32 and the products run in half precision, as
``torch.autocast`` does it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .._validation import choice, switch, whole

PRECISIONS = ("fp32", "bf16", "fp16")
_FP32, _HALF, _INT64 = 4, 2, 8  # bytes of one number

# What an optimizer keeps for each trained number, in bytes. Eight-bit Adam: two moments of one byte, and for each block
# of 2,048 of them its largest value in fp32.
KEPT = {
    "sgd": 0.0,
    "momentum": 4.0,
    "nesterov": 4.0,
    "adam": 8.0,
    "adamw": 8.0,
    "lamb": 8.0,
    "adam8bit": 2 * (1 + 4 / 2048),
}


class StepBytes(NamedTuple):
    """What a step needs, in bytes; ``total`` is the sum."""

    weights: int
    half_copies: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        return sum(self)


def step_bytes(
    parameters: int,
    activations: int,
    optimizer: str = "adamw",
    precision: str = "fp32",
    trained: int | None = None,
    cast: int | None = None,
) -> StepBytes:
    """Bytes of a training step with P parameters of which P' are trained: 4 P + 2 P_cast + 4 P' + kept · P' + A.

    In half precision ``autocast`` keeps a copy of each weight that it casts until the backward pass has used it. With
    Adam that is 16 bytes for each parameter in fp32 (4 + 4 + 8) and 18 in half. Where the weights and gradients
    themselves are kept in half precision beside a "master copy" in fp32 it is 2 + 2 + 12 = 16.

    The sum is an upper bound, but for the scratch space of single operations: in the backward pass the gradients grow
    while the activations go. It is reached where gradients are there before the forward pass (in accumulation).

    Args:
        parameters: P, of the whole model.
        activations: A in bytes: ``encoder_activation_bytes``, ``resnet18_activation_bytes``.
        optimizer: one of ``sgd``, ``momentum``, ``nesterov``, ``adam``, ``adamw``, ``lamb``, ``adam8bit``.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        trained: P', all if not given. (LoRA and a frozen body save here.)
        cast: P_cast, how many parameters are cast to half precision, all if not given. Those of embeddings and norms
            are not.

    Raises:
        ValueError: in one line, an unknown name, or a number that is no count or more than all parameters.

    Source:
        Rajbhandari et al. 2020, "ZeRO: memory optimizations toward training trillion parameter models", Section 3.1
        (2 Ψ + 2 Ψ + 12 Ψ = 16 Ψ); the fp32 master copy: Micikevicius et al. 2018, "Mixed precision training",
        Section 3.1.
    """
    whole("parameters", parameters, 1)
    whole("activations", activations)
    choice("precision", precision, PRECISIONS)
    trained = parameters if trained is None else whole("trained", trained, at_most=parameters)
    cast = parameters if cast is None else whole("cast", cast, at_most=parameters)
    return StepBytes(
        weights=_FP32 * parameters,
        half_copies=0 if precision == "fp32" else _HALF * cast,
        gradients=_FP32 * trained,
        optimizer=optimizer_bytes(trained, optimizer),
        activations=activations,
    )


def optimizer_bytes(parameters: int, optimizer: str = "adamw") -> int:
    """Bytes that an optimizer keeps between two steps: one number of fp32 for each parameter and moment.

    Args:
        parameters: how many are trained.
        optimizer: one of ``sgd``, ``momentum``, ``nesterov``, ``adam``, ``adamw``, ``lamb``, and ``adam8bit``.

    Raises:
        ValueError: an unknown optimizer, or no count of parameters.

    Source:
        Eight-bit Adam: Dettmers et al. 2022, "8-bit optimizers via block-wise quantization", blocks of 2,048.
    """
    whole("parameters", parameters)
    return math.ceil(KEPT[choice("optimizer", optimizer, KEPT)] * parameters)


def adafactor_bytes(shapes: Iterable[Sequence[int]]) -> int:
    """Bytes that Adafactor keeps: of a matrix n × m the means of its rows and of its columns, n + m instead of n m.

    Args:
        shapes: of each trained tensor. Of one with more than two dimensions (…, n, m) each n × m is a matrix; one
            with fewer keeps a number for each element.

    Source:
        Shazeer & Stern 2018, "Adafactor: adaptive learning rates with sublinear memory cost", on factored
        second moment estimation.
    """
    numbers = 0
    for shape in shapes:
        if len(shape) < 2:
            numbers += math.prod(shape)
        else:
            numbers += math.prod(shape[:-2]) * (shape[-2] + shape[-1])
    return _FP32 * numbers


# -- activations -------------------------------------------------------------------------------------------------------


def encoder_layer_bytes(
    batch: int,
    length: int,
    width: int,
    heads: int,
    intermediate: int | None = None,
    size: int = 4,
    mask_size: int = 4,
    fused: bool = False,
) -> int:
    """Activations of one encoder layer in one precision: sbh (8 w + 2 w f/h + 2 m) + a s² b (2 w + m).

    What the backward pass needs, in numbers of w bytes: the layer's input x, queries, keys, values, the mean of the
    values, the sum that the first norm takes in, what it gives out, and the sum of the second norm are 8 sbh; the inner
    layer before and after its GELU 2 sbf. Two dropouts keep a mask of m bytes each. Attention keeps its weights before
    and after dropout and the mask of that: a s² b (2 w + m), unless one fused kernel computes them again when needed.

    With w = 2, m = 1 and f = 4h it is sbh (34 + 5 a s/h), the equation of the paper.

    Args:
        batch: b, sequences.
        length: s, tokens of each, padding included.
        width: h.
        heads: a.
        intermediate: f, the width of the inner layer; 4 h if not given.
        size: w, bytes of a number.
        mask_size: m, bytes of an element of a dropout mask; 0 without dropout. (Dropout keeps nothing then, and the
            attention weights are kept once.)
        fused: whether attention is one kernel.

    Raises:
        ValueError: a number that is no count of at least 1 (sizes: at least 0).

    Source:
        Korthikanti et al. 2022, "Reducing activation recomputation in large transformer models", Section 4.1,
        Equation 1 (attention 11 sbh + 5 a s² b, inner layer 19 sbh, norms 4 sbh). Means and deviations of the norms,
        some thousandths of it, are left out, here as there.
    """
    b, s, h, a, f = _encoder(batch, length, width, heads, intermediate)
    w, m = whole("size", size, 1), whole("mask_size", mask_size)
    scores = 0 if switch("fused", fused) else a * s * s * b * (2 * w + m if m else w)
    return s * b * (8 * w * h + 2 * w * f + 2 * m * h) + scores


def encoder_activation_bytes(
    batch: int,
    length: int,
    width: int,
    heads: int,
    layers: int,
    intermediate: int | None = None,
    precision: str = "fp32",
    dropout: bool = True,
    device: str = "cpu",
    padding: bool = True,
) -> int:
    """Activations of a transformer encoder as BERT or MiniLM in training, from its embeddings to its last layer.

    In fp32 each layer is ``encoder_layer_bytes``, and mean and deviation of its two norms: 4 numbers for each token. A
    fused attention kernel keeps a s b numbers more, the logarithms of its sums, and a mask of b s² where there is
    padding. Under autocast not all of it halves: each of the three products that take x casts it anew (3 copies), the
    sums before the norms stay in fp32, and a CPU that has to drop out attention weights computes attention in fp32.

    What differs between devices: the mask of a dropout has a number for each element on a CPU and a byte on a GPU; a
    GPU runs attention as one fused kernel (``scaled_dot_product_attention``), a CPU does without dropout.

    Args:
        batch: b, sequences.
        length: s, tokens of each, padding included.
        width: h.
        heads: a.
        layers: how many.
        intermediate: f, the width of the inner layer; 4 h if not given.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        dropout: whether there is any, in attention and elsewhere.
        device: ``cpu`` or ``cuda``.
        padding: whether the sequences of a batch differ in length.

    Returns:
        Bytes. On a CPU within 0.5 % of what BERT keeps (MiniLM's shape, 1 to 6 layers, 16 to 256 tokens). Those of
        a GPU are derived in the same way, and have not been measured.

    Raises:
        ValueError: an unknown precision or device, or a number that is no count of at least 1.

    Source:
        As ``encoder_layer_bytes``; what autocast and dropout keep was read off PyTorch 2.15.
    """
    b, s, h, a, f = _encoder(batch, length, width, heads, intermediate)
    whole("layers", layers, 1)
    half = choice("precision", precision, PRECISIONS) != "fp32"
    on_gpu = choice("device", device, ("cpu", "cuda")) == "cuda"
    fused = on_gpu or not switch("dropout", dropout)
    mask = (1 if on_gpu else _FP32) if dropout else 0  # of numbers in fp32
    sums = s * b * h * _FP32  # what a norm takes in
    ends = sums + s * b * (h * mask + 2 * _FP32)  # the norm and the dropout of the embeddings
    size = _HALF if half else _FP32
    inside = a * s * b * _FP32 + (b * s * s * size if switch("padding", padding) else 0) if fused else 0
    inside += 4 * s * b * _FP32
    if not half:  # the last layer's output is what the pooler looks at
        return layers * (encoder_layer_bytes(b, s, h, a, f, _FP32, mask, fused) + inside) + ends + sums
    products = _HALF * s * b * (5 * h + 2 * f)  # x for queries, keys and values, then what the other three take in
    attention = 3 * s * b * h * (_HALF if fused else _FP32) + (0 if fused else a * s * s * b * (2 * _FP32 + mask))
    masks = 2 * s * b * h * min(mask, _HALF)
    return layers * (products + attention + masks + 2 * sums + inside) + ends


def resnet18_activation_bytes(batch: int, height: int, width: int, precision: str = "fp32") -> int:
    """Activations of a ResNet-18 in training: 102½ numbers and 4 indices for each pixel.

    Each convolution keeps its input, and each batch norm its own, the convolution's output; ReLU works in place, and
    what it leaves is the input of the next convolution: two maps for each convolution. With H W pixels the first one
    has maps of 64 · HW/4, and max pooling keeps an index of eight bytes for each of its 64 · HW/16 outputs. Each of
    the four stages has nine maps (its input or shortcut, and two for each of four convolutions) of 64, 32, 16 and
    8 · HW/16 numbers: 3 + 2 · 16 + 9 · (4 + 2 + 1 + ½) = 102½ for each pixel. Odd sizes are rounded up. The head keeps
    its 512 inputs, and the batch norms mean and deviation of 4,800 channels in all.

    Args:
        batch: pictures.
        height: H, pixels.
        width: W, pixels.
        precision: in ``bf16`` and ``fp16`` all maps have half the size; the indices have not.

    Returns:
        Bytes: what torchvision's keeps on a CPU.

    Raises:
        ValueError: an unknown precision, or a number that is no count of at least 1.

    Source:
        He et al. 2016, "Deep residual learning for image recognition", Table 1; what each operation keeps was read off
        PyTorch 2.15.
    """
    whole("batch", batch, 1)
    h, w = whole("height", height, 1), whole("width", width, 1)
    size = _FP32 if choice("precision", precision, PRECISIONS) == "fp32" else _HALF
    numbers = 3 * h * w
    h, w = _halved(h), _halved(w)
    numbers += 2 * 64 * h * w
    h, w = _halved(h), _halved(w)
    indices = 64 * h * w
    for channels in (64, 128, 256, 512):
        numbers += 9 * channels * h * w
        h, w = _halved(h), _halved(w)
    return batch * (size * (numbers + 512) + _INT64 * indices) + 2 * 4800 * _FP32


def checkpointed_bytes(layer: int, layer_input: int, layers: int, segments: int | None = None) -> int:
    """Activations at their most under activation checkpointing: k · input + ⌈n/k⌉ · layer.

    Only the inputs of k segments are kept; the backward pass computes one segment again at a time. It is least near
    k = √(n · layer / input); where a layer kept nothing but its input that would be √n. The price is one more forward
    pass: as the backward pass costs two, a step costs 4/3.

    Args:
        layer: bytes of one layer's activations.
        layer_input: bytes of its input.
        layers: n.
        segments: k, at most n; n if not given, each layer by itself.

    Raises:
        ValueError: a number that is no count of at least 1, or more segments than layers.

    Source:
        Chen et al. 2016, "Training deep nets with sublinear memory cost", Section 4.3, Equation 1; one segment
        after the other: Algorithm 1.
    """
    whole("layer", layer, 1)
    whole("layer_input", layer_input, 1)
    whole("layers", layers, 1)
    k = layers if segments is None else whole("segments", segments, 1, at_most=layers)
    return k * layer_input + math.ceil(layers / k) * layer


def _encoder(batch: int, length: int, width: int, heads: int, intermediate: int | None) -> tuple[int, ...]:
    named = {"batch": batch, "length": length, "width": width, "heads": heads}
    counts = [whole(name, value, 1) for name, value in named.items()]
    return *counts, 4 * width if intermediate is None else whole("intermediate", intermediate, 1)


def _halved(pixels: int) -> int:
    return (pixels + 1) // 2
