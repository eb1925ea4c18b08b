"""The exercises of notebook 14c: membership, exposure, private gradients and their budget."""

from __future__ import annotations

import math

import torch

from .exercise import Case, Exercise, Slip, float64, normal


def log_odds(logits, targets):
    right = logits.gather(1, targets[:, None])[:, 0]
    others = logits.scatter(1, targets[:, None], -math.inf)
    return right - others.logsumexp(1)


def _classes(*numbers):
    return torch.tensor(numbers)


LOG_ODDS = Exercise(
    name="privacy.log_odds",
    returns="ln(p / (1 - p)) of the probability p of the right class, for each row of logits",
    solution=log_odds,
    cases=(
        Case("three classes", (normal(4, 3, seed=1), _classes(0, 2, 1, 1))),
        Case("two classes", (3 * normal(3, 2, seed=2), _classes(1, 0, 1))),
        Case(
            "a very sure model, for which 1 - p is 0 in floating point", (90 * normal(3, 4, seed=3), _classes(0, 3, 1))
        ),
    ),
    slips=(
        Slip("that is ln p, not ln p - ln(1 - p)", lambda z, y: z.log_softmax(1).gather(1, y[:, None])[:, 0]),
        Slip("the sign: high for a sure and right model", lambda z, y: -log_odds(z, y)),
        Slip(
            "1 - p is 0 where the model is very sure; take z_y minus the logsumexp of the other logits",
            lambda z, y: torch.logit(z.softmax(1).gather(1, y[:, None])[:, 0]),
        ),
        Slip(
            "the other classes together, not the best of them alone",
            lambda z, y: z.gather(1, y[:, None])[:, 0] - z.scatter(1, y[:, None], -math.inf).amax(1),
        ),
        Slip("the right class, not the likeliest", lambda z, y: log_odds(z, z.argmax(1))),
    ),
    hints=(
        "p / (1 - p) = exp(z_y) / Σ_{c≠y} exp(z_c). Take the logarithm, and no difference is left to round off.",
        "Put -inf in the place of the right class (logits.scatter(1, targets[:, None], -math.inf)), then logsumexp(1).",
    ),
)


def lira_score(phi, inside, outside):
    def log_density(x, sample):
        mean, variance = sample.mean(), sample.var(correction=0)
        return -((x - mean) ** 2) / (2 * variance) - (2 * math.pi * variance).log() / 2

    return log_density(phi, inside) - log_density(phi, outside)


def _score(spread=lambda s: s.var(correction=0), constant=True, swap=False):
    def answer(phi, inside, outside):
        def log_density(x, sample):
            v = spread(sample)
            return -((x - sample.mean()) ** 2) / (2 * v) - (v.log() / 2 if constant else 0)

        score = log_density(phi, inside) - log_density(phi, outside)
        return -score if swap else score

    return answer


LIRA_SCORE = Exercise(
    name="privacy.lira_score",
    returns="ln N(φ; μ_in, σ_in²) - ln N(φ; μ_out, σ_out²), with mean and mean square deviation of each sample",
    solution=lira_score,
    cases=(
        Case("members are surer", (float64(2.5)[0], 3 + normal(6, seed=1), normal(5, seed=2))),
        Case("the same mean, other spreads", (float64(0.2)[0], 3 * normal(8, seed=3), normal(8, seed=4) / 2)),
        Case("far outside", (float64(-7.0)[0], normal(4, seed=5), 2 * normal(7, seed=6) - 1)),
    ),
    slips=(
        Slip("the sign: high where the example was probably a member", _score(swap=True)),
        Slip("the two spreads differ, so ln σ does not cancel", _score(constant=False)),
        Slip("the exponent is divided by 2σ², not by 2σ", _score(spread=lambda s: s.std(correction=0))),
        Slip("the mean square deviation, divided by n and not by n - 1", _score(spread=lambda s: s.var())),
        Slip(
            "each side has a spread of its own, not one for both",
            lambda x, a, b: _score(spread=lambda s: (a.var(correction=0) + b.var(correction=0)) / 2)(x, a, b),
        ),
    ),
    hints=(
        "ln N(x; μ, σ²) = -(x - μ)²/(2σ²) - ln(2πσ²)/2. Write it once as a function and call it for both samples.",
        "sample.mean() and sample.var(correction=0) are the fit; the score is the density inside minus that outside.",
    ),
)


def tpr_at_fpr(scores, members, rate):
    outside = scores[~members].sort(descending=True).values
    allowed = math.floor(rate * len(outside) + 1e-9)
    if allowed == len(outside):
        return torch.ones((), dtype=torch.float64)
    return (scores[members] > outside[allowed]).double().mean()


