"""Answers to the exercises of notebook 10: right ones written in other ways, and wrong ones that no slip names."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch


def _mce_by_numpy(errors, reference):
    return np.mean(np.sum(errors.numpy(), axis=1) / np.sum(reference.numpy(), axis=1))


def _mce_by_loops(E, E_ref):
    total = 0.0
    for ours, theirs in zip(E.tolist(), E_ref.tolist(), strict=True):
        total += sum(ours) / sum(theirs)
    return total / len(E)


def _mce_by_means(errors, reference):
    return torch.mean(errors.float().mean(dim=1) / reference.float().mean(dim=1))


def _consistency_by_counting(answers, targets):
    both = 0
    for p in range(len(answers)):
        both += bool(answers[p, 0] == targets[p, 0]) and bool(answers[p, 1] == targets[p, 1])
    return both / len(answers)


def _consistency_by_numpy(answers, targets):
    return (answers.numpy() == targets.numpy()).all(axis=1).mean()


def _consistency_by_product(answers, targets):
    right = (answers == targets).float()
    return (right[:, 0] * right[:, 1]).mean()


def _vote_by_bincount(logits):
    choices = logits.argmax(-1).numpy()
    return np.array([np.bincount(column).argmax() for column in choices.T])


def _vote_by_loops(logits):
    winners = []
    for n in range(logits.shape[1]):
        votes = [0] * logits.shape[2]
        for member in logits:
            votes[int(member[n].argmax())] += 1
        winners.append(votes.index(max(votes)))
    return winners


def _vote_by_scatter(logits):
    choices = logits.argmax(-1)
    votes = torch.zeros(logits.shape[1:]).scatter_add_(1, choices.T, torch.ones(choices.T.shape))
    return votes.max(dim=1).indices


def _average_by_einsum(logits, weights):
    return torch.einsum("m,mnc->nc", weights / weights.sum(), logits.softmax(-1))


def _average_by_numpy(logits, weights):
    e = np.exp(logits.numpy() - logits.numpy().max(-1, keepdims=True))
    return np.average(e / e.sum(-1, keepdims=True), axis=0, weights=weights.numpy())


def _average_single(logits, weights):
    total = sum(w * z.float().softmax(-1) for w, z in zip(weights.tolist(), logits, strict=True))
    return total / weights.sum().item()


def _out_of_fold_by_example(x, y, fold, fit):
    predictions = []
    for i in range(len(x)):
        others = fold != fold[i]
        predictions.append(fit(x[others], y[others])(x[i : i + 1]).item())
    return predictions


def _out_of_fold_in_place(x, y, fold, fit):
    found = y.clone()
    for k in set(fold.tolist()):
        inside = (fold == k).nonzero().flatten()
        outside = (fold != k).nonzero().flatten()
        found[inside] = fit(x[outside], y[outside])(x[inside])
    return found


def _average_filled_in(logits, weights):
    M, N, C = logits.shape
    p = torch.zeros(N, C)
    for m in range(M):
        p += weights[m] / weights.sum() * torch.softmax(logits[m], dim=-1)
    return p


def _out_of_fold_filled_in(x, y, fold, fit):
    out = torch.zeros(len(x))
    for k in torch.unique(fold):
        held = fold == k
        out[held] = fit(x[~held], y[~held])(x[held])
    return out


def _out_of_fold_sorted_back(x, y, fold, fit):
    order = torch.argsort(fold)
    parts = [fit(x[fold != k], y[fold != k])(x[order][fold[order] == k]) for k in fold.unique(sorted=True)]
    return torch.cat(parts)[torch.argsort(order)]


RIGHT = {
    "robustness.mce": (
        _mce_by_numpy,
        _mce_by_loops,
        _mce_by_means,
        lambda errors, reference: torch.div(errors.sum(-1), reference.sum(-1)).mean(),
    ),
    "robustness.contrast": (
        _consistency_by_counting,
        _consistency_by_numpy,
        _consistency_by_product,
        lambda answers, targets: Fraction(int(((answers != targets).sum(1) == 0).sum()), len(answers)),
    ),
    "ensembles.vote": (
        _vote_by_bincount,
        _vote_by_loops,
        _vote_by_scatter,
        lambda logits: torch.mode(logits.argmax(-1), dim=0).values,
    ),
    "ensembles.average": (_average_by_einsum, _average_by_numpy, _average_single, _average_filled_in),
    "ensembles.out_of_fold": (
        _out_of_fold_by_example,
        _out_of_fold_in_place,
        _out_of_fold_filled_in,
        _out_of_fold_sorted_back,
    ),
}

WRONG = {
    "robustness.mce": {
        "the mean over the severities of the difference": lambda E, ref: (E - ref).mean(),
        "less is worse": lambda E, ref: 1 - (E.sum(1) / ref.sum(1)).mean(),
        "accuracies for errors": lambda E, ref: ((1 - E).sum(1) / (1 - ref).sum(1)).mean(),
        "only the worst severity": lambda E, ref: (E[:, -1] / ref[:, -1]).mean(),
        "the hardest corruption alone": lambda E, ref: (E.sum(1) / ref.sum(1)).max(),
    },
    "robustness.contrast": {
        "only the negated sentence": lambda a, t: (a[:, 1] == t[:, 1]).double().mean(),
        "in percent": lambda a, t: 100 * (a == t).all(dim=1).double().mean(),
        "all pairs right or not": lambda a, t: (a == t).all(),
        "all over the pairs, not in them": lambda a, t: (a == t).all(dim=0).double().mean(),
    },
    "ensembles.vote": {
        "the most confident member": lambda z: z.softmax(-1).amax(0).argmax(-1),
        "the votes, not the class": lambda z: torch.nn.functional.one_hot(z.argmax(-1), z.shape[-1]).sum(0),
        "the mean class number": lambda z: z.argmax(-1).double().mean(0).round().long(),
        "over the examples": lambda z: torch.mode(z.argmax(-1), dim=1).values,
        "the median class": lambda z: z.argmax(-1).median(0).values,
    },
    "ensembles.average": {
        "softmax of the weights": lambda z, w: torch.einsum("m,mnc->nc", w.softmax(0), z.softmax(-1)),
        "the geometric mean": lambda z, w: torch.softmax(torch.einsum("m,mnc->nc", w / w.sum(), z.log_softmax(-1)), -1),
        "divided by the largest weight": lambda z, w: torch.einsum("m,mnc->nc", w / w.max(), z.softmax(-1)),
        "the chosen classes averaged": lambda z, w: torch.einsum(
            "m,mnc->nc", w / w.sum(), torch.nn.functional.one_hot(z.argmax(-1), z.shape[-1]).double()
        ),
    },
    "ensembles.out_of_fold": {
        "the mean of all folds' models": lambda x, y, fold, fit: torch.stack(
            [fit(x[fold != k], y[fold != k])(x) for k in fold.unique()]
        ).mean(0),
        "folds supposed to be 0, 1, 2": lambda x, y, fold, fit: _out_of_fold_filled_in(
            x, y, torch.arange(len(x)) % 3, fit
        ),
        "one fold's predictions only": lambda x, y, fold, fit: fit(x[fold != fold[0]], y[fold != fold[0]])(
            x[fold == fold[0]]
        ),
        "the targets themselves": lambda x, y, fold, fit: y,
        "each example left out alone": lambda x, y, fold, fit: _out_of_fold_filled_in(x, y, torch.arange(len(x)), fit),
    },
}
