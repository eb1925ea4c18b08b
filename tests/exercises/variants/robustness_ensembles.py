"""Right answers to the exercises of notebook 10, written differently from the solutions."""

from __future__ import annotations

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


VARIANTS = {
    "robustness.mce": (_mce_by_numpy, _mce_by_loops, _mce_by_means),
    "robustness.contrast": (_consistency_by_counting, _consistency_by_numpy, _consistency_by_product),
    "ensembles.vote": (_vote_by_bincount, _vote_by_loops, _vote_by_scatter),
    "ensembles.average": (_average_by_einsum, _average_by_numpy, _average_single),
    "ensembles.out_of_fold": (_out_of_fold_by_example, _out_of_fold_in_place),
}
