"""Answers to the exercises of notebook 06: right ones written in other ways, and wrong ones that no slip names."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F


def attention_by_torch(q, k, v):
    return F.scaled_dot_product_attention(q, k, v)


def attention_in_single_precision(q, k, v):
    q, k, v = q.float(), k.float(), v.float()
    scores = torch.einsum("...td,...sd->...ts", q, k).div_(q.size(-1) ** 0.5)
    weights = scores.exp()
    return weights / weights.sum(-1, keepdim=True) @ v


def attention_scaling_the_queries(q, k, v):
    q /= math.sqrt(q.shape[-1])
    return (q @ k.mT).softmax(-1).matmul(v)


def heads_by_unflatten(x, heads):
    return x.unflatten(-1, (heads, -1)).movedim(2, 1)


def heads_by_chunks(x, heads):
    return torch.stack(x.chunk(heads, dim=-1), dim=1)


def variance_multiplied_out(d, mean_q, var_q, mean_k, var_k):
    return d * (var_q * var_k + var_q * mean_k**2 + var_k * mean_q**2)


def variance_added_up(d, mean_q, var_q, mean_k, var_k):
    total = torch.zeros(())
    for _ in range(d):
        total += var_q * var_k + var_q * mean_k**2 + var_k * mean_q**2
    return total


def gradient_by_autograd(z, g):
    z.requires_grad_()
    torch.softmax(z, 0).backward(g)
    return z.grad


def gradient_by_the_jacobian(z, g):
    a = z.exp() / z.exp().sum()
    return (torch.diag(a) - torch.outer(a, a)) @ g


def gradient_in_numpy(z, g):
    a = np.exp(z.numpy() - z.max().item())
    a /= a.sum()
    return a * (g.numpy() - a @ g.numpy())


def error_by_counting(prediction, patches, hidden):
    total = ((prediction - patches).square() * hidden.unsqueeze(-1)).sum()
    return total / (hidden.sum() * patches.shape[-1])


def error_in_a_loop(prediction, patches, hidden):
    errors = []
    for n, p in hidden.nonzero().tolist():
        errors += ((prediction[n, p] - patches[n, p]) ** 2).tolist()
    return sum(errors) / len(errors)


def error_by_torch(prediction, patches, hidden):
    return F.mse_loss(prediction[hidden].float(), patches[hidden].float())


def contrast_by_torch(z1, z2, temperature):
    s = F.normalize(z1) @ F.normalize(z2).T / temperature
    right = torch.arange(len(s))
    return 0.5 * F.cross_entropy(s, right) + 0.5 * F.cross_entropy(s.T, right)


def contrast_number_by_number(z1, z2, temperature):
    def side(a, b):
        total = 0.0
        for i in range(len(a)):
            s = [float(F.cosine_similarity(a[i], b[j], dim=0)) / temperature for j in range(len(b))]
            total -= math.log(math.exp(s[i]) / sum(map(math.exp, s)))
        return total / len(a)

    return (side(z1, z2) + side(z2, z1)) / 2


def masking_in_place(ids, may_hide, draw, fate, others, mask_id):
    labels = ids.clone()
    chosen = (draw < 0.15) * may_hide
    labels[~chosen] = -100
    swap = chosen & (fate >= 0.8) & (fate < 0.9)
    ids[swap] = others[swap]
    ids[chosen & (fate < 0.8)] = mask_id
    return ids, labels


def masking_in_a_loop(ids, may_hide, draw, fate, others, mask_id):
    inputs, labels = ids.tolist(), torch.full_like(ids, -100).tolist()
    for b, t in may_hide.nonzero().tolist():
        if draw[b, t] < 0.15:
            labels[b][t] = inputs[b][t]
            if fate[b, t] < 0.8:
                inputs[b][t] = mask_id
            elif fate[b, t] < 0.9:
                inputs[b][t] = int(others[b, t])
    return inputs, labels


def attention_by_numpy(q, k, v):
    q, k, v = q.numpy(), k.numpy(), v.numpy()
    s = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    a = np.exp(s - s.max(-1, keepdims=True))
    return a / a.sum(-1, keepdims=True) @ v


def heads_filled_in(x, heads):
    B, T, D = x.shape
    d = D // heads
    out = torch.zeros(B, heads, T, d)
    for h in range(heads):
        out[:, h] = x[:, :, h * d : (h + 1) * d]
    return out


def variance_as_a_fraction(d, mean_q, var_q, mean_k, var_k):
    a, u, b, w = (Fraction(each) for each in (mean_q, var_q, mean_k, var_k))
    return d * ((u + a * a) * (w + b * b) - (a * b) ** 2)


def gradient_by_a_jacobian_filled_in(z, g):
    a = torch.softmax(z, dim=0)
    J = torch.zeros(len(z), len(z))
    for i in range(len(z)):
        for j in range(len(z)):
            J[i, j] = a[i] * (float(i == j) - a[j])
    return J.T @ g


def gradient_in_single_precision(z, g):
    a = torch.softmax(z.float(), dim=0)
    return a * (g.float() - (a * g.float()).sum())


def contrast_in_numpy(z1, z2, temperature):
    u, w = (z.numpy() / np.linalg.norm(z.numpy(), axis=1, keepdims=True) for z in (z1, z2))
    s = u @ w.T / temperature
    rows, columns = np.log(np.exp(s).sum(1)), np.log(np.exp(s).sum(0))
    return ((rows + columns) / 2 - np.diag(s)).mean()


def contrast_filled_in(z1, z2, temperature):
    s = torch.zeros(len(z1), len(z2))
    for i, a in enumerate(z1):
        for j, b in enumerate(z2):
            s[i, j] = a @ b / a.norm() / b.norm() / temperature
    return -(s.log_softmax(0).diagonal().mean() + s.log_softmax(1).diagonal().mean()) / 2


def masking_by_arithmetic(ids, may_hide, draw, fate, others, mask_id):
    chosen = (may_hide & (draw < 0.15)).long()
    hide, swap = chosen * (fate < 0.8), chosen * (fate >= 0.8) * (fate < 0.9)
    return torch.stack([ids * (1 - hide - swap) + mask_id * hide + others * swap, ids * chosen - 100 * (1 - chosen)])


def masking_in_numpy(ids, may_hide, draw, fate, others, mask_id):
    ids, may_hide, draw, fate, others = (each.numpy() for each in (ids, may_hide, draw, fate, others))
    chosen = np.logical_and(may_hide, draw < 0.15)
    inputs = np.select([chosen & (fate < 0.8), chosen & (fate < 0.9)], [mask_id, others], ids)
    return np.array([inputs, np.where(chosen, ids, -100)])


def _masking(ids, may_hide, draw, fate, others, mask_id, drawn=torch.lt, hidden=torch.lt, swapped=torch.lt):
    """Hiding as the page says it, but for the comparisons."""
    chosen = may_hide & drawn(draw, torch.tensor(0.15))
    hide, swap = hidden(fate, torch.tensor(0.8)), swapped(fate, torch.tensor(0.9))
    inputs = torch.where(chosen & hide, mask_id, torch.where(chosen & swap & ~hide, others, ids))
    return inputs, torch.where(chosen, ids, -100)


RIGHT = {
    "attention.scaled_dot_product": (
        attention_by_torch,
        attention_in_single_precision,
        attention_scaling_the_queries,
        attention_by_numpy,
    ),
    "attention.split_heads": (
        heads_by_unflatten,
        heads_by_chunks,
        heads_filled_in,
        lambda x, heads: x.numpy().reshape(*x.shape[:2], heads, -1).swapaxes(1, 2),
    ),
    "attention.dot_product_variance": (
        variance_multiplied_out,
        variance_added_up,
        variance_as_a_fraction,
        lambda d, a, u, b, w: np.float32(d * (u * w + u * b**2 + w * a**2)),
    ),
    "attention.softmax_gradient": (
        gradient_by_autograd,
        gradient_by_the_jacobian,
        gradient_in_numpy,
        gradient_by_a_jacobian_filled_in,
        gradient_in_single_precision,
    ),
    "attention.masked_error": (
        error_by_counting,
        error_in_a_loop,
        error_by_torch,
        lambda prediction, patches, hidden: np.mean(np.square((prediction - patches).numpy()[hidden.numpy()])),
    ),
    "attention.info_nce": (
        contrast_by_torch,
        contrast_number_by_number,
        contrast_in_numpy,
        contrast_filled_in,
    ),
    "attention.mask_tokens": (masking_in_place, masking_in_a_loop, masking_by_arithmetic, masking_in_numpy),
}

WRONG = {
    "attention.scaled_dot_product": {
        "scaled after the softmax": lambda q, k, v: torch.softmax(q @ k.mT, -1) / math.sqrt(q.shape[-1]) @ v,
        "multiplied by √d": lambda q, k, v: torch.softmax(q @ k.mT * math.sqrt(q.shape[-1]), -1) @ v,
        "the weights, without v": lambda q, k, v: torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1),
        "with a causal mask": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        "the largest score takes all": lambda q, k, v: F.one_hot((q @ k.mT).argmax(-1), k.shape[-2]).double() @ v,
    },
    "attention.split_heads": {
        "the heads last": lambda x, heads: x.unflatten(-1, (heads, -1)).movedim(2, -1),
        "each head's piece turned round": lambda x, heads: x.unflatten(-1, (heads, -1)).transpose(1, 2).flip(-1),
        "the positions cut, not the vectors": lambda x, heads: x.reshape(x.shape[0], x.shape[1], heads, -1).reshape(
            x.shape[0], heads, x.shape[1], -1
        ),
        "a list of heads": lambda x, heads: list(x.chunk(heads, dim=-1)),
        "all heads the same": lambda x, heads: x[:, None, :, : x.shape[-1] // heads].expand(-1, heads, -1, -1),
        "the last head first": lambda x, heads: x.unflatten(-1, (heads, -1)).transpose(1, 2).flip(1),
    },
    "attention.dot_product_variance": {
        "the variances added": lambda d, a, u, b, w: d * (u + w),
        "one of the mixed terms missing": lambda d, a, u, b, w: d * (u * w + u * b**2),
        "the product of the means left in": lambda d, a, u, b, w: d * (u * w + u * b**2 + w * a**2 + a**2 * b**2),
        "means not squared": lambda d, a, u, b, w: d * (u * w + u * b + w * a),
        "d missing": lambda d, a, u, b, w: u * w + u * b**2 + w * a**2,
        "divided by d, as after scaling": lambda d, a, u, b, w: u * w / d,
    },
    "attention.softmax_gradient": {
        "g alone": lambda z, g: g,
        "the Jacobian's sum over rows, which is 0": lambda z, g: torch.zeros_like(z),
        "softmax of g": lambda z, g: torch.softmax(g, 0) * (z - (torch.softmax(g, 0) * z).sum()),
        "the sum of g is subtracted": lambda z, g: torch.softmax(z, 0) * (g - g.sum()),
        "without the outer a": lambda z, g: g - (torch.softmax(z, 0) * g).sum(),
    },
    "attention.masked_error": {
        "the absolute error": lambda p, x, h: (p - x).abs()[h].mean(),
        "the root of it": lambda p, x, h: ((p - x) ** 2)[h].mean().sqrt(),
        "summed": lambda p, x, h: ((p - x) ** 2)[h].sum(),
        "the mean over pictures of each one's mean": lambda p, x, h: torch.stack(
            [((p - x) ** 2)[i][h[i]].mean() for i in range(len(p))]
        ).mean(),
        "one number per patch": lambda p, x, h: ((p - x) ** 2)[h].mean(-1),
    },
    "attention.info_nce": {
        "the sum of both directions": lambda a, b, t: 2 * contrast_by_torch(a, b, t),
        "the sign": lambda a, b, t: -contrast_by_torch(a, b, t),
        "both views the same": lambda a, b, t: contrast_by_torch(a, a, t),
        "the mean entry of log-softmax": lambda a, b, t: -(F.normalize(a) @ F.normalize(b).T / t).log_softmax(1).mean(),
        "no temperature": lambda a, b, t: contrast_by_torch(a, b, 1.0) if t != 1 else contrast_by_torch(a, b, 0.5),
    },
    "attention.mask_tokens": {
        "≤ 0.15": lambda *a: _masking(*a, drawn=torch.le),
        "fate ≤ 0.8": lambda *a: _masking(*a, hidden=torch.le),
        "fate ≤ 0.9": lambda *a: _masking(*a, swapped=torch.le),
        "labels 0 where nothing was chosen": lambda *a: (_masking(*a)[0], _masking(*a)[1].clamp(min=0)),
        "a tenth of all, not of the chosen": lambda ids, m, d, f, o, mask: (
            torch.where(f < 0.8, mask, torch.where(f < 0.9, o, ids)),
            _masking(ids, m, d, f, o, mask)[1],
        ),
        "only the inputs": lambda *a: _masking(*a)[0],
    },
}
