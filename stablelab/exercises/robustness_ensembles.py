"""The exercises of notebook 10: what a model is worth on examples that are made worse, and several models as one.

Those on averaging along a run and on temperature stand in ``robustness_ensembles_loops.py``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .exercise import Case, Exercise, Slip, normal


def mce(errors, reference):
    return (errors.sum(dim=1) / reference.sum(dim=1)).mean().item()


MCE = Exercise(
    name="robustness.mce",
    returns="the mean corruption error, one number: 1 for a model as good as the reference, less for a better one",
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


def standard_error(D):
    S, N = D.shape
    seeds = D.mean(dim=1).var() / S  # how far the S rows' means differ
    examples = D.mean(dim=0).var() / N  # how far the N columns' means differ
    return (seeds + examples).sqrt().item()


def _signs(*shape: int, seed: int) -> Tensor:
    """Differences of right (1) and wrong (0) answers: -1, 0 or 1."""
    return torch.randint(-1, 2, shape, generator=torch.Generator().manual_seed(seed)).double()


STANDARD_ERROR = Exercise(
    name="robustness.standard_error",
    returns="the standard error of the mean difference, one number: over seeds and over examples",
    solution=standard_error,
    cases=(
        Case("three seeds, four examples", (torch.tensor([[1.0, 0, 0, 1], [0, 0, 1, 1], [1, 0, -1, 0]]),)),
        Case("seeds that differ more than examples do", (_signs(5, 8, seed=30) + 2 * normal(5, 1, seed=31),)),
        Case("examples that differ more than seeds do", (_signs(4, 12, seed=32) + 3 * normal(1, 12, seed=33),)),
    ),
    slips=(
        Slip(
            "that is the part of the seeds alone; other examples would differ too",
            lambda D: D.mean(1).std() / len(D) ** 0.5,
        ),
        Slip(
            "that is the part of the examples alone; other seeds would differ too",
            lambda D: D.mean(0).std() / D.shape[1] ** 0.5,
        ),
        Slip(
            "all S times N differences were taken for independent; those of one seed, or of one example, go together",
            lambda D: D.std() / D.numel() ** 0.5,
        ),
        Slip(
            "two standard errors were added; independent variances add, so take the root of their sum",
            lambda D: D.mean(1).std() / len(D) ** 0.5 + D.mean(0).std() / D.shape[1] ** 0.5,
        ),
        Slip(
            "the variance of a mean of n is the variance divided by n; here nothing was divided",
            lambda D: (D.mean(1).var() + D.mean(0).var()).sqrt(),
        ),
        Slip("that is the variance; the standard error is its square root", lambda D: standard_error(D) ** 2),
        Slip(
            "S and N changed places: there are S means of rows and N means of columns",
            lambda D: (D.mean(1).var() / D.shape[1] + D.mean(0).var() / len(D)).sqrt(),
        ),
    ),
    hints=(
        "D.mean(dim=1) is one number for each seed. How far do these S numbers differ, and what does that mean for "
        "their mean? Then the same for the columns.",
        "The root of D.mean(dim=1).var() / S + D.mean(dim=0).var() / N.",
    ),
)


def consistency(answers, targets):
    return (answers == targets).all(dim=1).double().mean().item()


_SIGNS = torch.tensor([[1, 0], [1, 0], [0, 1], [0, 1], [1, 0]])  # (P, 2): the negation turns the label

CONTRAST = Exercise(
    name="robustness.contrast",
    returns="the contrast consistency: the share of pairs, from 0 to 1, of which both sentences are answered right",
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
    returns="the class that most members choose for each example, (N,), and the lowest of several with equally many "
    "votes",
    solution=vote,
    cases=(
        Case(
            "three members, four examples; the surest member is outvoted",
            (_ballots([[0, 1, 2, 2], [0, 1, 0, 2], [1, 2, 2, 1]], 3),),
        ),
        Case("ties: two against two", (_ballots([[2, 3, 0], [2, 3, 1], [1, 0, 0], [1, 0, 1]], 4),)),
        Case("five members at random", (normal(5, 12, 4, seed=20),)),
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
    returns="the weighted mean of the members' probabilities, (N, C), with the weights scaled to sum to 1",
    solution=average,
    cases=(
        Case("two members, equal weights that sum to 2", (normal(2, 3, 3, seed=21), torch.ones(2))),
        Case("three members, one of weight 0", (2 * normal(3, 4, 3, seed=22), torch.tensor([3.0, 1.0, 0.0]))),
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
    returns="for each example the prediction of the model that was fitted on all folds but its own, (N,)",
    solution=out_of_fold,
    cases=(
        Case(
            "a model that memorizes, and targets that are pure noise",
            (_X, normal(9, seed=23), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2]), _memorizer),
        ),
        Case(
            "a straight line, folds of different sizes",
            (_X, 2 * _X + normal(9, seed=24), torch.tensor([1, 0, 0, 1, 2, 2, 0, 2, 2]), _line),
        ),
        Case(
            "folds with other numbers than 0, 1, 2",
            (_X, normal(9, seed=25), torch.tensor([7, 7, 3, 5, 5, 3, 3, 7, 5]), _memorizer),
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


EXERCISES = (MCE, STANDARD_ERROR, CONTRAST, AVERAGE, VOTE, OUT_OF_FOLD)
