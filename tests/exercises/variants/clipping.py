"""Right answers to the exercises of notebook 05, written differently from the solutions."""

from __future__ import annotations

import math

import numpy as np
import torch


def _norm_by_numpy(gradients):
    return np.linalg.norm(np.concatenate([g.numpy().ravel() for g in gradients]))


def _norm_by_loops(tensors):
    total = 0.0
    for tensor in tensors:
        for entry in tensor.flatten().tolist():
            total += entry * entry
    return total**0.5


def _norm_of_norms(gradients):
    return torch.stack([g.norm() for g in gradients]).norm()


def _clip_by_torch(weight, bias, max_norm):
    parameters = [torch.nn.Parameter(torch.zeros_like(g)) for g in (weight, bias)]
    for parameter, g in zip(parameters, (weight, bias), strict=True):
        parameter.grad = g
    torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    return [parameter.grad for parameter in parameters]


def _clip_in_place(weight, bias, limit):
    norm = torch.cat([weight.flatten(), bias.flatten()]).norm()
    if norm > limit:
        weight *= limit / norm
        bias *= limit / norm
    return weight, bias


def _angle_by_numpy(one, other):
    a, b = one.numpy().ravel(), other.numpy().ravel()
    return np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))


def _angle_by_half_tangent(one, other):
    a, b = one / one.norm(), other / other.norm()
    return torch.rad2deg(2 * torch.atan2((a - b).norm(), (a + b).norm()))


def _angle_single(one, other):
    cosine = torch.nn.functional.cosine_similarity(one.float().flatten(), other.float().flatten(), dim=0)
    return torch.rad2deg(torch.acos(cosine))


def _jacobian_by_diagonal(W, h):
    return torch.diag(1 - h * h) @ W


def _jacobian_in_place(W, h):
    for i in range(len(h)):
        W[i] *= (1 - h[i]) * (1 + h[i])
    return W


def _jacobian_single(W, h):
    return torch.einsum("i,ij->ij", 1 - h.float().square(), W.float())


def _growth_by_numpy(jacobians):
    product = np.linalg.multi_dot([*jacobians.numpy()[::-1], np.eye(jacobians.shape[-1])])
    return np.linalg.norm(product, 2)


def _growth_transposed(jacobians):
    product = jacobians[0].T
    for J in jacobians[1:]:
        product = product @ J.T
    return torch.linalg.svdvals(product)[0].item()


def _step_by_autograd(theta, learning_rate, max_norm):
    weight = torch.nn.Parameter(torch.tensor(theta, dtype=torch.float64))
    (weight**4).backward()
    weight.grad.clamp_(-max_norm, max_norm)
    return weight.detach() - learning_rate * weight.grad


def _step_by_length(theta, eta, c):
    g = 4 * theta * theta * theta
    if abs(g) <= c:
        return theta - eta * g
    return theta - math.copysign(eta * c, theta)


def _percentile_by_numpy(norms, percent):
    return np.percentile(norms.numpy(), percent)


def _percentile_by_sorting(norms, percent):
    ordered = sorted(norms.tolist())
    place = percent / 100 * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


VARIANTS = {
    "clipping.global_norm": (_norm_by_numpy, _norm_by_loops, _norm_of_norms),
    "clipping.by_global_norm": (_clip_by_torch, _clip_in_place),
    "clipping.angle": (_angle_by_numpy, _angle_by_half_tangent, _angle_single),
    "clipping.jacobian": (_jacobian_by_diagonal, _jacobian_in_place, _jacobian_single),
    "clipping.growth": (_growth_by_numpy, _growth_transposed),
    "clipping.quartic_step": (_step_by_autograd, _step_by_length),
    "clipping.percentile": (_percentile_by_numpy, _percentile_by_sorting),
}
