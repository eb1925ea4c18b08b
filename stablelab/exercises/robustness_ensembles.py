"""Exercises of notebook 10: what a model is worth on examples that are made worse, or changed by a word."""

from __future__ import annotations

import torch

from .exercise import Case, Exercise, Slip


def mce(errors, reference):
    return (errors.sum(dim=1) / reference.sum(dim=1)).mean().item()


MCE = Exercise(
    name="robustness.mce",
    asks="the mean corruption error, one number: 1 for a model as good as the reference, less for a better one",
    solution=mce,
    cases=(
        Case(
            "two corruptions at three severities",
            (torch.tensor([[0.1, 0.2, 0.3], [0.2, 0.4, 0.9]]), torch.tensor([[0.2, 0.4, 0.6], [0.3, 0.6, 0.6]])),
        ),
        Case(
            "a corruption that the reference hardly notices",
            (
                torch.tensor([[0.02, 0.04], [0.5, 0.7], [0.3, 0.6]]),
                torch.tensor([[0.01, 0.02], [0.6, 0.9], [0.2, 0.6]]),
            ),
        ),
        Case(
            "five severities, no mistake at the first",
            (torch.tensor([[0.0, 0.1, 0.2, 0.4, 0.8]]), torch.tensor([[0.05, 0.1, 0.25, 0.4, 0.7]])),
        ),
    ),
    slips=(
        Slip(
            "each severity was divided on its own: first sum the errors over the severities, then divide",
            lambda E, ref: (E / ref).mean(),
        ),
        Slip(
            "all errors went into one fraction, so hard corruptions count for more: one fraction for each first",
            lambda E, ref: E.sum() / ref.sum(),
        ),
        Slip("the fraction is upside down: the reference model stands below", lambda E, ref: mce(ref, E)),
        Slip("those sums run over the corruptions; the severities are dimension 1", lambda E, ref: mce(E.T, ref.T)),
        Slip("that is one number for each corruption; take their mean", lambda E, ref: E.sum(dim=1) / ref.sum(dim=1)),
        Slip("that is in percent; here the reference model itself has 1, not 100", lambda E, ref: 100 * mce(E, ref)),
    ),
    hints=(
        "Three steps: sum over the severities, divide by the reference's sum, take the mean over the corruptions.",
        "errors.sum(dim=1) is one number for each corruption. So is the fraction; only then comes the mean.",
    ),
)


def consistency(answers, targets):
    return (answers == targets).all(dim=1).double().mean().item()


_SIGNS = torch.tensor([[1, 0], [1, 0], [0, 1], [0, 1], [1, 0]])  # (P, 2): the negation turns the label

CONTRAST = Exercise(
    name="robustness.contrast",
    asks="the contrast consistency: the share of pairs, from 0 to 1, of which both sentences are answered right",
    solution=consistency,
    cases=(
        Case('a model that overlooks the "not"', (torch.tensor([[1, 1], [1, 1], [0, 0], [0, 0], [1, 1]]), _SIGNS)),
        Case(
            "one pair right, one turned round, three half right",
            (torch.tensor([[1, 0], [0, 1], [0, 0], [1, 1], [1, 1]]), _SIGNS),
        ),
        Case("three pairs right", (torch.tensor([[1, 0], [1, 0], [0, 1], [0, 0], [0, 0]]), _SIGNS)),
    ),
    slips=(
        Slip(
            "that is the accuracy over single sentences; a pair counts only if both are right",
            lambda answers, targets: (answers == targets).double().mean(),
        ),
        Slip(
            "pairs with one right answer were counted: any() should be all()",
            lambda answers, targets: (answers == targets).any(dim=1).double().mean(),
        ),
        Slip(
            "that is the share of pairs whose answers differ; a pair with both turned round differs and is wrong twice",
            lambda answers, targets: (answers[:, 0] != answers[:, 1]).double().mean(),
        ),
        Slip(
            "two accuracies were multiplied; that would hold if the two answers of a pair were independent",
            lambda answers, targets: (answers == targets).double().mean(dim=0).prod(),
        ),
        Slip("that counts the pairs; divide by how many there are", lambda a, t: (a == t).all(dim=1).sum()),
    ),
    hints=(
        "answers == targets has two truth values for each pair. When is the pair as a whole right?",
        "(answers == targets).all(dim=1) is one truth value for each pair; its mean, as numbers, is the share.",
    ),
)

EXERCISES = (MCE, CONTRAST)