def _at(threshold, compare=torch.gt, of=lambda scores, members: scores[members]):
    def answer(scores, members, rate):
        return compare(of(scores, members), threshold(scores, members, rate)).double().mean()

    return answer


def _rank(scores, rate, change=math.floor):
    ranked = scores.sort(descending=True).values
    return ranked[min(change(rate * len(scores) + 1e-9), len(scores) - 1)]


_MEMBERS = torch.tensor([True, False] * 20)
_FEW = float64(0.5, 2.0, 1.0, 2.0, 3.0, 1.0, 2.0, 0.0)
_FEW_MEMBERS = torch.tensor([True, True, True, False, True, False, False, False])

TPR_AT_FPR = Exercise(
    name="privacy.tpr_at_fpr",
    returns="the share of members above the lowest threshold that at most `rate` of the non-members exceed",
    solution=tpr_at_fpr,
    cases=(
        Case("a tenth may be wrong", (normal(40, seed=1) + _MEMBERS, _MEMBERS, 0.1)),
        Case("a quarter", (normal(40, seed=2) + 2 * _MEMBERS, _MEMBERS, 0.25)),
        Case("none may be wrong", (normal(40, seed=3) + 2 * _MEMBERS, _MEMBERS, 0.0)),
        Case("non-members with equal scores", (_FEW, _FEW_MEMBERS, 0.25)),
        Case("a rate that is no whole number of non-members", (normal(40, seed=4) + _MEMBERS, _MEMBERS, 0.13)),
    ),
    slips=(
        Slip(
            "the threshold comes from the non-members alone, not from all scores",
            _at(lambda s, m, r: _rank(s, r)),
        ),
        Slip("members are found above the threshold, not below it", lambda s, m, r: 1 - tpr_at_fpr(s, m, r)),
        Slip(
            "at the threshold itself is not above it: with >= more non-members are called than the rate allows",
            _at(lambda s, m, r: _rank(s[~m], r), torch.ge),
        ),
        Slip(
            "the share of the members, not of all examples",
            lambda s, m, r: tpr_at_fpr(s, m, r) * m.double().mean(),
        ),
        Slip("at most the rate: round down, not up", _at(lambda s, m, r: _rank(s[~m], r, math.ceil))),
        Slip("that is the share of the non-members", _at(lambda s, m, r: _rank(s[~m], r), of=lambda s, m: s[~m])),
    ),
    hints=(
        "Sort the scores of the non-members, the highest first. With k of n allowed, which of them is the threshold?",
        "k = floor(rate · n + 1e-9); the threshold is number k, from 0: exactly k are above it if no two are equal. "
        "Then (scores[members] > threshold).double().mean().",
    ),
)


def exposure(losses, secret):
    rank = 1 + (losses < losses[secret]).sum()
    return math.log2(len(losses)) - rank.double().log2()


EXPOSURE = Exercise(
    name="privacy.exposure",
    returns="log₂ |R| - log₂ rank of candidate number `secret`; rank 1 has the lowest of the |R| losses",
    solution=exposure,
    cases=(
        Case("16 candidates", (normal(16, seed=1), 5)),
        Case("the likeliest of 8", (float64(4, 3, 9, 1, 7, 8, 6, 5), 3)),
        Case("the last of 8", (float64(4, 3, 9, 1, 7, 8, 6, 5), 2)),
        Case("100 candidates", (20 + 3 * normal(100, seed=2), 41)),
    ),
    slips=(
        Slip(
            "the rank counts from 1: the likeliest has rank 1", lambda x, i: math.log2(len(x)) - (x < x[i]).sum().log2()
        ),
        Slip("a low loss is likely: rank from the lowest loss", lambda x, i: exposure(-x, i)),
        Slip("in bits: logarithms to base 2", lambda x, i: exposure(x, i) * math.log(2)),
        Slip("that is the logarithm of the rank alone", lambda x, i: math.log2(len(x)) - exposure(x, i)),
        Slip("that is the rank", lambda x, i: 1 + (x < x[i]).sum()),
    ),
    hints=(
        "How many candidates have a lower loss than the secret? Its rank is one more than that.",
        "rank = 1 + (losses < losses[secret]).sum(); then math.log2(len(losses)) - torch.log2 of the rank.",
    ),
)


def private_gradient(gradients, max_norm, noise_multiplier, noise):
    norms = gradients.norm(dim=1, keepdim=True)
    clipped = gradients * (max_norm / norms.clamp(min=1e-12)).clamp(max=1)
    return (clipped.sum(dim=0) + noise_multiplier * max_norm * noise) / len(gradients)


