"""Exercises of notebook 10 on ensembles: voting, averaging, and predictions that do not leak."""

from __future__ import annotations

import torch
from torch import Tensor

from .exercise import Case, Exercise, Slip


def _normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _ballots(choices: list[list[int]], C: int) -> Tensor:
    """Logits (M, N, C) of members that choose these classes (M, N), each with a confidence of its own."""
    chosen = torch.tensor(choices)
    sure = 1.0 + torch.arange(len(chosen), dtype=torch.float64).view(-1, 1, 1) ** 2
    return sure * torch.nn.functional.one_hot(chosen, C)


def vote(logits):
    C = logits.shape[-1]
    choices = logits.argmax(dim=-1)  # (M, N)
    votes = torch.nn.functional.one_hot(choices, C).sum(dim=0)  # (N, C)
    return votes.argmax(dim=-1)  # the first, and so the lowest, of the largest


VOTE = Exercise(
    name="ensembles.vote",
    asks="the class that most members choose for each example, (N,), and the lowest of several with equally many votes",
    solution=vote,
    cases=(
        Case(
            "three members, four examples; the surest member is outvoted",
            (_ballots([[0, 1, 2, 2], [0, 1, 0, 2], [1, 2, 2, 1]], 3),),
        ),
        Case("ties: two against two", (_ballots([[2, 3, 0], [2, 3, 1], [1, 0, 0], [1, 0, 1]], 4),)),
        Case("five members at random", (_normal(20, 5, 12, 4),)),
    ),
    slips=(
        Slip(
            "that is the class of the largest mean probability; a member that is very sure still has one vote",
            lambda logits: logits.softmax(-1).mean(0).argmax(-1),
        ),
        Slip(
            "that is the class of the largest mean logit; a member that is very sure still has one vote",
            lambda logits: logits.mean(0).argmax(-1),
        ),
        Slip(
            "a tie went to the highest class; the lowest one wins",
            lambda logits: logits.shape[-1] - 1 - vote(logits.flip(-1)),
        ),
        Slip(
            "that is how many votes the winner got; its number is asked for: argmax instead of max",
            lambda logits: torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).sum(0).amax(-1),
        ),
        Slip("those are the choices of the first member alone", lambda logits: logits[0].argmax(-1)),
    ),
    hints=(
        "First what each member chooses: the argmax over the classes, (M, N). Then count, example by example.",
        "torch.nn.functional.one_hot(choices, C) is a ballot sheet (M, N, C). Sum over the members.",
        "torch.argmax returns the first of several largest entries: of classes with as many votes, the lowest.",
    ),
)


def average(logits, weights):
    p = torch.softmax(logits, dim=-1)  # (M, N, C)
    w = weights / weights.sum()  # (M,)
    return (w.view(-1, 1, 1) * p).sum(dim=0)  # (N, C)


AVERAGE = Exercise(
    name="ensembles.average",
    asks="the weighted mean of the members' probabilities, (N, C), with the weights scaled to sum to 1",
    solution=average,
    cases=(
        Case("two members, equal weights that sum to 2", (_normal(21, 2, 3, 3), torch.ones(2))),
        Case("three members, one of weight 0", (2 * _normal(22, 3, 4, 3), torch.tensor([3.0, 1.0, 0.0]))),
        Case(
            "two members that contradict each other, one of them far surer",
            (torch.tensor([[[10.0, 0.0]], [[0.0, 1.0]]]), torch.tensor([0.5, 0.5])),
        ),
    ),
    slips=(
        Slip(
            "the logits were averaged, and softmax taken after that; take it first, member by member",
            lambda z, w: torch.softmax(((w / w.sum()).view(-1, 1, 1) * z).sum(0), -1),
        ),
        Slip(
            "the weights do not sum to 1, so neither do your probabilities: divide by the sum of the weights",
            lambda z, w: (w.view(-1, 1, 1) * z.softmax(-1)).sum(0),
        ),
        Slip("all members count alike there; use the weights", lambda z, w: z.softmax(-1).mean(0)),
        Slip(
            "that divides by the number of members; divide by the sum of the weights",
            lambda z, w: (w.view(-1, 1, 1) * z.softmax(-1)).mean(0),
        ),
        Slip(
            "the softmax runs over the members; it belongs to the classes, the last dimension",
            lambda z, w: ((w / w.sum()).view(-1, 1, 1) * z.softmax(0)).sum(0),
        ),
    ),
    hints=(
        "Three steps: probabilities of each member, weights that sum to 1, a weighted sum over the members.",
        "weights.view(-1, 1, 1) has shape (M, 1, 1), and so multiplies (M, N, C) member by member.",
    ),
)


