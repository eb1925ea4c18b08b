"""The exercises of notebook 09 on one recipe: failed runs, intervals, variance components, churn, sensitivity."""

from __future__ import annotations

import math

import torch

from .exercise import Case, Exercise, Slip, float64, normal


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


_ACCURACIES = float64(0.8, 0.5, 0.9, 0.7, 0.5, 0.3, 0.8, 0.85, 0.9, 0.75)

FAILED_RATE = Exercise(
    name="measuring.failed_rate",
    returns="the share of failed runs and Wilson's interval for it, as (rate, low, high)",
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
    returns="the least number of runs of which, with this probability, one or more fail",
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


def _normal_interval(scores, draws, level):
    deviations = scores[draws].std(dim=1)
    z = math.sqrt(2) * torch.erfinv(torch.tensor(level, dtype=torch.float64))
    return scores.std() - z * deviations.std(), scores.std() + z * deviations.std()


def _draws(seed, count, n):
    return torch.randint(n, (count, n), generator=torch.Generator().manual_seed(seed))


BOOTSTRAP = Exercise(
    name="measuring.bootstrap",
    returns="(low, high), the percentile interval of the standard deviation (with n - 1) over the resamples, "
    "interpolated as torch.quantile does",
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
            "that supposes a normal distribution; the percentile interval reads its bounds off the resamples",
            _normal_interval,
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


def coverage(interval, samples, truth):
    held = 0
    for scores in samples:
        low, high = interval(scores)
        held += bool(low <= truth <= high)
    return held / len(samples)


def _share(holds):
    """The share of the samples of which something holds."""

    def answer(interval, samples, truth):
        return sum(bool(holds(*interval(scores), truth, scores)) for scores in samples) / len(samples)

    return answer


def two_errors(scores):
    """The mean ± two standard errors: an interval for the cases below."""
    half = 2 * scores.std() / math.sqrt(len(scores))
    return scores.mean() - half, scores.mean() + half


def _extremes(scores):
    return scores.min(), scores.max()


COVERAGE = Exercise(
    name="measuring.coverage",
    returns="the share of the samples whose interval holds the truth",
    solution=coverage,
    cases=(
        Case("the mean of four ± two errors, 60 times", (two_errors, normal(60, 4, seed=4), 0.0)),
        Case("from lowest to highest of three, 40 times", (_extremes, normal(40, 3, seed=5), 0.0)),
        Case("the same about another truth", (_extremes, normal(40, 3, seed=6), 0.6)),
    ),
    slips=(
        Slip("that is the share of intervals that miss", lambda i, x, t: 1 - coverage(i, x, t)),
        Slip("that is how many hold it; divide by the number of samples", lambda i, x, t: coverage(i, x, t) * len(x)),
        Slip(
            "an interval has two ends: the truth must lie below the upper one as well",
            _share(lambda a, b, t, x: a <= t),
        ),
        Slip(
            "an interval has two ends: the truth must lie above the lower one as well",
            _share(lambda a, b, t, x: t <= b),
        ),
        Slip("every interval holds its own estimate; ask for the truth", _share(lambda a, b, t, x: a <= x.mean() <= b)),
    ),
    hints=(
        "Go through the rows of samples: each is one experiment. low, high = interval(row).",
        "Count those with low <= truth <= high, and divide by len(samples).",
    ),
)


def variance(scores):
    inits, orders = scores.shape  # (I, J)
    rows, columns = scores.mean(dim=1), scores.mean(dim=0)
    rest = scores - rows[:, None] - columns + scores.mean()
    var_rest = (rest**2).sum() / ((inits - 1) * (orders - 1))
    var_init = torch.clamp(rows.var() - var_rest / orders, min=0)
    var_order = torch.clamp(columns.var() - var_rest / inits, min=0)
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
    """Scores (a, b) with these three standard deviations."""
    return init * normal(a, 1, seed=seed) + order * normal(1, b, seed=seed + 1) + rest * normal(a, b, seed=seed + 2)


VARIANCE = Exercise(
    name="measuring.variance",
    returns="(var_init, var_order, var_rest), the three variance components, none below 0",
    solution=variance,
    cases=(
        Case("four initialisations by three orders", (_table(0, 2.0, 1.0, 0.5, 4, 3),)),
        Case("five by six, and hardly anything to the order", (_table(3, 1.0, 0.1, 1.0, 5, 6),)),
        Case("nothing but the rest", (torch.tensor([[0.0, 1.0], [1.0, 0.0]]),)),
    ),
    slips=(
        Slip(
            "the means of rows and columns hold noise, too: subtract var_rest / J and var_rest / I", _split(noise=0.0)
        ),
        Slip("a component came out below 0: a variance is at least 0", _split(lowest=-math.inf)),
        Slip("the rest has (I - 1)(J - 1) degrees of freedom, not I · J", _split(rest_over=lambda a, b: a * b)),
        Slip("the variance of the means divides by their number less one", _split(correction=0)),
        Slip("rows and columns are swapped: each row is one initialisation", _split(turned=True)),
        Slip("the noise in a row's mean is that of J runs: subtract var_rest / J, not var_rest", _unshared),
    ),
    hints=(
        "What is left of score[i, j] after its row's mean and its column's mean? Add the mean of all back once.",
        "var_rest: the squares of what is left, summed, over (I - 1)(J - 1).",
        "The variance of the row means is var_init + var_rest / J. Solve for var_init, and cut at 0.",
    ),
)


def joint_error(right):
    R, N = right.shape
    runs, examples = right.mean(dim=1), right.mean(dim=0)
    rest = right - runs[:, None] - examples + right.mean()
    var_rest = (rest**2).sum() / ((R - 1) * (N - 1))
    var_runs = torch.clamp(runs.var() - var_rest / N, min=0)
    var_examples = torch.clamp(examples.var() - var_rest / R, min=0)
    return torch.sqrt(var_runs / R + var_examples / N + var_rest / (R * N))


def _joint(combine):
    """The standard error with the three variances put together otherwise."""

    def answer(right):
        return combine(*variance(right), *right.shape) ** 0.5

    return answer


def _right(seed, runs, examples, spread):
    """Rights and wrongs (R, N) of runs that differ by a spread of their own, on examples of differing difficulty."""
    logits = 1 + spread * normal(runs, 1, seed=seed) + 1.5 * normal(1, examples, seed=seed + 1)
    return (logits + normal(runs, examples, seed=seed + 2) > 0).double()


JOINT_ERROR = Exercise(
    name="measuring.joint_error",
    returns="the standard error of the mean accuracy over other runs and other examples, one number",
    solution=joint_error,
    cases=(
        Case("six runs on thirty examples", (_right(10, 6, 30, 0.8),)),
        Case("four runs that hardly differ, on fifty", (_right(76, 4, 50, 0.0),)),
        Case("twelve runs that differ much, on eight", (_right(30, 12, 8, 3.0),)),
    ),
    slips=(
        Slip(
            "that allows for other runs only; the examples were drawn as well",
            lambda x: x.mean(1).std() / len(x) ** 0.5,
        ),
        Slip(
            "that allows for other examples only; the runs were drawn as well",
            lambda x: x.mean(0).std() / x.shape[1] ** 0.5,
        ),
        Slip(
            "the answers of a run, and those to an example, are no independent draws: R · N is not their number",
            lambda x: x.std() / x.numel() ** 0.5,
        ),
        Slip("what is left of run and example counts too, over R · N", _joint(lambda a, b, e, R, N: a / R + b / N)),
        Slip("runs average over R, examples over N", _joint(lambda a, b, e, R, N: a / N + b / R + e / (R * N))),
        Slip("the variances do not average out by themselves: divide each", _joint(lambda a, b, e, R, N: a + b + e)),
        Slip("that is the variance; the standard error is its root", lambda x: joint_error(x) ** 2),
        Slip(
            "row and column means hold the rest as well, which is then counted twice",
            lambda x: (x.mean(1).var() / x.shape[0] + x.mean(0).var() / x.shape[1]) ** 0.5,
        ),
    ),
    hints=(
        "Your variance components do it: rows are runs, columns are examples.",
        "var_runs / R + var_examples / N + var_rest / (R · N), and the root of it.",
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
    returns="the churn: the share of predictions that differ, as the mean over all pairs of runs",
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


def sensitivity(losses, start_loss):
    capped = torch.where(losses < start_loss, losses, start_loss)  # nan is not below, so it counts as the start
    return (capped - capped.min()).mean()


def _capped(losses, start_loss):
    return losses.nan_to_num(nan=math.inf).clamp(max=start_loss)


SENSITIVITY = Exercise(
    name="measuring.sensitivity",
    returns="the learning-rate sensitivity, one number",
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


EXERCISES = (FAILED_RATE, RUNS_NEEDED, BOOTSTRAP, COVERAGE, VARIANCE, JOINT_ERROR, CHURN, SENSITIVITY)
