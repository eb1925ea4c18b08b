"""Low-rank adaptation: a large matrix stays as it is, and two thin ones learn what is to change about it."""

from __future__ import annotations

from torch import Tensor

from .._validation import number


def lora(x: Tensor, weight: Tensor, A: Tensor, B: Tensor, alpha: float, bias: Tensor | None = None) -> Tensor:
    """W₀ x + (α/r) B A x (+ bias): a linear layer and a change of its weight of rank r.

    Fine-tuning would learn ΔW, of k · d numbers. If it has rank r it is a product B A of r · (d + k) numbers: those
    are learned, W₀ is not. With B = 0 at the start the change is 0, and the layer does what it did; A is drawn at
    random, since with both at 0 both gradients, ∂L/∂B = (α/r) g (A x)ᵀ and ∂L/∂A = (α/r) Bᵀ g xᵀ, would stay 0 (g is
    the gradient of the output). In the first step only B moves.

    The r terms of B A x add up: α/r keeps the size of a first step of Adam, which moves each number of B by about the
    learning rate, about the same for all r, so that the rate need not be tuned anew for each.

    Args:
        x: inputs, (…, d).
        weight: W₀, (k, d), not trained.
        A: (r, d), drawn at random.
        B: (k, r), zeros at the start.
        alpha: α, above 0.
        bias: of the layer, (k,).

    Returns:
        (…, k).

    Raises:
        ValueError: shapes that do not fit, or α not above 0.

    Source:
        Hu et al. 2022, "LoRA: low-rank adaptation of large language models", Section 4.1, Equation 3.
    """
    scale = _scale(weight, A, B, alpha)
    h = x @ weight.T + scale * (x @ A.T @ B.T)  # (…, k)
    return h if bias is None else h + bias


def lora_merged(weight: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    """W₀ + (α/r) B A: one matrix that does the same, so that using the model costs what it did before.

    Args:
        weight: W₀, (k, d).
        A: (r, d).
        B: (k, r).
        alpha: α, above 0.

    Raises:
        ValueError: shapes that do not fit, or α not above 0.

    Source:
        Hu et al. 2022, Section 4.1, "No additional inference latency".
    """
    return weight + _scale(weight, A, B, alpha) * (B @ A)


def _scale(weight: Tensor, A: Tensor, B: Tensor, alpha: float) -> float:
    shapes = tuple(weight.shape), tuple(A.shape), tuple(B.shape)
    if not all(len(shape) == 2 for shape in shapes) or len(A) == 0 or (len(B), A.shape[1]) != shapes[0]:
        raise ValueError(
            f"LoRA needs a weight (k, d), A (r, d) and B (k, r), not {shapes[0]}, {shapes[1]}, {shapes[2]}"
        )
    if len(A) != B.shape[1]:
        raise ValueError(f"A has rank {len(A)} and B has rank {B.shape[1]}; they must be the same")
    return number("alpha", alpha, above=0) / len(A)
