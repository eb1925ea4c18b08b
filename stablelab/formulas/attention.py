"""Attention, and the contrastive loss: both are a softmax over a table of similarities."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._validation import number, same_shape, whole
from .losses import cross_entropy


def attention_weights(q: Tensor, k: Tensor, mask: Tensor | None = None, scale: float | None = None) -> Tensor:
    """A = softmax(scale · QKᵀ) over the keys: how much each query looks at each key.

    Args:
        q: queries, (..., T, d), floating point.
        k: keys, (..., S, d).
        mask: True where query t may look at key s; (T, S), or any shape that broadcasts to (..., T, S).
        scale: what the scores q · k are multiplied by; 1/√d if not given.

    Returns:
        The weights, (..., T, S): not negative, each row sums to 1, and 0 where the mask is False.

    Raises:
        ValueError: shapes that do not fit, a mask that is not boolean or leaves a query nothing to look at.

    Source:
        Vaswani et al. 2017, "Attention is all you need", Equation 1.
    """
    if q.dim() < 2 or k.dim() < 2 or q.shape[-1] != k.shape[-1] or 0 in (q.shape[-1], k.shape[-2]):
        shapes = f"{tuple(q.shape)} and {tuple(k.shape)}"
        raise ValueError(f"attention needs queries (..., T, d) and keys (..., S, d) of one d, not {shapes}")
    factor = 1 / math.sqrt(q.shape[-1]) if scale is None else number("scale", scale)
    scores = factor * q @ k.transpose(-2, -1)  # (..., T, S)
    if mask is not None:
        scores = scores.masked_fill(~_checked(mask, scores), -math.inf)
    return scores.softmax(dim=-1)


def scaled_dot_product_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """softmax(QKᵀ/√d) V: for each query the mean of the values, weighted by how well their keys fit it.

    Args:
        q: queries, (..., T, d). Heads are one of the leading dimensions: (B, heads, T, d).
        k: keys, (..., S, d).
        v: values, (..., S, e).
        mask: True where query t may look at key s; (T, S), or any shape that broadcasts to (..., T, S).
        scale: what the scores q · k are multiplied by; 1/√d if not given.

    Returns:
        (..., T, e).

    Raises:
        ValueError: as ``attention_weights``, or there is not one value per key.

    Source:
        Vaswani et al. 2017, "Attention is all you need", Equation 1.
    """
    if v.dim() < 2 or v.shape[-2] != k.shape[-2]:
        raise ValueError(f"attention needs one value per key, not {tuple(v.shape)} for keys {tuple(k.shape)}")
    return attention_weights(q, k, mask, scale) @ v


def causal_mask(length: int) -> Tensor:
    """True where a position may look: at itself and at what came before.

    Args:
        length: T, at least 1.

    Returns:
        (T, T), boolean: row t is True up to and including column t.

    Raises:
        ValueError: length is no whole number of at least 1.
    """
    whole("length", length, 1)
    return torch.ones(length, length, dtype=torch.bool).tril()


def info_nce(z1: Tensor, z2: Tensor, temperature: float = 0.1) -> Tensor:
    """Which of N candidates is the other view of mine? The cross-entropy of that question, asked from both sides.

    The logits are the cosines between all first and all second views, divided by the temperature; the right answer
    to row i is column i, and to column i row i.

    Args:
        z1: first view of each example, (N, D), floating point.
        z2: second view, (N, D), in the same order.
        temperature: τ > 0; a small one looks at the hardest candidates only.

    Returns:
        The loss in nats, a 0-dim tensor: log N for views that have nothing to do with each other.

    Raises:
        ValueError: shapes that differ or are not (N, D), fewer than two examples, a temperature that is not positive.

    Source:
        van den Oord, Li & Vinyals 2018, "Representation learning with contrastive predictive coding", Equation 4;
        cosines and temperature as in Chen et al. 2020, "A simple framework for contrastive learning of visual
        representations", Equation 1; from both sides as in Radford et al. 2021, "Learning transferable visual models
        from natural language supervision", Figure 3.
    """
    same_shape("z1", z1, "z2", z2)
    number("temperature", temperature, above=0)
    if z1.dim() != 2 or len(z1) < 2:
        raise ValueError(f"info_nce needs views (N, D) of at least two examples, not {tuple(z1.shape)}")
    u, w = (torch.nn.functional.normalize(z, dim=1) for z in (z1, z2))
    logits = u @ w.T / temperature  # (N, N)
    right = torch.arange(len(z1), device=z1.device)
    return 0.5 * (cross_entropy(logits, right) + cross_entropy(logits.T, right))


def _checked(mask: Tensor, scores: Tensor) -> Tensor:
    """The mask, if it is one for these scores."""
    if mask.dtype != torch.bool:
        raise ValueError(f"mask must be boolean, True where a query may look, not {mask.dtype}")
    try:
        fits = torch.broadcast_shapes(mask.shape, scores.shape) == scores.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(f"mask has shape {tuple(mask.shape)}, which does not fit scores {tuple(scores.shape)}")
    if not bool(mask.any(dim=-1).all()):
        raise ValueError("mask leaves a query nothing to look at; each row needs a True")
    return mask
