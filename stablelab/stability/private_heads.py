"""DP-SGD for many linear heads at once on frozen features, and what its privacy costs when batches are drawn."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .._validation import choice, number, whole
from ..formulas.privacy import gaussian_epsilon, gaussian_mu

ACCOUNTANTS = ("prv", "rdp")


@torch.no_grad()
def train_private_heads(
    features: Tensor,
    targets: Tensor,
    members: Tensor,
    classes: int,
    *,
    learning_rate: float,
    steps: int,
    max_norm: float,
    noise_multiplier: float,
    sample_rate: float = 1.0,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """R linear heads by DP-SGD, from weights of 0, each on its own members of the same N examples.

    The gradient of the cross-entropy of one example is (p - e_y) (x, 1)ᵀ, so its norm is ‖p - e_y‖ √(‖x‖² + 1): it is
    clipped without being written down. The sum of the clipped gradients and the noise are divided by the expected size
    of a batch, ``sample_rate`` times the mean number of members.

    Args:
        features: (N, D).
        targets: (N,) class numbers.
        members: (R, N) bool, the training examples of each head.
        classes: C.
        learning_rate: η, above 0.
        steps: T, 1 or more.
        max_norm: C, the bound of each example's gradient, above 0; inf clips nothing and needs a noise of 0.
        noise_multiplier: σ ≥ 0.
        sample_rate: q in (0, 1]: each member is in a batch with this chance, by itself (Poisson sampling); 1 is all.
        seed: of batches and noise.

    Returns:
        Weights (R, C, D) and biases (R, C).

    Raises:
        ValueError: a setting out of its range, shapes that do not fit, or noise without a bound.

    Source:
        Abadi et al. 2016, "Deep learning with differential privacy", the algorithm of DP-SGD.
    """
    number("learning_rate", learning_rate, above=0)
    whole("steps", steps, 1)
    number("noise_multiplier", noise_multiplier, at_least=0)
    number("sample_rate", sample_rate, above=0, at_most=1)
    if max_norm != math.inf:
        number("max_norm", max_norm, above=0)
    elif noise_multiplier:
        raise ValueError("max_norm is inf; noise is measured by the bound, so it needs one")
    if features.dim() != 2 or targets.shape != features.shape[:1] or members.shape[1:] != targets.shape:
        shapes = f"{tuple(features.shape)}, {tuple(targets.shape)} and {tuple(members.shape)}"
        raise ValueError(f"features must be (N, D), targets (N,) and members (R, N), not {shapes}")
    generator = torch.Generator().manual_seed(seed)
    x = torch.cat([features, features.new_ones(len(features), 1)], 1)  # (N, D + 1)
    lengths = x.norm(dim=1)  # (N,)
    right = F.one_hot(targets, classes).to(x.dtype).T  # (C, N)
    R, inside = len(members), members.to(x.dtype)
    batch_size = sample_rate * inside.sum(1).mean().item()
    theta = x.new_zeros(R, classes, x.shape[1])
    for _ in range(steps):
        drawn = inside
        if sample_rate < 1:
            drawn = inside * (torch.rand(inside.shape, generator=generator) < sample_rate)
        error = (theta.flatten(0, 1) @ x.T).view(R, classes, -1).softmax(1).sub_(right)  # (R, C, N)
        norms = error.norm(dim=1) * lengths  # (R, N)
        error *= (drawn * (max_norm / norms.clamp(min=1e-30)).clamp(max=1))[:, None]
        g = (error.flatten(0, 1) @ x).view_as(theta)
        if noise_multiplier:
            noise = torch.empty_like(theta).normal_(generator=generator)
            g.add_(noise, alpha=noise_multiplier * max_norm)
        theta.sub_(g, alpha=learning_rate / batch_size)
    return theta[..., :-1].clone(), theta[..., -1].clone()


def private_epsilon(
    noise_multiplier: float, steps: int, delta: float, sample_rate: float = 1.0, accountant: str = "prv"
) -> float:
    """ε that T steps of DP-SGD spend: by the formula on all the data, by opacus where batches are drawn.

    Args:
        noise_multiplier: σ ≥ 0; without noise there is no privacy, and ε is inf.
        steps: T, 1 or more.
        delta: δ in (0, 1).
        sample_rate: q in (0, 1], of Poisson sampling.
        accountant: "prv" (numerical, tight) or "rdp" (by Rényi divergences, an upper bound); nothing for q = 1.

    Raises:
        ValueError: a number out of its range.
        ImportError: q < 1 and no opacus.

    Source:
        Balle and Wang 2018 for q = 1; Gopi, Lee and Wutschitz 2021, "Numerical composition of differential privacy"
        (prv); Mironov, Talwar and Zhang 2019, "Rényi differential privacy of the sampled Gaussian mechanism" (rdp).
    """
    number("noise_multiplier", noise_multiplier, at_least=0)
    number("sample_rate", sample_rate, above=0, at_most=1)
    number("delta", delta, above=0, below=1)
    whole("steps", steps, 1)
    choice("accountant", accountant, ACCOUNTANTS)
    if noise_multiplier == 0:
        return math.inf
    if sample_rate == 1:
        return gaussian_epsilon(gaussian_mu(noise_multiplier, steps), delta)
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from opacus import accountants
    except ImportError:
        raise ImportError("opacus is not here; run: pip install 'stablelab[privacy]'") from None
    found: Any = accountants.create_accountant(accountant)
    found.history = [(noise_multiplier, sample_rate, steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of logarithms of 0 that it handles, and of its range of orders
        return float(found.get_epsilon(delta=delta))
