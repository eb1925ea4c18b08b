"""What explanations are made of and compared by: rank correlation, and attention rolled out over the layers."""

from __future__ import annotations

import torch
from torch import Tensor


def ranks(scores: Tensor) -> Tensor:
    """From 1 for the smallest; equal scores share the mean of their ranks.

    Args:
        scores: (..., R).

    Returns:
        (..., R) float64.

    Raises:
        ValueError: a score is nan, which has no rank.
    """
    if bool(scores.isnan().any()):
        raise ValueError("a score is nan: it has no rank; leave it out, or find out where it comes from")
    mine, other = scores.unsqueeze(-1), scores.unsqueeze(-2)  # (..., R, 1), (..., 1, R)
    return (mine > other).sum(-1).double() + ((mine == other).sum(-1).double() + 1) / 2


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's ρ: the correlation of the ranks, 1 for the same order, -1 for the opposite one.

    Equal scores share the mean of their ranks, so the order in which they are stored does not count. Where one of the
    two is the same for all parts there is no order to compare: nan.

    Args:
        a: (..., R) one score for each of R parts.
        b: (..., R) the other.

    Returns:
        (...) float64 from -1 to 1.

    Raises:
        ValueError: their shapes differ, there are fewer than two parts, or a score is nan.

    Source:
        Spearman 1904, "The proof and measurement of association between two things".
    """
    if a.shape != b.shape or a.dim() == 0 or a.shape[-1] < 2:
        raise ValueError(
            f"rank_correlation takes two tensors of one shape (..., R) with R of 2 or more, not {tuple(a.shape)} "
            f"and {tuple(b.shape)}"
        )
    x, y = (r - r.mean(-1, keepdim=True) for r in (ranks(a), ranks(b)))
    return (x * y).sum(-1) / (x.square().sum(-1) * y.square().sum(-1)).sqrt()


def attention_rollout(weights: Tensor) -> Tensor:
    """A_L … A_2 A_1 with A_l = ½ W_l + ½ I: what of each input token is in each output, if layers only mixed tokens.

    Half of a block's output is taken to come from attention and half from the residual connection; values, norms and
    the feed-forward layers are left out.

    Args:
        weights: (L, T, T) the attention of each layer, the mean over its heads, from the input up; rows sum to 1.

    Returns:
        (T, T), rows of outputs, columns of input tokens; rows sum to 1.

    Raises:
        ValueError: another shape.

    Source:
        Abnar and Zuidema 2020, "Quantifying attention flow in transformers", attention rollout.
    """
    if weights.dim() != 3 or weights.shape[-1] != weights.shape[-2] or not len(weights):
        raise ValueError(f"weights are {tuple(weights.shape)}; they must be (L, T, T), one map for each of L layers")
    eye = torch.eye(weights.shape[-1], dtype=weights.dtype, device=weights.device)
    rolled = eye
    for layer in weights:
        rolled = (layer + eye) / 2 @ rolled
    return rolled
