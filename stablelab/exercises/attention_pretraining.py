"""The exercises of notebook 06: attention, and what pre-training asks of a model."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .attention_pretraining_design import PADDED, PAIRED, SAME_TRAINING
from .exercise import Case, Exercise, Slip, float64, normal


def attention(q, k, v):
    d = q.shape[-1]
    scores = q @ k.transpose(-2, -1) / math.sqrt(d)  # (..., T, S)
    return torch.softmax(scores, dim=-1) @ v


def _weighted(scale, dim=-1):
    """Attention with another scale of the scores, or a softmax over another dimension."""
    return lambda q, k, v: torch.softmax(q @ k.transpose(-2, -1) * scale(q, k), dim=dim) @ v


SCALED_DOT_PRODUCT = Exercise(
    name="attention.scaled_dot_product",
    returns="softmax(QKᵀ/√d) V",
    solution=attention,
    cases=(
        Case("three queries, four keys, d = 2", (normal(3, 2, seed=0), normal(4, 2, seed=1), normal(4, 5, seed=2))),
        Case("large scores, d = 16", (4 * normal(4, 16, seed=3), 4 * normal(4, 16, seed=4), normal(4, 16, seed=5))),
        Case(
            "two sentences with three heads each",
            (normal(2, 3, 4, 8, seed=6), normal(2, 3, 5, 8, seed=7), normal(2, 3, 5, 8, seed=8)),
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


def split_heads(x, heads):
    B, T, D = x.shape
    return x.reshape(B, T, heads, D // heads).transpose(1, 2)  # (B, heads, T, d)


SPLIT_HEADS = Exercise(
    name="attention.split_heads",
    returns="the (B, heads, T, D / heads) tensor in which head h has the h-th piece of each position's vector",
    solution=split_heads,
    cases=(
        Case("one sentence of three positions, two heads of 2", (torch.arange(12.0).double().view(1, 3, 4), 2)),
        Case("as many heads as positions", (normal(2, 3, 12, seed=9), 3)),
        Case("one head", (normal(2, 4, 5, seed=10), 1)),
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
    returns="the variance of q · k for d independent pairs of entries with these means and variances",
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
    returns="the gradient of the loss with respect to the scores z, when g is the one with respect to a = softmax(z)",
    solution=softmax_gradient,
    cases=(
        Case("even scores", (torch.zeros(3), torch.tensor([1.0, 0.0, -2.0]))),
        Case("four scores", (normal(4, seed=11), normal(4, seed=12))),
        Case(
            "saturated: one score is 12 above the others",
            (torch.tensor([0.0, 12.0, -1.0]), normal(3, seed=13)),
        ),
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
    absolute=1e-6,  # where softmax is saturated, numbers of size 1 cancel
)


def _hidden(*rows: str) -> Tensor:
    return torch.tensor([[mark == "x" for mark in row] for row in rows])  # x is hidden


def masked_error(prediction, patches, hidden):
    error = (prediction - patches) ** 2  # (N, P, D)
    return error[hidden].mean()  # hidden picks patches: (number hidden, D)


MASKED_ERROR = Exercise(
    name="attention.masked_error",
    returns="the mean squared error over all pixels of the hidden patches",
    solution=masked_error,
    cases=(
        Case(
            "one picture, two of four patches hidden",
            (normal(1, 4, 3, seed=0), normal(1, 4, 3, seed=1), _hidden("x..x")),
        ),
        Case(
            "one of three and three of three hidden",
            (normal(2, 3, 2, seed=2), normal(2, 3, 2, seed=3), _hidden(".x.", "xxx")),
        ),
    ),
    slips=(
        Slip("all patches count; copying what is seen would earn most of it", lambda p, x, h: ((p - x) ** 2).mean()),
        Slip("turned round: these are the patches that were seen", lambda p, x, h: ((p - x) ** 2)[~h].mean()),
        Slip(
            "the sum is right, but it is divided by all pixels: count those of the hidden patches",
            lambda p, x, h: ((p - x) ** 2 * h[..., None]).mean(),
        ),
        Slip("divide by the pixels, not by the patches", lambda p, x, h: ((p - x) ** 2)[h].sum() / h.sum()),
    ),
    hints=(
        "The squared error of every pixel first, (N, P, D).",
        "A boolean (N, P) tensor picks the patches: error[hidden].",
    ),
)


def info_nce(z1, z2, temperature):
    u = z1 / z1.norm(dim=1, keepdim=True)
    w = z2 / z2.norm(dim=1, keepdim=True)
    s = u @ w.T / temperature  # (N, N)
    right = s.diagonal()
    rows = (s.logsumexp(dim=1) - right).mean()
    columns = (s.logsumexp(dim=0) - right).mean()
    return (rows + columns) / 2


def _contrast(s: Tensor, dims: tuple[int, ...] = (0, 1)) -> Tensor:
    return torch.stack([(s.logsumexp(dim) - s.diagonal()).mean() for dim in dims]).mean()


def _cosines(z1: Tensor, z2: Tensor) -> Tensor:
    return torch.nn.functional.cosine_similarity(z1[:, None], z2[None], dim=2)


def _others_only(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    s = _cosines(z1, z2) / temperature
    others = s.masked_fill(torch.eye(len(s), dtype=torch.bool), -torch.inf)
    return torch.stack([(others.logsumexp(dim) - s.diagonal()).mean() for dim in (0, 1)]).mean()


INFO_NCE = Exercise(
    name="attention.info_nce",
    returns="the mean of InfoNCE over the rows and over the columns of the similarity matrix",
    solution=info_nce,
    cases=(
        Case("three examples, τ = 0.5", (normal(3, 4, seed=6), normal(3, 4, seed=7), 0.5)),
        Case(
            "two examples of very different length, τ = 1", (3 * normal(2, 3, seed=8), 0.2 * normal(2, 3, seed=9), 1.0)
        ),
        Case("five examples, τ = 0.1", (normal(5, 8, seed=10), normal(5, 8, seed=11), 0.1)),
    ),
    slips=(
        Slip("the vectors keep their lengths; divide each by its norm", lambda a, b, t: _contrast(a @ b.T / t)),
        Slip("multiplied by the temperature; divide by it", lambda a, b, t: _contrast(_cosines(a, b) * t)),
        Slip("only the rows; ask from the second views as well", lambda a, b, t: _contrast(_cosines(a, b) / t, (1,))),
        Slip("the right answer is missing in the sum: j runs over all candidates, i too", _others_only),
        Slip("summed over the examples; take their mean", lambda a, b, t: len(a) * _contrast(_cosines(a, b) / t)),
    ),
    hints=(
        "s[i, j] is the cosine of z1[i] and z2[j], divided by the temperature; the right answers are on the diagonal.",
        "Row i costs s[i].logsumexp(0) - s[i, i]. Take the mean over i.",
        "Do the same with the columns, and take the mean of both.",
    ),
)


def mask_tokens(ids, may_hide, draw, fate, others, mask_id):
    chosen = may_hide & (draw < 0.15)
    inputs = torch.where(chosen & (fate < 0.8), mask_id, ids)
    inputs = torch.where(chosen & (fate >= 0.8) & (fate < 0.9), others, inputs)
    labels = torch.where(chosen, ids, -100)
    return inputs, labels


def _all_labels(ids, *rest):
    return mask_tokens(ids, *rest)[0], ids


def _changed_only(ids, *rest):
    inputs, labels = mask_tokens(ids, *rest)
    return inputs, torch.where(inputs == ids, -100, labels)


def _new_labels(ids, *rest):
    inputs, labels = mask_tokens(ids, *rest)
    return inputs, torch.where(labels == -100, -100, inputs)


_SENTENCE = torch.tensor([[1, 20, 21, 22, 23, 2], [1, 30, 31, 2, 0, 0]])
_WORDS = torch.tensor([[False, True, True, True, True, False], [False, True, True, False, False, False]])
_OTHERS = torch.tensor([[40, 41, 42, 43, 44, 45], [50, 51, 52, 53, 54, 55]])
_DRAW = torch.tensor([[0.9, 0.1, 0.05, 0.6, 0.14, 0.01], [0.12, 0.02, 0.16, 0.5, 0.1, 0.9]]).double()
_FATE = torch.tensor([[0.5, 0.3, 0.85, 0.1, 0.95, 0.2], [0.1, 0.79, 0.85, 0.95, 0.4, 0.6]]).double()

_EDGES = (
    torch.tensor([[20, 21, 22, 23]]),
    torch.ones(1, 4, dtype=torch.bool),
    float64([0.15, 0.1, 0.1, 0.1]),
    float64([0.1, 0.8, 0.9, 0.5]),
    torch.tensor([[40, 41, 42, 43]]),
)


def _at_most(drawn=0.0, hidden=0.0, swapped=0.0):
    """Hiding where numbers a little above an edge count as below it."""

    def answer(ids, may_hide, draw, fate, others, mask_id):
        fate = torch.where(fate == 0.8, fate - hidden, torch.where(fate == 0.9, fate - swapped, fate))
        return mask_tokens(ids, may_hide, draw - drawn, fate, others, mask_id)

    return answer


MASK_TOKENS = Exercise(
    name="attention.mask_tokens",
    returns="the input with some tokens hidden, and the labels: the true token where one was chosen, -100 elsewhere",
    solution=mask_tokens,
    cases=(
        Case("two sentences, the second padded", (_SENTENCE, _WORDS, _DRAW, _FATE, _OTHERS, 3)),
        Case("nothing is chosen", (_SENTENCE, _WORDS, _DRAW + 0.2, _FATE, _OTHERS, 3)),
        Case("numbers on the edges: 0.15, 0.8 and 0.9", (*_EDGES, 3)),
        Case("every word is chosen, another [MASK]", (_SENTENCE, _WORDS, 0.1 * _DRAW, _FATE.flip(0, 1), _OTHERS, 9)),
    ),
    slips=(
        Slip(
            "every chosen token became [MASK]; where fate ≥ 0.8 it is replaced or stays",
            lambda x, m, d, f, *o: mask_tokens(x, m, d, 0 * f, *o),
        ),
        Slip(
            "special tokens and padding were hidden too; choose only where may_hide is True",
            lambda x, m, *o: mask_tokens(x, m | True, *o),
        ),
        Slip("labels everywhere: then copying is rewarded; put -100 where nothing was chosen", _all_labels),
        Slip("a chosen token that stayed as it was is asked for too: its label is its id", _changed_only),
        Slip("choose where draw is below 0.15: <, not ≤", _at_most(drawn=1e-6)),
        Slip(
            "hide where fate is below 0.8: at 0.8 itself a random token is put, so < and not ≤", _at_most(hidden=1e-6)
        ),
        Slip("at a fate of 0.9 itself the token stays: <, not ≤", _at_most(swapped=1e-6)),
        Slip("the labels are the new tokens; the model must find the true ones", _new_labels),
    ),
    hints=(
        "chosen = may_hide & (draw < 0.15) decides about the labels, whatever becomes of the token.",
        "torch.where(chosen & (fate < 0.8), mask_id, ids) hides; another torch.where does the random ones.",
    ),
)


EXERCISES = (
    SCALED_DOT_PRODUCT,
    PADDED,
    SPLIT_HEADS,
    VARIANCE,
    SOFTMAX_GRADIENT,
    SAME_TRAINING,
    PAIRED,
    MASKED_ERROR,
    INFO_NCE,
    MASK_TOKENS,
)
