"""Exercises on attention; those on pre-training stand in their own module and join the list at the end."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from . import pretraining
from .exercise import Case, Exercise, Slip


def _normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def attention(q, k, v):
    d = q.shape[-1]
    scores = q @ k.transpose(-2, -1) / math.sqrt(d)  # (..., T, S)
    return torch.softmax(scores, dim=-1) @ v


def _weighted(scale, dim=-1):
    """Attention with another scale of the scores, or a softmax over another dimension."""
    return lambda q, k, v: torch.softmax(q @ k.transpose(-2, -1) * scale(q, k), dim=dim) @ v


SCALED_DOT_PRODUCT = Exercise(
    name="attention.scaled_dot_product",
    asks="softmax(QKᵀ/√d) V",
    solution=attention,
    cases=(
        Case("three queries, four keys, d = 2", (_normal(0, 3, 2), _normal(1, 4, 2), _normal(2, 4, 5))),
        Case("large scores, d = 16", (4 * _normal(3, 4, 16), 4 * _normal(4, 4, 16), _normal(5, 4, 16))),
        Case(
            "two sentences with three heads each",
            (_normal(6, 2, 3, 4, 8), _normal(7, 2, 3, 5, 8), _normal(8, 2, 3, 5, 8)),
        ),
    ),
    slips=(
        Slip("the scores are not divided by √d", _weighted(lambda q, k: 1)),
        Slip("the scores are divided by d; divide by its square root", _weighted(lambda q, k: 1 / q.shape[-1])),
        Slip(
            "divided by the root of the number of keys; d is the length of a query, the last dimension of q",
            _weighted(lambda q, k: 1 / math.sqrt(k.shape[-2])),
        ),
        Slip(
            "the softmax runs over the queries; each query shares out its attention over the keys, the last dimension",
            _weighted(lambda q, k: 1 / math.sqrt(q.shape[-1]), dim=-2),
        ),
        Slip(
            "the scores are used as they are; a softmax over the keys makes weights of them",
            lambda q, k, v: q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]) @ v,
        ),
    ),
    hints=(
        "The score of query t and key s is their dot product. One matrix product gives all of them.",
        "k.transpose(-2, -1) swaps the last two dimensions, whatever stands in front of them.",
        "Scores divided by math.sqrt(d), softmax over the last dimension, then a matrix product with v.",
    ),
)


def causal_mask(T):
    return torch.ones(T, T, dtype=torch.bool).tril()


CAUSAL_MASK = Exercise(
    name="attention.causal_mask",
    asks="a boolean (T, T) tensor, True where position t (row) may look at position s (column)",
    solution=causal_mask,
    cases=(Case("one position", (1,)), Case("two positions", (2,)), Case("five positions", (5,))),
    slips=(
        Slip(
            "it looks at the future: row t must be True up to column t, not from it",
            lambda T: torch.ones(T, T).triu().bool(),
        ),
        Slip("a position must be able to see itself: the diagonal is True", lambda T: torch.ones(T, T).tril(-1).bool()),
        Slip("turned round: True says that a position may look", lambda T: torch.ones(T, T).triu(1).bool()),
        Slip("it allows everything: the future must be False", lambda T: torch.ones(T, T).bool()),
    ),
    hints=(
        "Position t may look at s when s ≤ t.",
        "torch.ones(T, T, dtype=torch.bool), and then one of tril and triu.",
    ),
)


def split_heads(x, heads):
    B, T, D = x.shape
    return x.reshape(B, T, heads, D // heads).transpose(1, 2)  # (B, heads, T, d)


SPLIT_HEADS = Exercise(
    name="attention.split_heads",
    asks="the (B, heads, T, D / heads) tensor in which head h has the h-th piece of each position's vector",
    solution=split_heads,
    cases=(
        Case("one sentence of three positions, two heads of 2", (torch.arange(12.0).double().view(1, 3, 4), 2)),
        Case("as many heads as positions", (_normal(9, 2, 3, 12), 3)),
        Case("one head", (_normal(10, 2, 4, 5), 1)),
    ),
    slips=(
        Slip(
            "cut straight into (B, heads, T, d), which mixes the positions: cut D into (heads, d) first, then swap",
            lambda x, heads: x.reshape(x.shape[0], heads, x.shape[1], -1),
        ),
        Slip(
            "the heads must stand before the positions: swap dimensions 1 and 2",
            lambda x, heads: x.reshape(*x.shape[:2], heads, -1),
        ),
        Slip(
            "each head got every heads-th number; its piece is d numbers in a row",
            lambda x, heads: x.reshape(*x.shape[:2], -1, heads).permute(0, 3, 1, 2),
        ),
    ),
    hints=(
        "Cut the last dimension into (heads, d). Nothing has moved so far.",
        "Then swap the positions and the heads: transpose(1, 2).",
    ),
)


def dot_product_variance(d, mean_q, var_q, mean_k, var_k):
    mean_square = (var_q + mean_q**2) * (var_k + mean_k**2)  # E[(q_i k_i)²] = E[q_i²] E[k_i²]
    return d * (mean_square - (mean_q * mean_k) ** 2)


VARIANCE = Exercise(
    name="attention.dot_product_variance",
    asks="the variance of q · k for d independent pairs of entries with these means and variances",
    solution=dot_product_variance,
    cases=(
        Case("mean 0, variance 1, d = 64", (64, 0.0, 1.0, 0.0, 1.0)),
        Case("mean 0, variances 4 and 0.25, d = 10", (10, 0.0, 4.0, 0.0, 0.25)),
        Case("means 1 and -2, variances 2 and 3, d = 5", (5, 1.0, 2.0, -2.0, 3.0)),
        Case("one entry that never varies times one that does", (1, 3.0, 0.0, 1.0, 2.0)),
    ),
    slips=(
        Slip("right for means of 0 only: E[q²] is the variance plus the squared mean", lambda d, a, u, b, w: d * u * w),
        Slip(
            "the squared mean of q k is still in there: Var(X) = E[X²] - E[X]²",
            lambda d, a, u, b, w: d * (u + a**2) * (w + b**2),
        ),
        Slip(
            "that is the standard deviation; the variance is its square",
            lambda d, a, u, b, w: math.sqrt(d * ((u + a**2) * (w + b**2) - (a * b) ** 2)),
        ),
        Slip(
            "variances add up over independent terms: d times that of one, not d²",
            lambda d, a, u, b, w: d**2 * ((u + a**2) * (w + b**2) - (a * b) ** 2),
        ),
    ),
    hints=(
        "q · k is a sum of d independent terms, so its variance is d times the variance of one term q_i k_i.",
        "Var(X) = E[X²] - E[X]², with X = q_i k_i; q_i and k_i are independent, so E[X²] = E[q_i²] E[k_i²].",
        "E[q_i²] is the variance plus the squared mean.",
    ),
)


def softmax_gradient(z, g):
    a = torch.softmax(z, dim=0)
    return a * (g - (a * g).sum())


SOFTMAX_GRADIENT = Exercise(
    name="attention.softmax_gradient",
    asks="the gradient of the loss with respect to the scores z, when g is the one with respect to a = softmax(z)",
    solution=softmax_gradient,
    cases=(
        Case("even scores", (torch.zeros(3, dtype=torch.float64), torch.tensor([1.0, 0.0, -2.0], dtype=torch.float64))),
        Case("four scores", (_normal(11, 4), _normal(12, 4))),
        Case("saturated: one score is 12 above the others", (torch.tensor([0.0, 12.0, -1.0]).double(), _normal(13, 3))),
    ),
    slips=(
        Slip(
            "right, but for what the weights share: raising one lowers the others, so subtract Σ a_j g_j from g",
            lambda z, g: torch.softmax(z, 0) * g,
        ),
        Slip(
            "that is the diagonal alone, a (1 - a) g; the other weights move too",
            lambda z, g: torch.softmax(z, 0) * (1 - torch.softmax(z, 0)) * g,
        ),
        Slip("the mean to subtract from g is weighted by a", lambda z, g: torch.softmax(z, 0) * (g - g.mean())),
        Slip("the sign is turned", lambda z, g: torch.softmax(z, 0) * ((torch.softmax(z, 0) * g).sum() - g)),
    ),
    hints=(
        "Chain rule: ∂L/∂z_j = Σ_i g_i ∂a_i/∂z_j, and ∂a_i/∂z_j = a_i ([i = j] - a_j).",
        "Multiply out: a_j g_j - a_j Σ_i a_i g_i.",
    ),
)

EXERCISES = (SCALED_DOT_PRODUCT, CAUSAL_MASK, SPLIT_HEADS, VARIANCE, SOFTMAX_GRADIENT, *pretraining.EXERCISES)
