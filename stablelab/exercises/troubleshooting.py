"""The exercises of notebook 11: what a first loss, a floor, a spike and a sum of gradients say of a run."""

from __future__ import annotations

import math

import torch

from . import troubleshooting_loops as loops
from .exercise import Case, Exercise, Slip, float64, normal


def guessing(targets, classes):
    shares = torch.bincount(targets, minlength=classes).double() / len(targets)
    there = shares[shares > 0]  # p ln p goes to 0 as p does
    return math.log(classes), -(there * there.log()).sum()


def _shares(targets, classes):
    return torch.bincount(targets, minlength=classes).double() / len(targets)


FIRST_LOSS = Exercise(
    name="clinic.first_loss",
    returns="ln C, and the entropy of the label shares in nats",
    solution=guessing,
    cases=(
        Case("five of class 0, three of class 1", (torch.tensor([0, 0, 1, 0, 1, 0, 1, 0]), 2)),
        Case("three balanced classes", (torch.tensor([0, 1, 2, 2, 1, 0]), 3)),
        Case("a class that does not occur", (torch.tensor([0, 3, 3, 3, 1, 0, 0, 0, 0, 0]), 4)),
        Case("all of one class", (torch.tensor([1, 1, 1]), 2)),
    ),
    slips=(
        Slip(
            "the logarithm is to the base 2: a loss is in nats",
            lambda t, C: tuple(value / math.log(2) for value in guessing(t, C)),
        ),
        Slip(
            "a class that does not occur gives 0 · ln 0, which is nan; its part of the sum is 0",
            lambda t, C: (math.log(C), -(_shares(t, C) * _shares(t, C).log()).sum()),
        ),
        Slip(
            "ln C is of the classes that there are, not of those that happen to occur",
            lambda t, C: (math.log(len(t.unique())), guessing(t, C)[1]),
        ),
        Slip(
            "minus the logarithm of the largest share: that is the loss on that class alone",
            lambda t, C: (math.log(C), -_shares(t, C).max().log()),
        ),
        Slip("the two are in the wrong order", lambda t, C: guessing(t, C)[::-1]),
    ),
    hints=(
        "The share of a class is its count over the number of examples: torch.bincount counts.",
        "The entropy is the sum of −p ln p over the shares p that are not 0.",
    ),
)


def sure_of_probabilities(classes, accuracy):
    floor = math.log(1 + (classes - 1) / math.e)  # right: 1 for the true class, 0 for the others
    return floor + 1 - accuracy  # wrong: 0 for the true class and 1 for another costs 1 more


def _floor(classes):
    return math.log(1 + (classes - 1) / math.e)


FLOOR = Exercise(
    name="clinic.floor",
    returns="the mean loss of a model that is sure of every answer, where softmax is applied twice",
    solution=sure_of_probabilities,
    cases=(
        Case("two classes, all right", (2, 1.0)),
        Case("ten classes, all right", (10, 1.0)),
        Case("ten classes, nine of ten right", (10, 0.9)),
        Case("three classes, all wrong", (3, 0.0)),
    ),
    slips=(
        Slip(
            "that is the floor, for answers that are all right; a wrong one costs more",
            lambda C, a: _floor(C),
        ),
        Slip(
            "a wrong answer that one is sure of costs more than a guess, ln C",
            lambda C, a: a * _floor(C) + (1 - a) * math.log(C),
        ),
        Slip(
            "in the denominator the true class stands once: the others are C − 1",
            lambda C, a: math.log(1 + C / math.e) + 1 - a,
        ),
        Slip("that is with softmax once: a right answer costs nothing there", lambda C, a: 1 - a),
        Slip("a right answer does not cost 0 here, however sure", lambda C, a: (1 - a) * (_floor(C) + 1)),
    ),
    hints=(
        "The model gives the loss a 1 for one class and a 0 for the C − 1 others, as if they were logits. What is the "
        "softmax of the true class if that 1 is its own?",
        "Right: −ln(e / (e + C − 1)). Wrong: −ln(1 / (e + C − 1)). What is the difference of the two?",
    ),
)


