"""Answers to the exercises of notebook 13b: right ones written in other ways, and wrong ones that no slip names."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F

from stablelab import formulas


def frames_by_torch(samples, kernels, strides):
    x = torch.zeros(1, 1, samples)
    for k, s in zip(kernels, strides, strict=True):
        x = F.conv1d(x, torch.ones(1, 1, k), stride=s)
    reach = 1
    for k, s in zip(reversed(kernels), reversed(strides), strict=True):
        reach = (reach - 1) * s + k  # from the frame back to the samples
    return x.shape[-1], reach


def frames_by_range(samples, kernels, strides):
    reach = 1 + sum((k - 1) * math.prod(strides[:i]) for i, k in enumerate(kernels))
    for k, s in zip(kernels, strides, strict=True):
        samples = len(range(0, samples - k + 1, s))
    return [samples, reach]


def frames_in_numpy(samples, kernels, strides):
    n = samples
    for k, s in zip(kernels, strides, strict=True):
        n = np.floor((n - k) / s + 1)
    before = np.cumprod([1, *strides[:-1]])
    return torch.tensor([float(n), float(1 + np.dot(np.array(kernels) - 1, before))])


def frames_recursive(samples, kernels, strides):
    if not kernels:
        return samples, 1
    n, reach = frames_recursive((samples - kernels[0]) // strides[0] + 1, kernels[1:], strides[1:])
    return n, (reach - 1) * strides[0] + kernels[0]


def begin_by_bisection(share, span):
    low, high = 0.0, 1.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if 1 - (1 - middle) ** span < share else (low, middle)
    return low


def contrastive_by_torch(c, q, distractors, kappa):
    candidates = torch.cat([q.unsqueeze(1), distractors], 1)
    scores = F.normalize(candidates, dim=-1) @ F.normalize(c, dim=-1).unsqueeze(-1) / kappa
    return F.cross_entropy(scores.squeeze(-1), torch.zeros(len(c), dtype=torch.int64))


def contrastive_in_numpy(c, q, distractors, kappa):
    losses = []
    for one, true, wrong in zip(c.numpy(), q.numpy(), distractors.numpy(), strict=True):
        all_of_them = np.vstack([true, wrong])
        cos = all_of_them @ one / np.linalg.norm(all_of_them, axis=1) / np.linalg.norm(one) / kappa
        losses.append(np.logaddexp.reduce(cos) - cos[0])
    return np.mean(losses)


def contrastive_by_log_softmax(c, q, distractors, kappa):
    total = 0.0
    for m in range(len(c)):
        cos = [F.cosine_similarity(c[m], each, dim=0) for each in (q[m], *distractors[m])]
        total -= torch.log_softmax(torch.stack(cos) / kappa, 0)[0].item()
    return total / len(c)


def in_use_in_numpy(p):
    total = 0.0
    for g in range(p.shape[1]):
        mean = p[:, g].numpy().mean(0)
        mean = mean[mean > 0]
        total += np.exp(-(mean * np.log(mean)).sum())
    return total


def distractors_in_lists(hidden, u):
    others = []
    begin = 0
    for n in hidden.sum(1).tolist():
        others += [[begin + j for j in range(n) if j != own] for own in range(n)]
        begin += n
    return [[mine[int(x * len(mine))] for x in row] for mine, row in zip(others, u.tolist(), strict=True)]


def distractors_at_once(hidden, u):
    counts = hidden.sum(1)
    begin = (counts.cumsum(0) - counts).repeat_interleave(counts)[:, None]
    own = torch.arange(len(begin))[:, None] - begin
    drawn = (u * (counts.repeat_interleave(counts)[:, None] - 1)).floor().long()
    return begin + torch.where(drawn >= own, drawn + 1, drawn)


def distractors_in_numpy(hidden, u):
    found, u = np.zeros(u.shape, dtype=int), u.numpy()
    of = np.nonzero(hidden.numpy())[0]
    for i in range(len(of)):
        mine = np.flatnonzero((of == of[i]) & (np.arange(len(of)) != i))
        found[i] = mine[(u[i] * len(mine)).astype(int)]
    return found


def distractors_as_floats(hidden, u):
    return distractors_at_once(hidden, u).double()


def ctc_by_torch(log_probs, labels, blank):
    sizes = torch.tensor([len(log_probs)]), torch.tensor([len(labels)])
    return F.ctc_loss(log_probs[:, None], torch.tensor([labels]), *sizes, blank, reduction="sum")


def ctc_in_numpy(log_probs, labels, blank):
    y = log_probs.numpy()
    path = np.full(2 * len(labels) + 1, blank)
    path[1::2] = labels
    alpha = np.full(len(path), -np.inf)
    alpha[:2] = y[0, path[:2]]
    for t in range(1, len(y)):
        new = np.logaddexp(alpha, np.concatenate([[-np.inf], alpha[:-1]]))
        for s in range(2, len(path)):
            if path[s] != blank and path[s] != path[s - 2]:
                new[s] = np.logaddexp(new[s], alpha[s - 2])
        alpha = new + y[t, path]
    return -np.logaddexp(alpha[-1], alpha[-2])


def ctc_backward(log_probs, labels, blank):
    """From the last frame to the first: the sound played backwards says the labels backwards."""
    return formulas.ctc_loss(log_probs.flip(0), labels[::-1], blank)


def fewest_by_groups(labels):
    return sum(2 * len(list(group)) - 1 for _, group in itertools.groupby(labels))


def fewest_by_trying(labels):
    for n in range(max(1, len(labels)), 2 * len(labels) + 1):
        row = torch.full((n, 9), -2.0, dtype=torch.float64)
        if math.isfinite(float(formulas.ctc_loss(row, labels))):
            return n
    return 0


def fewest_in_a_loop(labels):
    n, last = 0, None
    for label in labels:
        n += 2 if label == last else 1
        last = label
    return n


RIGHT = {
    "sound.frames": (frames_by_torch, frames_by_range, frames_in_numpy, frames_recursive),
    "sound.begin_probability": (
        begin_by_bisection,
        lambda share, span: -math.expm1(math.log1p(-share) / span),
        lambda share, span: 1 - np.power(1 - share, 1 / span),
        lambda share, span: torch.tensor(1 - (1 - share) ** (1 / span), dtype=torch.float64),
    ),
    "sound.contrastive": (
        contrastive_by_torch,
        contrastive_in_numpy,
        contrastive_by_log_softmax,
        formulas.contrastive_loss,
    ),
    "sound.codewords_in_use": (
        in_use_in_numpy,
        lambda p: torch.distributions.Categorical(probs=p.mean(0)).entropy().exp().sum(),
        lambda p: (1 - formulas.diversity_loss(p)) * p[0].numel(),
        lambda p: torch.special.entr(p.mean(0)).sum(-1).exp().sum(),
    ),
    "sound.distractors": (
        distractors_in_lists,
        distractors_at_once,
        distractors_in_numpy,
        distractors_as_floats,
    ),
    "sound.fewest_frames": (
        fewest_by_groups,
        fewest_by_trying,
        fewest_in_a_loop,
        lambda labels: len(labels) + int((np.diff(labels) == 0).sum()),
    ),
    "sound.ctc": (ctc_by_torch, ctc_in_numpy, ctc_backward, formulas.ctc_loss),
}

WRONG = {
    "sound.frames": {
        "in the other order": lambda n, k, s: frames_recursive(n, k, s)[::-1],
        "the frames alone": lambda n, k, s: frames_recursive(n, k, s)[0],
        "padded by half a kernel": lambda n, k, s: (frames_by_range(n + sum(k), k, s)[0], frames_by_range(n, k, s)[1]),
    },
    "sound.begin_probability": {
        "M too many": lambda share, span: 1 - (1 - share) ** (1 / (span + 1)),
        "share to the power of M": lambda share, span: share**span,
        "always the paper's": lambda share, span: 0.065,
    },
    "sound.contrastive": {
        "negative": lambda *arguments: -contrastive_by_torch(*arguments),
        "the distance": lambda c, q, d, k: ((c - q) ** 2).sum(-1).mean() / k,
        "one for each frame": lambda c, q, d, k: contrastive_by_torch(c, q, d, k).expand(len(c)).clone(),
    },
    "sound.codewords_in_use": {
        "the share": lambda p: in_use_in_numpy(p) / p[0].numel(),
        "base 2": lambda p: in_use_in_numpy(p) * math.log2(math.e),
        "those ever likeliest": lambda p: float((p.mean(0) > 1 / p.shape[-1]).sum()),
    },
    "sound.distractors": {
        "positions within the sound, one by one": lambda hidden, u: distractors_at_once(hidden, u)[:1],
        "rounded": lambda hidden, u: distractors_at_once(hidden, (u + 0.2).clamp(max=0.999)),
        "another number of them": lambda hidden, u: distractors_at_once(hidden, u[:, :-1]),
    },
    "sound.fewest_frames": {
        "one more": lambda labels: fewest_in_a_loop(labels) + 1,
        "the number of different ones": lambda labels: len(set(labels)),
        "runs": lambda labels: len(list(itertools.groupby(labels))),
    },
    "sound.ctc": {
        "the probability": lambda *arguments: math.exp(-float(ctc_by_torch(*arguments))),
        "the log-probability": lambda *arguments: -ctc_by_torch(*arguments),
        "a mean over the frames": lambda y, labels, blank: ctc_by_torch(y, labels, blank) / len(y),
    },
}
