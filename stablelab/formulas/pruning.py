"""Magnitude pruning: the weights nearest to 0 are set to 0, and stay there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .._validation import number, whole


def magnitude_masks(weights: Sequence[Tensor], sparsity: float) -> list[Tensor]:
    """True where a weight stays: of all weights together the share ``sparsity`` of the smallest |w| goes.

    Setting w_i to 0 changes the loss by about -g_i w_i + ½ H_ii w_i². Near a minimum g ≈ 0; if the curvatures H_ii are
    taken to be alike, that is least for the smallest |w_i|. One threshold for all tensors (global) lets each layer lose
    what it can spare; one for each would take the same share of a layer of which everything is needed.

    Args:
        weights: tensors of any shapes, on one device; not changed.
        sparsity: the share that goes, in [0, 1]: round(sparsity · n) of n weights.

    Returns:
        Boolean masks, one for each tensor, of its shape. Multiply the weights by them, after each step again.

    Raises:
        ValueError: there are no weights, one of them is nan, or a sparsity outside its range.

    Source:
        Han et al. 2015, "Learning both weights and connections for efficient neural networks"; that the
        curvatures are not alike, and what to do then: LeCun, Denker & Solla 1990, "Optimal brain damage".
    """
    sparsity = number("sparsity", sparsity, at_least=0, at_most=1)
    if not weights:
        raise ValueError("magnitude_masks needs at least one tensor of weights; there is none")
    sizes = torch.cat([w.detach().abs().flatten() for w in weights])  # (n,)
    if bool(sizes.isnan().any()):
        raise ValueError("a weight is nan: it is neither small nor large")
    keep = torch.ones_like(sizes, dtype=torch.bool)
    keep[sizes.topk(round(sparsity * len(sizes)), largest=False).indices] = False
    parts = keep.split([w.numel() for w in weights])
    return [part.view(w.shape) for part, w in zip(parts, weights, strict=True)]


def gradual_sparsity(k: int, first: int, last: int, final: float) -> float:
    """s_f (1 - (1 - (k - k₀)/(k₁ - k₀))³): the sparsity of step k; fast while weights abound, slow where they are few.

    Args:
        k: step, from 0.
        first: k₀, until when nothing is pruned.
        last: k₁, from when on the sparsity is final; above first.
        final: s_f, in [0, 1].

    Raises:
        ValueError: steps that are no steps or in the wrong order, or a sparsity outside its range.

    Source:
        Zhu & Gupta 2017, "To prune, or not to prune: exploring the efficacy of pruning for model compression",
        the schedule of its automated gradual pruning, with an initial sparsity of 0.
    """
    whole("k, the step,", k)
    whole("last", last, whole("first", first) + 1)
    final = number("final", final, at_least=0, at_most=1)
    left = 1 - (min(max(k, first), last) - first) / (last - first)
    return final * (1 - left**3)
