"""Other right answers to the exercises on attention and pre-training."""

from __future__ import annotations

import math

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


def mask_by_comparing(length):
    t = torch.arange(length)
    return t[None, :] <= t[:, None]


def mask_in_lists(T):
    return [[s <= t for s in range(T)] for t in range(T)]


def mask_in_numpy(T):
    return np.tri(T, dtype=bool)


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


def loss_by_torch(logits, labels):
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)


def loss_by_torch_as_images(logits, labels):
    return F.cross_entropy(logits.float().transpose(1, 2), labels)


def loss_in_a_loop(logits, labels):
    costs = []
    for z, y in zip(logits.reshape(-1, logits.shape[-1]), labels.flatten().tolist(), strict=True):
        if y != -100:
            costs.append(float(z.logsumexp(0) - z[y]))
    return sum(costs) / len(costs)


VARIANTS = {
    "attention.scaled_dot_product": (
        attention_by_torch,
        attention_in_single_precision,
        attention_scaling_the_queries,
    ),
    "attention.causal_mask": (mask_by_comparing, mask_in_lists, mask_in_numpy),
    "attention.split_heads": (heads_by_unflatten, heads_by_chunks),
    "attention.dot_product_variance": (variance_multiplied_out, variance_added_up),
    "attention.softmax_gradient": (gradient_by_autograd, gradient_by_the_jacobian, gradient_in_numpy),
    "attention.masked_error": (error_by_counting, error_in_a_loop, error_by_torch),
    "attention.info_nce": (contrast_by_torch, contrast_number_by_number),
    "attention.mask_tokens": (masking_in_place, masking_in_a_loop),
    "attention.masked_lm_loss": (loss_by_torch, loss_by_torch_as_images, loss_in_a_loop),
}
