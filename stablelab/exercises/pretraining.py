"""Exercises on what pre-training asks of a model."""

from __future__ import annotations

import torch
from torch import Tensor

from .exercise import Case, Exercise, Slip


def _normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _hidden(*rows: str) -> Tensor:
    return torch.tensor([[mark == "x" for mark in row] for row in rows])  # x is hidden


def masked_error(prediction, patches, hidden):
    error = (prediction - patches) ** 2  # (N, P, D)
    return error[hidden].mean()  # hidden picks patches: (number hidden, D)


MASKED_ERROR = Exercise(
    name="attention.masked_error",
    asks="the mean squared error over all pixels of the hidden patches",
    solution=masked_error,
    cases=(
        Case("one picture, two of four patches hidden", (_normal(0, 1, 4, 3), _normal(1, 1, 4, 3), _hidden("x..x"))),
        Case(
            "one of three and three of three hidden", (_normal(2, 2, 3, 2), _normal(3, 2, 3, 2), _hidden(".x.", "xxx"))
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
    asks="the mean of InfoNCE over the rows and over the columns of the similarity matrix",
    solution=info_nce,
    cases=(
        Case("three examples, τ = 0.5", (_normal(6, 3, 4), _normal(7, 3, 4), 0.5)),
        Case("two examples of very different length, τ = 1", (3 * _normal(8, 2, 3), 0.2 * _normal(9, 2, 3), 1.0)),
        Case("five examples, τ = 0.1", (_normal(10, 5, 8), _normal(11, 5, 8), 0.1)),
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

MASK_TOKENS = Exercise(
    name="attention.mask_tokens",
    asks="the input with some tokens hidden, and the labels: the true token where one was chosen, -100 elsewhere",
    solution=mask_tokens,
    cases=(
        Case("two sentences, the second padded", (_SENTENCE, _WORDS, _DRAW, _FATE, _OTHERS, 3)),
        Case("nothing is chosen", (_SENTENCE, _WORDS, _DRAW + 0.2, _FATE, _OTHERS, 3)),
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
        Slip("the labels are the new tokens; the model must find the true ones", _new_labels),
    ),
    hints=(
        "chosen = may_hide & (draw < 0.15) decides about the labels, whatever becomes of the token.",
        "torch.where(chosen & (fate < 0.8), mask_id, ids) hides; another torch.where does the random ones.",
    ),
)


def masked_lm_loss(logits, labels):
    asked = labels != -100  # (B, T)
    log_p = torch.log_softmax(logits[asked], dim=-1)  # (number asked, V)
    return -log_p.gather(1, labels[asked][:, None]).mean()


def _surprise(logits: Tensor, labels: Tensor) -> Tensor:
    return -logits.log_softmax(-1).gather(2, labels.clamp(min=0)[..., None]).squeeze(2)  # (B, T); -100 counts as 0


def _mean_of_means(logits: Tensor, labels: Tensor) -> Tensor:
    return ((_surprise(logits, labels) * (labels != -100)).sum(1) / (labels != -100).sum(1)).mean()


MASKED_LM_LOSS = Exercise(
    name="attention.masked_lm_loss",
    asks="the mean cross-entropy over the positions whose label is not -100",
    solution=masked_lm_loss,
    cases=(
        Case("one word of three asked for", (_normal(12, 1, 3, 5), torch.tensor([[-100, 4, -100]]))),
        Case(
            "one and three words of four",
            (_normal(13, 2, 4, 6), torch.tensor([[-100, 0, -100, -100], [5, -100, 2, 1]])),
        ),
        Case("every word asked for", (_normal(14, 2, 2, 3), torch.tensor([[0, 1], [2, 0]]))),
    ),
    slips=(
        Slip(
            "divided by all positions; count those that were asked for",
            lambda x, y: (_surprise(x, y) * (y != -100)).mean(),
        ),
        Slip("-100 was taken for a token; leave these positions out", lambda x, y: _surprise(x, y).mean()),
        Slip("summed; take the mean over those asked for", lambda x, y: (_surprise(x, y) * (y != -100)).sum()),
        Slip(
            "the mean of each sentence's mean: words of sentences with few gaps count more; one mean over all",
            _mean_of_means,
        ),
    ),
    hints=(
        "logits[labels != -100] picks the positions that were asked for.",
        "log_softmax, then gather the label's entry, minus, mean.",
    ),
)

EXERCISES = (MASKED_ERROR, INFO_NCE, MASK_TOKENS, MASKED_LM_LOSS)
