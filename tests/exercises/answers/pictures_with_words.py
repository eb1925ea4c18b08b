"""Answers to the exercises of notebook 13 on CLIP: right ones written in other ways, and wrong ones no slip names."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from stablelab import formulas


def loss_by_torch(u, v, theta):
    S = math.exp(theta) * F.normalize(u) @ F.normalize(v).T
    own = torch.arange(len(S))
    return (F.cross_entropy(S, own) + F.cross_entropy(S.T, own)) / 2


def loss_pair_by_pair(u, v, theta):
    S = F.cosine_similarity(u[:, None], v[None], dim=2).mul_(math.exp(theta))
    total = 0.0
    for i in range(len(S)):
        total += (S[i].logsumexp(0) + S[:, i].logsumexp(0) - 2 * S[i, i]).item()
    return total / (2 * len(S))


def loss_in_numpy(u, v, theta):
    u, v = (z.numpy() / np.linalg.norm(z.numpy(), axis=1, keepdims=True) for z in (u, v))
    S = np.exp(theta) * u @ v.T
    rows, columns = (np.log(np.exp(S - S.max(a, keepdims=True)).sum(a)) + S.max(a) for a in (1, 0))
    return (rows + columns).mean() / 2 - np.diag(S).mean()


def gradient_by_autograd(S):
    factor = torch.ones((), dtype=S.dtype, requires_grad=True)
    own = torch.arange(len(S))
    T = factor * S
    (0.5 * (F.cross_entropy(T, own) + F.cross_entropy(T.T, own))).backward()
    return factor.grad


def gradient_as_a_difference(S):
    expected = (S * S.softmax(1)).sum(1) + (S * S.softmax(0)).sum(0)
    return (expected / 2 - S.diag()).mean()


def gradient_in_numpy(S):
    S = S.numpy()
    e = np.exp(S - S.max())
    P, Q = e / e.sum(1, keepdims=True), e / e.sum(0, keepdims=True)
    return float((S * (P + Q)).sum() / 2 - np.trace(S)) / len(S)


def lowest_by_the_loss(scale, N):
    S = torch.full((N, N), -scale / (N - 1), dtype=torch.float64)
    S.fill_diagonal_(scale)
    return F.cross_entropy(S, torch.arange(N))


def lowest_by_log1p(scale, N):
    return math.log1p((N - 1) * math.exp(-scale - scale / (N - 1)))


def lowest_as_a_share(scale, N):
    e, others = math.exp(scale), (N - 1) * math.exp(-scale / (N - 1))
    return -math.log(e / (e + others))


def recall_one_by_one(S, k):
    hits = 0
    for i, row in enumerate(S.tolist()):
        hits += sum(other >= row[i] for j, other in enumerate(row) if j != i) < k
    return hits / len(S)


def recall_by_a_rank(S, k):
    rank = (S.numpy() >= np.diag(S)[:, None]).sum(axis=1)
    return np.mean(rank <= k)


def recall_by_the_kth_of_the_others(S, k):
    others = S.clone().fill_diagonal_(-math.inf)
    return (S.diagonal() > others.topk(k, dim=1).values[:, -1]).double().mean()


def zero_shot_by_torch(u, prompts):
    return (F.normalize(u) @ F.normalize(F.normalize(prompts, dim=-1).sum(1)).T).topk(1).indices[:, 0]


def zero_shot_in_numpy(u, prompts):
    p = prompts.numpy() / np.linalg.norm(prompts.numpy(), axis=-1, keepdims=True)
    c = p.mean(1)
    return (u.numpy() @ (c / np.linalg.norm(c, axis=1, keepdims=True)).T).argmax(1)


def zero_shot_one_by_one(u, prompts):
    classes = [F.normalize(sum(F.normalize(p, dim=0) for p in each), dim=0) for each in prompts]
    return torch.tensor([max(range(len(classes)), key=lambda c: float(x @ classes[c])) for x in u])


def shared_by_torch(S, caption):
    same = (caption[:, None] == caption).double()
    target = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(S, target) + F.cross_entropy(S.T, target)) / 2


def shared_one_by_one(S, caption):
    total = 0.0
    for i in range(len(S)):
        mine = [j for j in range(len(S)) if caption[j] == caption[i]]
        total += sum(float(S[i].logsumexp(0) - S[i, j] + S[:, i].logsumexp(0) - S[j, i]) for j in mine) / len(mine)
    return total / (2 * len(S))


def shared_in_numpy(S, caption):
    S, c = S.numpy(), caption.numpy()
    W = (c[:, None] == c).astype(float)
    W /= W.sum(0)
    rows = S - np.log(np.exp(S).sum(1, keepdims=True))
    columns = S - np.log(np.exp(S).sum(0, keepdims=True))
    return -float((W.T * rows).sum() + (W * columns).sum()) / (2 * len(S))


def shared_by_logsumexp(S, caption):
    same = torch.eq(caption.unsqueeze(0), caption.unsqueeze(1)).to(S)
    same = same / same.sum(dim=0)
    return 0.5 * (S.logsumexp(0).mean() + S.logsumexp(1).mean() - ((same + same.T) * S).sum() / len(S))


RIGHT = {
    "clip.loss": (loss_by_torch, loss_pair_by_pair, loss_in_numpy, formulas.clip_loss),
    "clip.scale_gradient": (
        gradient_by_autograd,
        gradient_as_a_difference,
        gradient_in_numpy,
        lambda S: formulas.clip_gradients(S)[1],
    ),
    "clip.lowest_loss": (
        lowest_by_the_loss,
        lowest_by_log1p,
        lowest_as_a_share,
        lambda s, N: float(torch.tensor(N - 1.0, dtype=torch.float64).mul(math.exp(-s * (1 + 1 / (N - 1)))).log1p()),
    ),
    "clip.recall": (
        recall_one_by_one,
        recall_by_a_rank,
        recall_by_the_kth_of_the_others,
        lambda S, k: formulas.recall_at(S, k)[0],
    ),
    "clip.zero_shot": (
        zero_shot_by_torch,
        zero_shot_in_numpy,
        zero_shot_one_by_one,
        lambda u, p: torch.einsum("nd,cd->nc", u, F.normalize(F.normalize(p, dim=2).mean(1), dim=1)).max(1).indices,
    ),
    "clip.shared_captions": (shared_by_torch, shared_one_by_one, shared_in_numpy, shared_by_logsumexp),
}

WRONG = {
    "clip.loss": {
        "negative": lambda u, v, theta: -loss_by_torch(u, v, theta),
        "in bits": lambda u, v, theta: loss_by_torch(u, v, theta) / math.log(2),
        "pictures with pictures": lambda u, v, theta: loss_by_torch(u, u, theta),
    },
    "clip.scale_gradient": {
        "of the scale, not of its logarithm": lambda S: gradient_as_a_difference(S) / 7,
        "the pairs alone": lambda S: -S.diag().mean(),
        "the table of ∂L/∂S": lambda S: formulas.clip_gradients(S)[0],
    },
    "clip.lowest_loss": {
        "zero": lambda s, N: 0.0,
        "negative": lambda s, N: -lowest_by_log1p(s, N),
        "in bits": lambda s, N: lowest_by_log1p(s, N) / math.log(2),
    },
    "clip.recall": {
        "the mean rank": lambda S, k: (S.diag()[:, None] <= S).sum(1).double().mean(),
        "both directions": lambda S, k: sum(formulas.recall_at(S, k)) / 2,
        "a miss for a hit": lambda S, k: 1 - recall_one_by_one(S, k),
    },
    "clip.zero_shot": {
        "the largest of the prompts": lambda u, p: torch.einsum("nd,cpd->ncp", u, p).amax(2).argmax(1),
        "the similarities": lambda u, p: F.normalize(u) @ F.normalize(F.normalize(p, dim=-1).sum(1)).T,
        "always the first": lambda u, p: torch.zeros(len(u)),
        "always the last": lambda u, p: torch.full((len(u),), p.shape[0] - 1),
    },
    "clip.shared_captions": {
        "pairs that share one are left out": lambda S, c: formulas.clip_loss(S, torch.eye(len(S)).double(), 0.0),
        "negative": lambda S, c: -shared_by_torch(S, c),
        "in bits": lambda S, c: shared_by_torch(S, c) / math.log(2),
    },
}