def robust_z(losses, k):
    before, mean = losses[:-k], losses[-k:].mean()
    center = before.median()
    spread = 1.4826 * (before - center).abs().median()
    return (mean - center) / (spread / math.sqrt(k))


ROBUST_Z = Exercise(
    name="clinic.robust_z",
    returns="how many standard deviations the mean of the last k losses lies above the median of those before",
    solution=robust_z,
    cases=(
        Case("a jump at the end", (float64(1.0, 1.2, 0.9, 1.1, 1.0, 0.8, 1.3, 2.0, 2.4), 2)),
        Case("no jump", (1 + 0.1 * normal(41, seed=1), 5)),
        Case("an outlier among those before", (float64(0.5, 0.4, 9.0, 0.6, 0.5, 0.3, 0.7, 1.5), 1)),
        Case("a mean of four", (2 + 0.5 * normal(25, seed=2), 4)),
    ),
    slips=(
        Slip(
            "a mean of k scatters √k times less than a single loss",
            lambda x, k: robust_z(x, k) / math.sqrt(k),
        ),
        Slip(
            "the standard deviation, which a single outlier makes large, in place of the median deviation",
            lambda x, k: (x[-k:].mean() - x[:-k].median()) / (x[:-k].std() / math.sqrt(k)),
        ),
        Slip(
            "the mean of those before, which an outlier pulls up, in place of their median",
            lambda x, k: (
                robust_z(x, k)
                + (x[:-k].median() - x[:-k].mean())
                / (1.4826 * (x[:-k] - x[:-k].median()).abs().median() / math.sqrt(k))
            ),
        ),
        Slip(
            "the median deviation of normal numbers is 0.6745 of their standard deviation: times 1.4826",
            lambda x, k: robust_z(x, k) * 1.4826,
        ),
        Slip(
            "the last k losses are among those that they are compared with",
            lambda x, k: (x[-k:].mean() - x.median()) / (1.4826 * (x - x.median()).abs().median() / math.sqrt(k)),
        ),
    ),
    hints=(
        "losses[:-k] are those before, losses[-k:] the last k. Both the centre and the spread come from those before.",
        "The spread is 1.4826 times the median of |loss − median|, and for a mean of k it is divided by √k.",
    ),
)


def norm_of_sum(k, cosine):
    return math.sqrt(k + k * (k - 1) * cosine)  # k squares of 1, and k (k − 1) products of two


SUM = Exercise(
    name="clinic.sum",
    returns="the norm of the sum of k gradients of norm 1",
    solution=norm_of_sum,
    cases=(
        Case("ten at right angles", (10, 0.0)),
        Case("ten that are equal", (10, 1.0)),
        Case("forty that agree a little", (40, 0.2)),
        Case("three that disagree", (3, -0.25)),
        Case("one alone", (1, 0.5)),
    ),
    slips=(
        Slip("that holds where all are equal", lambda k, c: float(k)),
        Slip("that holds where all are at right angles", lambda k, c: math.sqrt(k)),
        Slip("of the k · k products k are squares, which are 1", lambda k, c: math.sqrt(max(0.0, k + k * k * c))),
        Slip("each pair stands twice in the square of a sum", lambda k, c: math.sqrt(k + k * (k - 1) / 2 * c)),
        Slip("that is the square of the norm", lambda k, c: k + k * (k - 1) * c),
    ),
    hints=(
        "The square of the norm of a sum is the sum of all products of two of them, each with itself among them.",
        "There are k products of one with itself, each 1, and k (k − 1) of two different ones, each the cosine.",
    ),
)


def examples_to_look_at(share, certainty):
    return math.ceil(math.log(1 - certainty) / math.log(1 - share))


