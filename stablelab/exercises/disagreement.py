"""The exercises of notebook 09 on losses and predictions; `measuring` lists them after its own."""

from __future__ import annotations

import math

import torch

from .exercise import Case, Exercise, Slip


def sensitivity(losses, start_loss):
    capped = torch.where(losses < start_loss, losses, start_loss)  # nan is not below, so it counts as the start
    return (capped - capped.min()).mean()


def _capped(losses, start_loss):
    return losses.nan_to_num(nan=math.inf).clamp(max=start_loss)


SENSITIVITY = Exercise(
    name="measuring.sensitivity",
    asks="the learning-rate sensitivity, one number",
    solution=sensitivity,
    cases=(
        Case("five rates, one of them too high", (torch.tensor([0.6, 0.4, 0.2, 0.3, 5.0]), 0.7)),
        Case("runs that diverged: inf and nan", (torch.tensor([0.5, 0.1, math.inf, math.nan]), 0.7)),
        Case("every rate does as well", (torch.tensor([0.2, 0.2, 0.2]), 0.7)),
    ),
    slips=(
        Slip("a loss above the start counts as the start", lambda x, s: (x - x.min()).mean()),
        Slip(
            "nan stays nan in min(): a run that diverged counts as the start",
            lambda x, s: (x.clamp(max=s) - x.clamp(max=s).min()).mean(),
        ),
        Slip("runs that diverged were left out; they count as the start", lambda x, s: sensitivity(x[x.isfinite()], s)),
        Slip(
            "that is the gain over the start; what counts is the loss against the best rate",
            lambda x, s: (s - _capped(x, s)).mean(),
        ),
        Slip(
            "that is the worst rate against the best; take the mean over the rates",
            lambda x, s: _capped(x, s).max() - _capped(x, s).min(),
        ),
        Slip(
            "the best rate belongs to the mean as well: divide by the number of rates",
            lambda x, s: (_capped(x, s) - _capped(x, s).min()).sum() / (len(x) - 1),
        ),
    ),
    hints=(
        "First replace each loss that is not below the start by the start. Is nan below anything?",
        "Then the mean over the rates of what each loses against the smallest of them.",
    ),
)


def churn(predictions):
    runs = len(predictions)
    pairs = [(i, j) for i in range(runs) for j in range(i)]
    return sum((predictions[i] != predictions[j]).double().mean() for i, j in pairs) / len(pairs)


def _differ(predictions):
    return (predictions[:, None] != predictions).double().mean(dim=-1)  # (R, R)


_PREDICTIONS = torch.tensor([[0, 1, 2, 0, 1], [0, 1, 1, 0, 2], [0, 2, 2, 0, 1], [1, 1, 0, 0, 1]])

CHURN = Exercise(
    name="measuring.churn",
    asks="the churn: the share of predictions that differ, as the mean over all pairs of runs",
    solution=churn,
    cases=(
        Case("two runs", (_PREDICTIONS[:2],)),
        Case("four runs of five examples", (_PREDICTIONS,)),
        Case("three runs, two of them the same", (_PREDICTIONS[[0, 0, 3]],)),
    ),
    slips=(
        Slip("that is how much they agree; churn is the share that differs", lambda p: 1 - churn(p)),
        Slip("a run was paired with itself: there are R (R - 1) / 2 pairs", lambda p: _differ(p).mean()),
        Slip("only neighbours were compared; every pair counts", lambda p: (p[1:] != p[:-1]).double().mean()),
        Slip("all were compared with the first run only; every pair counts", lambda p: (p[1:] != p[0]).double().mean()),
        Slip(
            "that is the share of examples on which any two differ; take it pair by pair",
            lambda p: (p != p[0]).any(dim=0).double().mean(),
        ),
        Slip(
            "class numbers are names: that two differ counts, not by how much",
            lambda p: (
                sum((p[i] - p[j]).abs().double().mean() for i in range(len(p)) for j in range(i)) / math.comb(len(p), 2)
            ),
        ),
    ),
    hints=(
        "For one pair of runs it is (a != b).double().mean().",
        "Go over all pairs with j < i, add up, and divide by their number R (R - 1) / 2.",
    ),
)


def calibration_error(confidence, right, bins):
    error = 0.0
    for m in range(bins):
        inside = (confidence > m / bins) & (confidence <= (m + 1) / bins)
        if inside.any():
            gap = right[inside].double().mean() - confidence[inside].mean()
            error = error + inside.double().mean() * gap.abs()
    return error


def _by_bins(combine):
    """The calibration error with the bins' (weight, accuracy - confidence) put together otherwise."""

    def answer(confidence, right, bins):
        gaps = confidence.new_zeros(bins)
        weights = confidence.new_zeros(bins)
        for m in range(bins):
            inside = (confidence > m / bins) & (confidence <= (m + 1) / bins)
            if inside.any():
                gaps[m] = right[inside].double().mean() - confidence[inside].mean()
                weights[m] = inside.double().mean()
        return combine(weights, gaps)

    return answer


def _edge_above(confidence, right, bins):
    return calibration_error(confidence + 1e-12, right, bins)


_CONFIDENCE = torch.tensor([0.95, 0.9, 0.85, 0.6, 0.55, 0.3, 0.97, 0.65], dtype=torch.float64)
_RIGHT = torch.tensor([True, True, False, True, False, True, True, False])

CALIBRATION = Exercise(
    name="measuring.calibration_error",
    asks="the expected calibration error, one number",
    solution=calibration_error,
    cases=(
        Case("eight examples in five bins, one of them empty", (_CONFIDENCE, _RIGHT, 5)),
        Case("confidences on the edges of four bins", (torch.tensor([0.5, 0.5, 0.75, 1.0, 0.6]), _RIGHT[1:6], 4)),
        Case("one bin for all", (_CONFIDENCE, _RIGHT, 1)),
    ),
    slips=(
        Slip(
            "every bin weighs by its share of the examples, not the same",
            _by_bins(lambda w, g: g.abs().sum() / (w > 0).sum()),
        ),
        Slip("without absolute values, gaps of both signs cancel", _by_bins(lambda w, g: (w * g).sum().abs())),
        Slip("that is the largest gap of a bin; take the weighted mean", _by_bins(lambda w, g: g.abs().max())),
        Slip(
            "the gap belongs inside the bins: between their mean accuracy and confidence, not example by example",
            lambda c, r, bins: (r.double() - c).abs().mean(),
        ),
        Slip("the gaps were squared; take absolute values", _by_bins(lambda w, g: (w * g**2).sum())),
        Slip(
            "bin m holds confidences above m / bins up to and with (m + 1) / bins: the upper edge belongs to it",
            _edge_above,
        ),
    ),
    hints=(
        "Bin m: inside = (confidence > m / bins) & (confidence <= (m + 1) / bins). Skip it where it is empty.",
        "Its gap is |mean of right[inside] - mean of confidence[inside]|, its weight the share of examples inside.",
    ),
)

EXERCISES = (SENSITIVITY, CHURN, CALIBRATION)
