"""How noisy the gradient of a batch is, how large a batch is worth while, and which rate goes with another batch."""

from __future__ import annotations

import torch
from torch import Tensor

from .._validation import choice, number, whole

SCALINGS = {"linear": 1.0, "square root": 0.5}  # the power of the ratio of the batches


def unbiased_moments(small: Tensor, big: Tensor, batch_small: int, batch_big: int) -> tuple[Tensor, Tensor]:
    """Estimates of |G|² and tr(Σ) from squared norms of the gradients of two batch sizes.

    The gradient of a batch of B examples drawn independently has the mean G and the covariance Σ/B, where Σ is that of
    the gradient of one example. Its squared norm has therefore the mean |G|² + tr(Σ)/B: too long by the noise. Two
    batch sizes give two equations for the two unknowns.

    Args:
        small: |G_small|², squared norm of the gradient of a small batch, or the mean of several; any shape.
        big: |G_big|², the same for a large batch, which the small ones may be parts of.
        batch_small: examples in a small batch, 1 or more.
        batch_big: examples in a large one, more than in a small one.

    Returns:
        |G|², which comes out negative at times where G is short against the noise, and tr(Σ).

    Raises:
        ValueError: in one line, where the large batch is not larger.

    Source:
        McCandlish, Kaplan & Amodei 2018, "An empirical model of large-batch training", Appendix A.1, Equations A.1
        and A.2.
    """
    b, B = whole("batch_small", batch_small, 1), whole("batch_big", batch_big, 1)
    if b >= B:
        raise ValueError(f"batch_big must be larger than batch_small, and {B} is not larger than {b}")
    square = (B * big - b * small) / (B - b)
    trace = (small - big) / (1 / b - 1 / B)
    return square, trace


def noise_scale(small: Tensor, big: Tensor, batch_small: int, batch_big: int) -> Tensor:
    """B_simple = tr(Σ) / |G|²: the batch whose gradient is as much noise as signal, E|G_B - G|² = |G|².

    A quotient of two unbiased estimates is not unbiased itself: average ``small`` and ``big`` over batches before.

    Args:
        small: |G_small|², as of ``unbiased_moments``.
        big: |G_big|².
        batch_small: examples in a small batch.
        batch_big: examples in a large one.

    Returns:
        In examples; inf where the estimate of |G|² is not above 0, so that the gradient cannot be told from noise.

    Source:
        McCandlish, Kaplan & Amodei 2018, Equations 2.9 and 2.10. The scale that the derivation of the best step asks
        for is tr(HΣ) / GᵀHG, Equation 2.8; the two are the same where the Hessian H is a multiple of the identity.
    """
    square, trace = unbiased_moments(small, big, batch_small, batch_big)
    return torch.where(square > 0, trace / square, torch.inf)


def best_rate(max_rate: float, noise_scale: float, batch: int) -> float:
    """ε_max / (1 + B_noise / B): the best rate of a step of gradient descent with a batch of B.

    Far below the noise scale it grows in proportion to B, far above it hardly at all: at B = B_noise it is half of
    what it could ever be, and so is what the step gains.

    Args:
        max_rate: ε_max, the best rate without noise.
        noise_scale: B_noise, in examples, above 0.
        batch: B, 1 or more.

    Source:
        McCandlish, Kaplan & Amodei 2018, Equation 2.6; the gain is Equation 2.7.
    """
    noise = number("noise_scale", noise_scale, above=0)
    return number("max_rate", max_rate, at_least=0) / (1 + noise / whole("batch", batch, 1))


def scaled_rate(rate: float, batch: int, new_batch: int, scaling: str = "linear") -> float:
    """The learning rate for another batch: k η or √k η, where k is the ratio of the batches.

    Linear, for gradient descent: k small steps in nearly the same direction make one of k times the rate. Square root,
    for Adam: it divides by the root of the mean squared gradient, which where noise prevails, E g² ≈ σ²/B, is itself
    1/√k of what it was, so that √k is left to multiply the rate with. (Its SDE asks for other β and ε, too: with
    k times the batch, 1 - β becomes k (1 - β).)

    Args:
        rate: η, found for ``batch``.
        batch: 1 or more.
        new_batch: 1 or more.
        scaling: "linear" or "square root".

    Raises:
        ValueError: in one line, for a rate below 0, an empty batch or another scaling.

    Source:
        Goyal et al. 2017, "Accurate, large minibatch SGD: training ImageNet in 1 hour" (linear); Malladi, Lyu,
        Panigrahi & Arora 2022, "On the SDEs and scaling rules for adaptive gradient algorithms" (square root).
    """
    power = SCALINGS[choice("scaling", scaling, SCALINGS)]
    k = whole("new_batch", new_batch, 1) / whole("batch", batch, 1)
    return number("rate", rate, at_least=0) * float(k**power)