LOOK = Exercise(
    name="clinic.look",
    returns="how many examples to look at",
    solution=examples_to_look_at,
    cases=(
        Case("half of the labels are wrong", (0.5, 0.9)),
        Case("four in ten are wrong", (0.4, 0.95)),
        Case("one in twenty", (0.05, 0.95)),
        Case("one in a hundred, almost surely", (0.01, 0.99)),
    ),
    slips=(
        Slip("so many hold one wrong label on average; often they hold none", lambda p, c: math.ceil(1 / p)),
        Slip("chances do not add up: two looks at half wrong labels are not certain", lambda p, c: math.ceil(c / p)),
        Slip("rounded down, the certainty is not quite reached", lambda p, c: int(math.log(1 - c) / math.log(1 - p))),
        Slip(
            "the chance that all n are right is (1 − share)ⁿ, not shareⁿ",
            lambda p, c: math.ceil(math.log(1 - c) / math.log(p)),
        ),
        Slip("the certainty and its complement changed places", lambda p, c: math.ceil(math.log(c) / math.log(1 - p))),
    ),
    hints=(
        "What is the chance that n examples drawn at random are all labelled rightly?",
        "(1 − share)ⁿ must be at most 1 − certainty. Take logarithms, and mind that they are negative.",
    ),
)


def padded_share(lengths, batch_size, by_length):
    if by_length:
        lengths = lengths.sort().values
    computed = sum(len(batch) * int(batch.max()) for batch in lengths.split(batch_size))
    return 1 - int(lengths.sum()) / computed


def _batches(lengths, batch_size, by_length):
    return (lengths.sort().values if by_length else lengths).split(batch_size)


PADDING = Exercise(
    name="clinic.padding",
    returns="the share of the tokens that a model computes with which are padding",
    solution=padded_share,
    cases=(
        Case("six sentences in batches of two", (torch.tensor([3, 9, 4, 8, 5, 7]), 2, False)),
        Case("the same, sorted by length", (torch.tensor([3, 9, 4, 8, 5, 7]), 2, True)),
        Case("a last batch that is shorter", (torch.tensor([2, 6, 12, 4, 5, 3, 10]), 3, False)),
        Case("that one sorted", (torch.tensor([2, 6, 12, 4, 5, 3, 10]), 3, True)),
    ),
    slips=(
        Slip(
            "every sentence was padded to the longest of all; a batch needs its own longest only",
            lambda n, B, s: 1 - n.sum() / (n.max() * len(n)),
        ),
        Slip("that is the share of the tokens that are none", lambda n, B, s: 1 - padded_share(n, B, s)),
        Slip(
            "padding over real tokens; the share is of all that are computed",
            lambda n, B, s: padded_share(n, B, s) / (1 - padded_share(n, B, s)),
        ),
        Slip("the sentences were not sorted", lambda n, B, s: padded_share(n, B, False)),
        Slip(
            "a mean of the batches' shares; long batches hold more tokens and count for more",
            lambda n, B, s: torch.stack(
                [1 - part.sum() / (part.max() * len(part)) for part in _batches(n, B, s)]
            ).mean(),
        ),
    ),
    hints=(
        "A batch is a rectangle: as many rows as sentences, as many columns as its longest one has tokens.",
        "lengths.split(batch_size) gives the batches; add up len(batch) · max(batch), and compare with the sum of all "
        "lengths.",
    ),
)


