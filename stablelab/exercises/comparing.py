"""The exercises of notebook 09 on two recipes: paired differences, a permutation test, how many seeds."""

from __future__ import annotations

import math

import torch

from .exercise import Case, Exercise, Slip, float64, normal


def paired(a, b, t):
    d = b - a
    half = t * d.std() / math.sqrt(len(d))
    return d.mean(), d.mean() - half, d.mean() + half


def _paired(differences=lambda a, b: b - a, error=lambda a, b: (b - a).std() / math.sqrt(len(a))):
    """The difference and its interval, with one thing done otherwise."""

    def answer(a, b, t):
        d, half = differences(a, b).mean(), t * error(a, b)
        return d, d - half, d + half

    return answer


def _sorted_pairs(a, b, t):
    d = b.sort().values - a.sort().values
    half = t * d.std()
    return d.mean(), d.mean() - half, d.mean() + half


_A, _B = float64(81.0, 83.0, 84.5, 85.5, 81.5), float64(84.0, 87.0, 84.5, 84.5, 83.5)

PAIRED = Exercise(
    name="comparing.paired",
    returns="(difference, low, high): the mean of B - A, seed by seed, and its t interval",
    solution=paired,
    cases=(
        Case("five seeds, t = 2.776", (_A, _B, 2.776)),
        Case("a pair of arms that rise and fall together", (_A, _A + float64(1.0, 1.5, 0.5, 1.0, 1.0), 2.776)),
        Case("eight seeds at another level", (normal(8, seed=0), normal(8, seed=1) + 0.3, 1.895)),
    ),
    slips=(
        Slip(
            "the interval does not get shorter with more seeds, and it does not notice which seed belongs to which",
            _sorted_pairs,
        ),
        Slip(
            "each arm was put in order by itself, so a seed of A no longer stands beside the same seed of B",
            _paired(error=lambda a, b: (b.sort().values - a.sort().values).std() / math.sqrt(len(a))),
        ),
        Slip(
            "that is how far single differences spread, not how far their mean is off",
            _paired(error=lambda a, b: (b - a).std()),
        ),
        Slip(
            "the variances of both arms were added, as if no seed were shared",
            _paired(error=lambda a, b: torch.sqrt((a.var() + b.var()) / len(a))),
        ),
        Slip("the sign is turned: positive should mean that B is better", _paired(differences=lambda a, b: a - b)),
        Slip(
            "the standard deviation of a sample divides by n - 1",
            _paired(error=lambda a, b: (b - a).std(correction=0) / math.sqrt(len(a))),
        ),
    ),
    hints=(
        "Which number in `a` belongs to which number in `b`? What does sorting do to that?",
        "The mean of n differences varies by their standard deviation over √n.",
    ),
)


def permutation(differences, flips):
    seen = differences.mean().abs()
    shuffled = (flips * differences).mean(dim=1).abs()  # (B,): what renaming A and B in some pairs comes to
    as_large = (shuffled >= seen - 1e-12).sum().item()
    return (1 + as_large) / (1 + len(flips))


def _test(seen=lambda d: d.mean().abs(), shuffled=lambda d, f: (f * d).mean(dim=1).abs(), one=1, strict=False):
    """The permutation test with one thing done otherwise."""

    def answer(differences, flips):
        limit, values = seen(differences), shuffled(differences, flips)
        beyond = (values > limit + 1e-12) if strict else (values >= limit - 1e-12)
        return (one + beyond.sum().item()) / (one + len(flips))

    return answer


def _flips(seed, count, n):
    return 2 * torch.randint(2, (count, n), generator=torch.Generator().manual_seed(seed)).double() - 1


_ALL_OF_THREE = torch.cartesian_prod(*[float64(1.0, -1.0)] * 3)

PERMUTATION = Exercise(
    name="comparing.permutation",
    returns="the p-value: the share of relabellings, the one that was seen among them, whose mean is as far from 0",
    solution=permutation,
    cases=(
        Case("five differences, 40 flips", (_B - _A, _flips(0, 40, 5))),
        Case("three differences, every flip once", (float64(1.0, 2.0, 3.0), _ALL_OF_THREE)),
        Case("eight differences that are below 0", (normal(8, seed=3) - 0.7, _flips(1, 99, 8))),
    ),
    slips=(
        Slip(
            "a relabelling in the other direction counts as well: compare sizes",
            _test(seen=lambda d: d.mean(), shuffled=lambda d, f: (f * d).mean(dim=1)),
        ),
        Slip("what was seen is one of the relabellings; without it p could be 0", _test(one=0)),
        Slip("a mean that is exactly as far from 0 counts, too", _test(strict=True)),
        Slip(
            "the size is that of the mean, not the mean of the sizes: that never changes when signs are flipped",
            _test(seen=lambda d: d.abs().mean(), shuffled=lambda d, f: (f * d).abs().mean(dim=1)),
        ),
        Slip(
            "that is the share that is less extreme: 1 - p",
            lambda d, f: 1 - permutation(d, f),
        ),
    ),
    hints=(
        "flips * differences is (B, n): in each row some pairs have changed their names. Take the mean of each row.",
        "Count the rows whose |mean| is at least the |mean| that was seen; add one to the count and one to B.",
    ),
)


def seeds_needed(spread, difference, z_level, z_power):
    return math.ceil(((z_level + z_power) * spread / difference) ** 2)


SEEDS_NEEDED = Exercise(
    name="comparing.seeds_needed",
    returns="the least number of pairs of runs",
    solution=seeds_needed,
    cases=(
        Case("differences that spread by 2.4, one point, 95 %, a chance of 80 %", (2.4, 1.0, 1.96, 0.84)),
        Case("half of the spread", (1.2, 1.0, 1.96, 0.84)),
        Case("two points, a chance of 90 %", (3.1, 2.0, 1.96, 1.28)),
    ),
    slips=(
        Slip(
            "with that many the test finds it in one of two studies only: z_power is missing",
            lambda s, d, z, w: math.ceil((z * s / d) ** 2),
        ),
        Slip(
            "the root is still there: the standard error falls like 1/√n", lambda s, d, z, w: math.ceil((z + w) * s / d)
        ),
        Slip("rounded down, which falls short", lambda s, d, z, w: int(((z + w) * s / d) ** 2)),
        Slip("difference and spread are swapped", lambda s, d, z, w: math.ceil(((z + w) * d / s) ** 2)),
        Slip(
            "squares were added; the two distances lie one behind the other: z_level + z_power, then square",
            lambda s, d, z, w: math.ceil((z**2 + w**2) * (s / d) ** 2),
        ),
    ),
    hints=(
        "The standard error of n pairs is spread / √n. The difference must be z_level + z_power of them.",
        "Solve difference = (z_level + z_power) · spread / √n for n, and round up.",
    ),
)


EXERCISES = (PAIRED, PERMUTATION, SEEDS_NEEDED)
