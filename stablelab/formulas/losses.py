"""What a model is asked to make small: mean squared error and cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor

from .._validation import same_shape


def mean_squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean over all elements of (prediction - target)².

    Args:
        prediction: any shape, at least one element.
        target: same shape. (A target of another shape would be stretched to fit, and the loss would be of something
            else: therefore it is refused.)

    Returns:
        The loss, a 0-dim tensor.

    Raises:
        ValueError: the shapes differ, or there is nothing to average.

    Source:
        Goodfellow, Bengio & Courville 2016, "Deep learning", Equation 5.4.
    """
    same_shape("prediction", prediction, "target", target)
    if prediction.numel() == 0:
        raise ValueError("the mean squared error of no elements is undefined: prediction and target are empty")
    return ((prediction - target) ** 2).mean()


def log_softmax(logits: Tensor) -> Tensor:
    """log p over the last dimension, p_c = exp z_c / Σ_j exp z_j, without overflow.

    Adding one constant to all logits of a row changes nothing, so the row's largest is subtracted first: then the
    largest exponential is exp 0 = 1, the sum lies between 1 and C, and neither overflows nor vanishes.

    Args:
        logits: (..., C), floating point.

    Returns:
        The log-probabilities, (..., C); each row's exponentials sum to 1.

    Raises:
        ValueError: there are no classes.

    Source:
        Goodfellow, Bengio & Courville 2016, "Deep learning", Section 4.1 (overflow and underflow).
    """
    if logits.dim() == 0 or logits.shape[-1] == 0:
        raise ValueError(f"logits need at least one class in their last dimension, not shape {tuple(logits.shape)}")
    # The constant drops out of the result, and so out of its gradient: no need to differentiate through the maximum.
    z = logits - logits.detach().amax(dim=-1, keepdim=True)  # (..., C), all at most 0
    return z - z.exp().sum(dim=-1, keepdim=True).log()


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the batch of -log p(target): how surprised the model is by the right answer.

    Its gradient with respect to the logits of one example is (p - onehot(target)) / N: bounded, however wrong. As
    log p_c = z_c - log Σ_j exp z_j, only the logit of the right class and one sum per example are needed.

    Args:
        logits: (N, C), floating point, any size (±1e4 is fine).
        targets: (N,), the right class of each example, integers in 0..C-1.

    Returns:
        The loss in nats, a 0-dim tensor; log C for a model that guesses evenly.

    Raises:
        ValueError: shapes that do not fit, an empty batch, targets that are not integers or not a class. On a GPU,
            where looking at them would make it wait, the loss is NaN for targets that are not a class.

    Source:
        Goodfellow, Bengio & Courville 2016, "Deep learning", Section 6.2.2.3 (softmax units and maximum likelihood).
    """
    _check_targets(logits, targets)
    index = targets.long()
    if not targets.is_cuda:
        check_values(targets, logits.shape[1])
        return (logits.logsumexp(dim=1) - _at(logits, index)).mean()
    within = index.clamp(0, logits.shape[1] - 1)
    loss = (logits.logsumexp(dim=1) - _at(logits, within)).mean()
    return torch.where((within == index).all(), loss, torch.nan)


def _at(logits: Tensor, index: Tensor) -> Tensor:
    return logits.gather(1, index.unsqueeze(1)).squeeze(1)  # (N,)


def check_values(targets: Tensor, classes: int) -> None:
    """Raise ValueError, in one line, where targets (N,) are not all in 0..classes-1."""
    low, high = torch.stack(torch.aminmax(targets)).tolist()  # one trip from the GPU for both
    if low < 0 or high >= classes:
        raise ValueError(f"targets must lie in 0..{classes - 1} for {classes} classes, but they span {low}..{high}")


def _check_targets(logits: Tensor, targets: Tensor) -> None:
    if logits.dim() != 2 or targets.dim() != 1 or len(logits) != len(targets):
        shapes = f"{tuple(logits.shape)} and {tuple(targets.shape)}"
        raise ValueError(f"cross_entropy needs logits (N, C) and targets (N,), not {shapes}")
    if len(targets) == 0:
        raise ValueError("the cross-entropy of no examples is undefined: the batch is empty")
    if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
        raise ValueError(f"targets must be integers (the index of the right class), not {targets.dtype}")
