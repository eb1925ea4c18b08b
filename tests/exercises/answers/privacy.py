"""Answers to the exercises of notebook 14c: right ones written in other ways, and wrong ones that no slip names."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import stats
from torch import nn

from stablelab import formulas
from stablelab.stability.membership import true_positive_rates


def odds_row_by_row(logits, targets):
    found = []
    for z, y in zip(logits, targets.tolist(), strict=True):
        others = torch.cat([z[:y], z[y + 1 :]])
        found.append((z[y] - others.logsumexp(0)).item())
    return found


def odds_in_numpy(logits, targets):
    z, y = logits.numpy().copy(), targets.numpy()
    rows = np.arange(len(z))
    right = z[rows, y].copy()
    z[rows, y] = -np.inf
    return right - np.logaddexp.reduce(z, axis=1)


def odds_by_a_mask(z, y):
    mask = nn.functional.one_hot(y, z.shape[1]).bool()
    return z[mask] - torch.where(mask, -torch.inf, z).logsumexp(1)


def score_by_torch(phi, inside, outside):
    fits = [torch.distributions.Normal(s.mean(), s.std(correction=0)) for s in (inside, outside)]
    return fits[0].log_prob(phi) - fits[1].log_prob(phi)


def score_by_scipy(phi, inside, outside):
    return stats.norm.logpdf(phi, inside.mean(), np.std(inside.numpy())) - stats.norm.logpdf(
        phi, outside.mean(), np.std(outside.numpy())
    )


def score_by_densities(phi, inside, outside):
    def log_density(sample):
        centred = sample - sample.sum() / len(sample)
        v = (centred @ centred / len(sample)).item()
        return -((phi.item() - sample.mean().item()) ** 2) / (2 * v) - math.log(v) / 2

    return log_density(inside) - log_density(outside)


def score_by_the_package(phi, a, b):
    return formulas.log_likelihood_ratio(phi, a.mean(), a.var(correction=0), b.mean(), b.var(correction=0))


def rate_by_trying(scores, members, rate):
    outside = scores[~members]
    best = 0.0
    for threshold in [*outside.tolist(), -math.inf]:
        if (outside > threshold).double().mean() <= rate + 1e-9:
            best = max(best, (scores[members] > threshold).double().mean().item())
    return best


def rate_in_numpy(scores, members, rate):
    s, m = scores.numpy(), members.numpy()
    outside = np.sort(s[~m])[::-1]
    k = int(rate * len(outside) + 1e-9)
    return float((s[m] > (outside[k] if k < len(outside) else -np.inf)).mean())


def rate_by_topk(s, m, r):
    k = math.floor(r * int((~m).sum()) + 1e-9)
    return (s[m] > s[~m].topk(k + 1).values[-1]).double().mean()


def exposure_by_sorting(losses, secret):
    rank = losses.argsort().tolist().index(secret) + 1
    return math.log2(len(losses) / rank)


def exposure_in_numpy(losses, secret):
    x = losses.numpy()
    return np.log2(len(x)) - np.log2(np.count_nonzero(x < x[secret]) + 1)


def exposure_as_a_share(x, i):
    return -math.log2((x <= x[i]).double().mean().item())


def private_row_by_row(gradients, max_norm, noise_multiplier, noise):
    total = noise_multiplier * max_norm * noise
    for g in gradients:
        total = total + g / max(1.0, g.norm().item() / max_norm)
    return total / len(gradients)


def private_in_numpy(gradients, max_norm, noise_multiplier, noise):
    g = gradients.numpy()
    length = np.linalg.norm(g, axis=1, keepdims=True)
    return (np.sum(g / np.maximum(1, length / max_norm), axis=0) + noise_multiplier * max_norm * noise.numpy()) / len(g)


def private_by_choice(g, C, sigma, noise):
    lengths = torch.linalg.vector_norm(g, dim=1, keepdim=True)
    return torch.where(lengths > C, g * (C / lengths), g).mean(0) + sigma * C / len(g) * noise


def private_in_place(g, C, sigma, noise):
    g.mul_((C / g.norm(dim=1).clamp(min=1e-30)).clamp(max=1)[:, None])
    return g.sum(0).add_(noise, alpha=sigma * C).div_(len(g))


def delta_by_scipy(epsilon, sigma, steps):
    mu = steps**0.5 / sigma
    return stats.norm.cdf(mu / 2 - epsilon / mu) - np.exp(epsilon) * stats.norm.cdf(-mu / 2 - epsilon / mu)


def delta_by_torch(epsilon, sigma, steps):
    mu = torch.tensor(steps, dtype=torch.float64).sqrt() / sigma
    normal = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), 1.0)
    return normal.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * normal.cdf(-mu / 2 - epsilon / mu)


def delta_by_tails(epsilon, sigma, steps):
    loss = stats.norm(steps / sigma**2 / 2, steps**0.5 / sigma)  # of the privacy loss, and of its negative
    return loss.sf(epsilon) - math.exp(epsilon) * stats.norm(-steps / sigma**2 / 2, steps**0.5 / sigma).sf(epsilon)


RIGHT = {
    "privacy.log_odds": (odds_row_by_row, odds_in_numpy, odds_by_a_mask, formulas.log_odds),
    "privacy.lira_score": (score_by_torch, score_by_scipy, score_by_densities, score_by_the_package),
    "privacy.tpr_at_fpr": (
        rate_by_trying,
        rate_in_numpy,
        rate_by_topk,
        lambda s, m, r: true_positive_rates(s, m, torch.tensor([r], dtype=torch.float64))[0],
    ),
    "privacy.exposure": (
        exposure_by_sorting,
        exposure_in_numpy,
        exposure_as_a_share,
        lambda x, i: formulas.exposure(x[i], torch.cat([x[:i], x[i + 1 :]])),
    ),
    "privacy.private_gradient": (private_row_by_row, private_in_numpy, private_by_choice, private_in_place),
    "privacy.spent_delta": (
        delta_by_scipy,
        delta_by_torch,
        delta_by_tails,
        lambda e, s, t: formulas.gaussian_delta(e, formulas.gaussian_mu(s, t)),
    ),
}

WRONG = {
    "privacy.log_odds": {
        "the loss": lambda z, y: nn.functional.cross_entropy(z, y, reduction="none"),
        "the right logit alone": lambda z, y: z.gather(1, y[:, None])[:, 0],
        "the mean of the others": lambda z, y: z.gather(1, y[:, None])[:, 0] - z.mean(1),
    },
    "privacy.lira_score": {
        "the ratio, not its logarithm": lambda x, a, b: score_by_torch(x, a, b).exp(),
        "the density inside alone": lambda x, a, b: torch.distributions.Normal(a.mean(), a.std(correction=0)).log_prob(
            x
        ),
        "the distance of the means": lambda x, a, b: (a.mean() - b.mean()) / (a.std() + b.std()),
    },
    "privacy.tpr_at_fpr": {
        "the threshold": lambda s, m, r: s[~m].quantile(1 - r),
        "a threshold of 0": lambda s, m, r: (s[m] > 0).double().mean(),
        "the rate itself": lambda s, m, r: r,
    },
    "privacy.exposure": {
        "the loss in bits": lambda x, i: x[i] / math.log(2),
        "the share of likelier ones": lambda x, i: (x < x[i]).double().mean(),
        "log of the probability": lambda x, i: math.log2(len(x)) + x.neg().log_softmax(0)[i] / math.log(2),
    },
    "privacy.private_gradient": {
        "no clip": lambda g, C, s, n: (g.sum(0) + s * C * n) / len(g),
        "no noise": lambda g, C, s, n: private_by_choice(g, C, 0.0, n),
        "the noise divided by √B": lambda g, C, s, n: private_by_choice(g, C, s * len(g) ** 0.5, n),
    },
    "privacy.spent_delta": {
        "the first term alone": lambda e, s, t: stats.norm.cdf(t**0.5 / s / 2 - e * s / t**0.5),
        "e^-ε": lambda e, s, t: delta_by_scipy(e, s, t) - 0.01 * math.exp(-e),
        "the classical bound for one step": lambda e, s, t: 1.25 * math.exp(-((e * s) ** 2) / (2 * t)),
    },
}