def triage(losses, classes, batch_size):
    guess = math.log(classes)
    floor = math.log(1 + (classes - 1) / math.e)
    if not losses.isfinite().all():
        return "not finite"
    if losses[0] > 0.5 * batch_size * guess:
        return "summed"
    end = losses[-(len(losses) // 4) :].mean()
    if losses.min() >= floor and end < floor + (guess - floor) / 10:
        return "softmax twice"
    if end > 0.9 * guess:
        return "stuck"
    return "nothing"


def _triaged(order, quarter=lambda x: x[-(len(x) // 4) :], floor_matters=True, per_batch=True):
    """The same questions in another order, of another part of the losses, or one of them asked wrongly."""

    def answer(losses, classes, batch_size):
        guess, floor = math.log(classes), math.log(1 + (classes - 1) / math.e)
        end = quarter(losses).mean()
        found = {
            "not finite": not bool(losses.isfinite().all()),
            "summed": bool(losses[0] > (0.5 * batch_size if per_batch else 2) * guess),
            "softmax twice": bool((losses.min() >= floor or not floor_matters) and end < floor + (guess - floor) / 10),
            "stuck": bool(end > 0.9 * guess),
        }
        return next((name for name in order if found[name]), "nothing")

    return answer


def _falling(start: float, end: float, rows: int) -> torch.Tensor:
    return end + (start - end) * torch.exp(-torch.arange(rows, dtype=torch.float64) / (rows / 8))


_ORDER = ("not finite", "summed", "softmax twice", "stuck")

TRIAGE = Exercise(
    name="clinic.triage",
    returns="one of 'not finite', 'summed', 'softmax twice', 'stuck' and 'nothing'",
    solution=triage,
    cases=(
        Case("a loss that falls from ln 10 to 0.2", (_falling(2.303, 0.2, 80), 10, 32)),
        Case("a loss that stays at ln 2", (0.69 + 0.01 * normal(60, seed=3), 2, 8)),
        Case("ten classes, it comes to rest at 1.47", (_falling(2.303, 1.47, 80), 10, 32)),
        Case("it passes 1.461 and goes on to 1.45", (_falling(2.303, 1.45, 80), 10, 32)),
        Case("it begins at 70 and falls to 6", (_falling(70.0, 6.0, 80), 10, 32)),
        Case("two classes in batches of 32, it begins at 3", (_falling(3.0, 0.1, 40), 2, 32)),
        Case("nan after a while", (torch.cat([_falling(2.3, 1.0, 20), float64(math.nan, math.nan)]), 10, 32)),
        Case("nan after it began at 70", (torch.cat([_falling(70.0, 9.0, 20), float64(math.inf)]), 10, 32)),
        Case(
            "it falls in the last quarter only", (torch.cat([0.7 + 0 * normal(60, seed=4), float64(*[0.1] * 20)]), 2, 8)
        ),
        Case("stuck, and low at the very end", (torch.cat([0.69 + 0 * normal(70, seed=4), float64(*[0.5] * 5)]), 2, 8)),
    ),
    slips=(
        Slip(
            "with nan in it every comparison is false: ask for what is not finite first",
            lambda x, C, B: _triaged(_ORDER[1:])(x, C, B),
        ),
        Slip("a summed loss was called stuck: ask for it before", _triaged(("not finite", "stuck", *_ORDER[1:3]))),
        Slip("a first loss of 3 is high, but not that of a whole batch of 32", _triaged(_ORDER, per_batch=False)),
        Slip("a loss that has been below the floor has no floor there", _triaged(_ORDER, floor_matters=False)),
        Slip("the end was judged by the last loss alone", _triaged(_ORDER, quarter=lambda x: x[-1:])),
        Slip("the end was judged by the mean of all losses", _triaged(_ORDER, quarter=lambda x: x)),
    ),
    hints=(
        "Ask the questions one by one, in the order of the task, and return at the first that says yes.",
        "The end is losses[-(len(losses) // 4):].mean(); the floor is math.log(1 + (classes - 1) / math.e).",
    ),
)

EXERCISES = (
    FIRST_LOSS,
    loops.MEND_SIZE,
    FLOOR,
    loops.MEND_FLOOR,
    loops.MEND_HEAD,
    loops.MEND_VALIDATION,
    ROBUST_Z,
    SUM,
    loops.MEND_SUMS,
    loops.MEND_PAIRS,
    LOOK,
    TRIAGE,
    PADDING,
)