def _private(scale=lambda g, C: (C / g.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1), noisy=lambda C, B: C):
    def answer(g, C, sigma, noise):
        return ((g * scale(g, C)).sum(0) + sigma * noisy(C, len(g)) * noise) / len(g)

    return answer


def _clips_the_mean(g, C, sigma, noise):
    mean = g.mean(0)
    return mean * (C / mean.norm().clamp(min=1e-12)).clamp(max=1) + sigma * C * noise / len(g)


_NOISE = normal(4, seed=9)
PRIVATE_GRADIENT = Exercise(
    name="privacy.private_gradient",
    returns="(Σ_i g_i min(1, C/‖g_i‖) + σ C · noise) / B for gradients of B examples, one a row",
    solution=private_gradient,
    cases=(
        Case("some rows are long", (2 * normal(6, 4, seed=1), 2.5, 1.5, _NOISE)),
        Case("none is", (0.1 * normal(5, 4, seed=2), 3.0, 0.5, _NOISE)),
        Case(
            "two long ones against each other, and one of zeros",
            (float64([9, 0, 0, 0], [-3, 0, 0, 0], [0, 0, 0, 0]), 1.0, 0.0, _NOISE),
        ),
    ),
    slips=(
        Slip(
            "each example's gradient is clipped, not their mean: the mean may be short and one of them long",
            _clips_the_mean,
        ),
        Slip("the noise is measured by C: its size is σ C, not σ", _private(noisy=lambda C, B: 1.0)),
        Slip("the noise goes into the sum, before it is divided by B", _private(noisy=lambda C, B: C * B)),
        Slip(
            "short gradients stay as they are: the factor is at most 1",
            _private(scale=lambda g, C: C / g.norm(dim=1, keepdim=True).clamp(min=1e-12)),
        ),
        Slip("the sum is divided by the number of examples", lambda g, C, s, n: private_gradient(g, C, s, n) * len(g)),
        Slip(
            "the length of the whole row is bounded, not each of its numbers",
            lambda g, C, s, n: (g.clamp(-C, C).sum(0) + s * C * n) / len(g),
        ),
    ),
    hints=(
        "Whose gradient has to be at most C long, so that no one person can move the sum by more than C?",
        "norms = gradients.norm(dim=1, keepdim=True); the factor is (max_norm / norms).clamp(max=1). Where does the "
        "noise of size σ C go: into the sum, or into the mean?",
    ),
)


def spent_delta(epsilon, noise_multiplier, steps):
    mu = math.sqrt(steps) / noise_multiplier

    def below(x):  # Φ(x)
        return math.erfc(-x / math.sqrt(2)) / 2

    return below(mu / 2 - epsilon / mu) - math.exp(epsilon) * below(-mu / 2 - epsilon / mu)


def _phi(x):
    return math.erfc(-x / math.sqrt(2)) / 2


def _delta(mu=lambda sigma, T: math.sqrt(T) / sigma, weight=math.exp, phi=_phi):
    def answer(epsilon, sigma, T):
        m = mu(sigma, T)
        return phi(m / 2 - epsilon / m) - weight(epsilon) * phi(-m / 2 - epsilon / m)

    return answer


SPENT_DELTA = Exercise(
    name="privacy.spent_delta",
    returns="δ = Φ(μ/2 - ε/μ) - e^ε Φ(-μ/2 - ε/μ) with the μ of so many steps",
    solution=spent_delta,
    cases=(
        Case("one step", (1.0, 1.0, 1)),
        Case("30 steps", (1.0, 4.0, 30)),
        Case("ε = 0", (0.0, 2.0, 1)),
        Case("a large budget", (8.0, 2.0, 20)),
    ),
    slips=(
        Slip("T steps move μ by √T, not by T: variances add up, not lengths", _delta(mu=lambda s, T: T / s)),
        Slip("the steps count: μ = √T / σ", _delta(mu=lambda s, T: 1 / s)),
        Slip("μ is the shift over the noise, √T/σ, not σ/√T", _delta(mu=lambda s, T: s / math.sqrt(T))),
        Slip("the second term weighs e^ε, not 1", _delta(weight=lambda e: 1.0)),
        Slip("Φ is the share of a normal below x: erfc(-x/√2)/2, with the √2", _delta(phi=lambda x: math.erfc(-x) / 2)),
    ),
    hints=(
        "Which one Gaussian mechanism do T of them amount to? All T results together shift by √T C, in noise of σ C.",
        "Φ(x) = math.erfc(-x / math.sqrt(2)) / 2, and mu = math.sqrt(steps) / noise_multiplier.",
    ),
)

EXERCISES = (TPR_AT_FPR, LOG_ODDS, LIRA_SCORE, EXPOSURE, PRIVATE_GRADIENT, SPENT_DELTA)
