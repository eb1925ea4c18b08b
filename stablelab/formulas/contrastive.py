"""The loss of CLIP: which of N captions belongs to this picture, and which picture to this caption."""

from __future__ import annotations

import torch
from torch import Tensor

from .._validation import same_shape, whole
from .losses import cross_entropy


def similarities(u: Tensor, v: Tensor, log_scale: Tensor | float) -> Tensor:
    """S = e^θ û v̂ᵀ: the cosine of every picture with every caption, multiplied by the scale.

    Args:
        u: vectors of pictures, (N, D), floating point, of any length above 0.
        v: vectors of captions, (M, D).
        log_scale: θ, the logarithm of the scale; the temperature is τ = e^(-θ). A learnt one is a 0-dim tensor.

    Returns:
        (N, M).

    Raises:
        ValueError: in one line, shapes that are not (N, D) and (M, D).

    Source:
        Radford et al. 2021, "Learning transferable visual models from natural language supervision", Figure 3.
    """
    if u.dim() != 2 or v.dim() != 2 or u.shape[1] != v.shape[1]:
        raise ValueError(f"pictures (N, D) and captions (M, D) of one D are compared, not {_shapes(u, v)}")
    scale = torch.as_tensor(log_scale, dtype=u.dtype, device=u.device).exp()
    return scale * torch.nn.functional.normalize(u, dim=1) @ torch.nn.functional.normalize(v, dim=1).T


def clip_loss(u: Tensor, v: Tensor, log_scale: Tensor | float) -> Tensor:
    """The symmetric InfoNCE: half the cross-entropy of the rows, half that of the columns.

    Row i of the similarities asks which caption belongs to picture i, column i which picture to caption i; the right
    answer is i, to both. ``formulas.info_nce`` is the same at a temperature that is held.

    Args:
        u: vectors of N pictures, (N, D), floating point; N is at least 2.
        v: vectors of their captions, (N, D), in the same order.
        log_scale: θ, as for ``similarities``.

    Returns:
        The loss in nats, a 0-dim tensor; log N where all similarities are equal.

    Raises:
        ValueError: in one line: shapes that differ or are not (N, D), or fewer than two pairs.

    Source:
        Radford et al. 2021, Figure 3; van den Oord, Li and Vinyals 2018, "Representation learning with contrastive
        predictive coding", Equation 4.
    """
    same_shape("u", u, "v", v)
    if u.dim() != 2 or len(u) < 2:
        raise ValueError(f"clip_loss needs vectors (N, D) of at least two pairs, not {tuple(u.shape)}")
    S = similarities(u, v, log_scale)  # (N, N)
    own = torch.arange(len(u), device=u.device)
    return 0.5 * (cross_entropy(S, own) + cross_entropy(S.T, own))


def clip_gradients(S: Tensor) -> tuple[Tensor, Tensor]:
    """What the loss asks of the similarities and of the logarithm of the scale.

    With P the softmax of each row and Q that of each column, ∂L/∂S = (P + Q - 2I) / 2N, and because S is
    proportional to e^θ, ∂L/∂θ = Σ S ∂L/∂S: half the similarity that rows and columns expect, minus that of the pairs.

    Args:
        S: similarities (N, N), floating point.

    Returns:
        ∂L/∂S (N, N), whose sum is 0, and ∂L/∂θ, a 0-dim tensor.

    Raises:
        ValueError: in one line, S is not (N, N) with N of at least 2.
    """
    if S.dim() != 2 or S.shape[0] != S.shape[1] or len(S) < 2:
        raise ValueError(f"similarities of N pairs are (N, N) with N of at least 2, not {tuple(S.shape)}")
    N = len(S)
    by_similarity = (S.softmax(dim=1) + S.softmax(dim=0) - 2 * torch.eye(N, dtype=S.dtype, device=S.device)) / (2 * N)
    return by_similarity, (S * by_similarity).sum()


def recall_at(S: Tensor, k: int = 1) -> tuple[float, float]:
    """How often the right one is among the k most similar: of captions for a picture, and of pictures for a caption.

    A tie counts against: what is as similar as the right one stands before it, so that equal vectors score 0, not 1.

    Args:
        S: similarities (N, N) of N pairs; the right one of row i is column i.
        k: at least 1.

    Returns:
        Two shares from 0 to 1: picture to caption, and caption to picture.

    Raises:
        ValueError: in one line, S is not (N, N), or k is no whole number of at least 1.
    """
    whole("k", k, 1)
    if S.dim() != 2 or S.shape[0] != S.shape[1]:
        raise ValueError(f"similarities of N pairs are (N, N), not {tuple(S.shape)}")
    own = S.diagonal()
    captions_before = (own[:, None] <= S).sum(dim=1) - 1  # (N,)
    pictures_before = (own[None, :] <= S).sum(dim=0) - 1
    return float((captions_before < k).double().mean()), float((pictures_before < k).double().mean())


def _shapes(u: Tensor, v: Tensor) -> str:
    return f"{tuple(u.shape)} and {tuple(v.shape)}"
