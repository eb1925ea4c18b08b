"""The exercise of notebook 09 on variance components; `measuring` lists it among its own."""

from __future__ import annotations

import math

import torch

from .exercise import Case, Exercise, Slip


def variance(scores):
    a, b = scores.shape
    rows, columns = scores.mean(dim=1), scores.mean(dim=0)
    rest = scores - rows[:, None] - columns + scores.mean()
    var_rest = (rest**2).sum() / ((a - 1) * (b - 1))
    var_init = torch.clamp(rows.var() - var_rest / b, min=0)
    var_order = torch.clamp(columns.var() - var_rest / a, min=0)
    return var_init, var_order, var_rest


def _split(rest_over=lambda a, b: (a - 1) * (b - 1), noise=1.0, lowest=0.0, correction=1, turned=False):
    """The variance components with one thing done otherwise."""

    def answer(scores):
        scores = scores.T if turned else scores
        a, b = scores.shape
        rows, columns = scores.mean(dim=1), scores.mean(dim=0)
        rest = ((scores - rows[:, None] - columns + scores.mean()) ** 2).sum() / rest_over(a, b)
        var_init = rows.var(correction=correction) - noise * rest / b
        var_order = columns.var(correction=correction) - noise * rest / a
        return var_init.clamp(min=lowest), var_order.clamp(min=lowest), rest

    return answer


def _unshared(scores):
    rest = variance(scores)[2]
    return (scores.mean(dim=1).var() - rest).clamp(min=0), (scores.mean(dim=0).var() - rest).clamp(min=0), rest


def _table(seed, init, order, rest, a, b):
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((a, 1), (1, b), (a, b))]
    return init * parts[0] + order * parts[1] + rest * parts[2]


VARIANCE = Exercise(
    name="measuring.variance",
    asks="(var_init, var_order, var_rest), the three variance components, none below 0",
    solution=variance,
    cases=(
        Case("four initialisations by three orders", (_table(0, 2.0, 1.0, 0.5, 4, 3),)),
        Case("five by six, and hardly anything to the order", (_table(1, 1.0, 0.1, 1.0, 5, 6),)),
        Case("nothing but the rest", (torch.tensor([[0.0, 1.0], [1.0, 0.0]]),)),
    ),
    slips=(
        Slip(
            "the means of rows and columns hold noise, too: subtract var_rest / b and var_rest / a", _split(noise=0.0)
        ),
        Slip("a component came out below 0: a variance is at least 0", _split(lowest=-math.inf)),
        Slip("the rest has (a - 1)(b - 1) degrees of freedom, not a b", _split(rest_over=lambda a, b: a * b)),
        Slip("the variance of the means divides by their number less one", _split(correction=0)),
        Slip("rows and columns are swapped: each row is one initialisation", _split(turned=True)),
        Slip("the noise in a row's mean is that of b runs: subtract var_rest / b, not var_rest", _unshared),
    ),
    hints=(
        "What is left of score[i, j] after its row's mean and its column's mean? Add the mean of all back once.",
        "var_rest: the squares of what is left, summed, over (a - 1)(b - 1).",
        "The variance of the row means is var_init + var_rest / b. Solve for var_init, and cut at 0.",
    ),
)