def out_of_fold(x, y, fold, fit):
    predictions = torch.empty_like(y)
    for k in fold.unique():
        held_out = fold == k
        predict = fit(x[~held_out], y[~held_out])
        predictions[held_out] = predict(x[held_out])
    return predictions


def _memorizer(x, y):
    """The y of the nearest x: it knows by heart what it was fitted on."""
    return lambda new: y[(new.unsqueeze(1) - x).abs().argmin(dim=1)]


def _line(x, y):
    """Least squares, y = a + b x."""
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum().clamp_min(1e-12)
    return lambda new: y.mean() + slope * (new - x.mean())


def _leaky(x, y, fold, fit):
    return fit(x, y)(x)


def _turned_round(x, y, fold, fit):
    predictions = torch.empty_like(y)
    for k in fold.unique():
        held_out = fold == k
        predictions[held_out] = fit(x[held_out], y[held_out])(x[held_out])
    return predictions


def _in_a_row(x, y, fold, fit):
    return torch.cat([fit(x[fold != k], y[fold != k])(x[fold == k]) for k in fold.unique()])


def _one_fold_only(x, y, fold, fit):
    folds = fold.unique()
    predictions = torch.empty_like(y)
    for k, other in zip(folds, folds.roll(1), strict=True):
        predictions[fold == k] = fit(x[fold == other], y[fold == other])(x[fold == k])
    return predictions


def _last_model(x, y, fold, fit):
    last = fold.max()
    return fit(x[fold != last], y[fold != last])(x)


_X = torch.tensor([0.1, 0.9, 0.35, 0.62, 0.2, 0.77, 0.5, 0.05, 0.44])

OUT_OF_FOLD = Exercise(
    name="ensembles.out_of_fold",
    asks="for each example the prediction of the model that was fitted on all folds but its own, (N,)",
    solution=out_of_fold,
    cases=(
        Case(
            "a model that memorizes, and targets that are pure noise",
            (_X, _normal(23, 9), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2]), _memorizer),
        ),
        Case(
            "a straight line, folds of different sizes",
            (_X, 2 * _X + _normal(24, 9), torch.tensor([1, 0, 0, 1, 2, 2, 0, 2, 2]), _line),
        ),
        Case(
            "folds with other numbers than 0, 1, 2",
            (_X, _normal(25, 9), torch.tensor([7, 7, 3, 5, 5, 3, 3, 7, 5]), _memorizer),
        ),
    ),
    slips=(
        Slip("that leaks: the model was fitted on the very examples it predicts", _leaky),
        Slip("turned round: each fold was fitted on itself; fit on all others, ~held_out", _turned_round),
        Slip("the predictions came in the order of the folds; put each back in the place of its example", _in_a_row),
        Slip("each model was fitted on one other fold; use all of them", _one_fold_only),
        Slip(
            "one model for all: it was fitted without the last fold, but has seen the others it predicts", _last_model
        ),
    ),
    hints=(
        "A loop over the folds. In each round one fold is held out, and a new model is fitted on all the rest.",
        "held_out = fold == k is True for the examples of fold k; x[~held_out] are all others.",
        "predictions[held_out] = predict(x[held_out]) puts the predictions where they belong.",
    ),
)

EXERCISES = (VOTE, AVERAGE, OUT_OF_FOLD)
