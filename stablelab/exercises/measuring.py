"""The exercises of notebook 09: here those on runs and intervals; `components` and `disagreement` have the others."""

from __future__ import annotations

import math

import torch

from . import components, disagreement
from .exercise import Case, Exercise, Slip


def failed_rate(accuracies, majority, z):
    n = len(accuracies)
    p = (~(accuracies > majority)).sum().item() / n  # nan is above nothing
    middle = p + z**2 / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return p, (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)


def _wilson(failed, around_p=False, inside=True, shrunk=True):
    """Wilson's interval with one thing done otherwise."""

    def answer(accuracies, majority, z):
        n = len(accuracies)
        p = failed(accuracies, majority).double().mean().item()
        middle = p if around_p else p + z**2 / (2 * n)
        half = z * math.sqrt(p * (1 - p) / n + (z**2 / (4 * n**2) if inside else 0))
        scale = 1 + z**2 / n if shrunk else 1
        return p, (middle - half) / scale, (middle + half) / scale

    return answer


def _failed(accuracies, majority):
    return ~(accuracies > majority)


_ACCURACIES = torch.tensor([0.8, 0.5, 0.9, 0.7, 0.5, 0.3, 0.8, 0.85, 0.9, 0.75], dtype=torch.float64)

FAILED_RATE = Exercise(
    name="measuring.failed_rate",
    asks="the share of failed runs and Wilson's interval for it, as (rate, low, high)",
    solution=failed_rate,
    cases=(
        Case("ten runs, some at the majority class, z = 1.96", (_ACCURACIES, 0.5, 1.96)),
        Case("no run fails", (_ACCURACIES[6:], 0.5, 1.96)),
        Case(
            "two runs diverged, without an accuracy: nan", (torch.tensor([0.9, math.nan, 0.8, 0.4, math.nan]), 0.6, 1.0)
        ),
    ),
    slips=(
        Slip("a run exactly at the majority class failed, too: it learned nothing", _wilson(lambda a, m: ~(a >= m))),
        Slip("nan ≤ majority is False, so runs that diverged were not counted", _wilson(lambda a, m: a <= m)),
        Slip(
            "that is p ± z √(p (1 - p) / n), which is a single point where no run fails",
            _wilson(_failed, around_p=True, inside=False, shrunk=False),
        ),
        Slip("the middle is p + z² / (2 n), not p", _wilson(_failed, around_p=True)),
        Slip("z² / (4 n²) is missing under the root", _wilson(_failed, inside=False)),
        Slip("both bounds must be divided by 1 + z² / n", _wilson(_failed, shrunk=False)),
    ),
    hints=(
        "A run that is not above the majority class failed. What does nan > 0.5 give?",
        "middle = p + z² / (2 n), half = z √(p (1 - p) / n + z² / (4 n²)); both bounds are divided by 1 + z² / n.",
    ),
)


def runs_needed(rate, confidence):
    return math.ceil(math.log(1 - confidence) / math.log(1 - rate))


RUNS_NEEDED = Exercise(
    name="measuring.runs_needed",
    asks="the least number of runs of which, with this probability, one or more fail",
    solution=runs_needed,
    cases=(
        Case("a rate of 10 %, seen with 95 %", (0.1, 0.95)),
        Case("a rate of 3 %, seen with 90 %", (0.03, 0.9)),
        Case("half of the runs fail", (0.5, 0.99)),
    ),
    slips=(
        Slip("rounded down, which falls short of the probability", lambda r, c: int(math.log(1 - c) / math.log(1 - r))),
        Slip("that many runs have one failure on the average, whatever the probability", lambda r, c: math.ceil(1 / r)),
        Slip(
            "that is when no run fails with this probability; one fails with 1 - (1 - rate)ⁿ",
            lambda r, c: math.ceil(math.log(c) / math.log(1 - r)),
        ),
        Slip("probabilities of single runs do not add up: n · rate is no probability", lambda r, c: math.ceil(c / r)),
        Slip(
            "that is until all runs fail; n runs without a failure have (1 - rate)ⁿ",
            lambda r, c: math.ceil(math.log(1 - c) / math.log(r)),
        ),
    ),
    hints=(
        "One run does well with probability 1 - rate. And all n of them?",
        "Solve (1 - rate)ⁿ ≤ 1 - confidence for n with logarithms, and round up. Both logarithms are negative.",
    ),
)


def bootstrap(scores, draws, level):
    deviations = scores[draws].std(dim=1)
    low = torch.quantile(deviations, (1 - level) / 2)
    high = torch.quantile(deviations, (1 + level) / 2)
    return low, high


def _quantiles(values, low, high):
    return torch.quantile(values, low), torch.quantile(values, high)


def _normal(scores, draws, level):
    deviations = scores[draws].std(dim=1)
    z = math.sqrt(2) * torch.erfinv(torch.tensor(level, dtype=torch.float64))
    return scores.std() - z * deviations.std(), scores.std() + z * deviations.std()


def _draws(seed, count, n):
    return torch.randint(n, (count, n), generator=torch.Generator().manual_seed(seed))


BOOTSTRAP = Exercise(
    name="measuring.bootstrap",
    asks="(low, high), the percentile interval of the standard deviation (with n - 1) over the resamples",
    solution=bootstrap,
    cases=(
        Case("ten runs, 50 resamples, 95 %", (_ACCURACIES, _draws(0, 50, 10), 0.95)),
        Case("five runs, 20 resamples, 80 %", (_ACCURACIES[:5], _draws(1, 20, 5), 0.8)),
    ),
    slips=(
        Slip(
            "both tails together hold 1 - level, so cut half of that off each end",
            lambda s, d, level: _quantiles(s[d].std(dim=1), 1 - level, level),
        ),
        Slip(
            "those are quantiles of the scores, not of what resamples come to",
            lambda s, d, level: _quantiles(s, (1 - level) / 2, (1 + level) / 2),
        ),
        Slip(
            "that is the interval of the mean; take the standard deviation of each resample",
            lambda s, d, level: _quantiles(s[d].mean(dim=1), (1 - level) / 2, (1 + level) / 2),
        ),
        Slip(
            "the deviation was taken over the resamples, not within each: one row of draws is one resample",
            lambda s, d, level: _quantiles(s[d].std(dim=0), (1 - level) / 2, (1 + level) / 2),
        ),
        Slip(
            "the variance of a sample divides by n - 1",
            lambda s, d, level: _quantiles(s[d].std(dim=1, correction=0), (1 - level) / 2, (1 + level) / 2),
        ),
        Slip(
            "that supposes a normal distribution; the percentile interval reads its bounds off the resamples", _normal
        ),
        Slip(
            "lowest and highest of all resamples: the level says how much to cut off",
            lambda s, d, level: tuple(s[d].std(dim=1).aminmax()),
        ),
    ),
    hints=(
        "scores[draws] is (B, n): one resample a row. Reduce each row to its standard deviation.",
        "torch.quantile at (1 - level) / 2 and at (1 + level) / 2.",
    ),
)

EXERCISES = (FAILED_RATE, RUNS_NEEDED, BOOTSTRAP, components.VARIANCE, *disagreement.EXERCISES)
