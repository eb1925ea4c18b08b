"""Answers to the exercises of notebook 05: right ones written in other ways, and wrong ones that no slip names."""

from __future__ import annotations

import math
from functools import reduce

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
    return np.degrees(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)))


def _angle_by_half_tangent(one, other):
    a, b = one / one.norm(), other / other.norm()
    return torch.rad2deg(2 * torch.atan2((a - b).norm(), (a + b).norm()))


def _angle_single(one, other):
    cosine = torch.nn.functional.cosine_similarity(one.float().flatten(), other.float().flatten(), dim=0)
    return torch.rad2deg(torch.acos(cosine.clamp(-1, 1)))


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


def _clip_both_in_one(weight, bias, max_norm):
    together = torch.cat([weight.flatten(), bias.flatten()])
    if together.norm() > max_norm:
        together = together / together.norm() * max_norm
    return together[: weight.numel()].reshape(weight.shape), together[weight.numel() :].reshape(bias.shape)


def _clip_by_numpy(weight, bias, max_norm):
    weight, bias = weight.numpy(), bias.numpy()
    norm = np.hypot(np.linalg.norm(weight), np.linalg.norm(bias))
    factor = 1.0 if norm <= max_norm else max_norm / norm
    return [factor * weight, factor * bias]


def _angle_of_unit_vectors(one, other):
    cosine = ((one / one.norm()) * (other / other.norm())).sum().clamp(-1, 1)
    return torch.rad2deg(torch.arccos(cosine)).item()


def _jacobian_filled_in(W, h):
    n = len(h)
    J = torch.zeros(n, n)
    for i in range(n):
        for j in range(n):
            J[i, j] = (1 - h[i] ** 2) * W[i, j]
    return J


def _growth_from_the_identity(jacobians):
    P = torch.eye(jacobians.shape[1])
    for t in range(len(jacobians)):
        P = torch.matmul(jacobians[t], P)
    return torch.linalg.eigvalsh(P.T @ P).max().sqrt()


def _growth_by_chain(jacobians):
    if len(jacobians) == 1:
        return torch.linalg.norm(jacobians[0], 2)
    return torch.linalg.norm(torch.linalg.multi_dot(tuple(jacobians.flip(0))), 2)


def _step_by_sgd(theta, learning_rate, max_norm):
    weight = torch.nn.Parameter(torch.tensor([theta]))
    (weight**4).sum().backward()
    torch.nn.utils.clip_grad_value_(weight, max_norm)
    torch.optim.SGD([weight], learning_rate).step()
    return weight.item()


def _degrees(cosine):
    return lambda g, h: torch.rad2deg(torch.acos(cosine(g, h)))


def _shrunk(factor):
    """Both gradients times a factor, made of their common norm and the threshold."""

    def answer(weight, bias, max_norm):
        norm = torch.sqrt(weight.square().sum() + bias.square().sum())
        return factor(norm, max_norm) * weight, factor(norm, max_norm) * bias

    return answer


RIGHT = {
    "clipping.global_norm": (
        _norm_by_numpy,
        _norm_by_loops,
        _norm_of_norms,
        lambda gradients: torch.nn.utils.get_total_norm(gradients),
    ),
    "clipping.by_global_norm": (_clip_by_torch, _clip_in_place, _clip_both_in_one, _clip_by_numpy),
    "clipping.angle": (_angle_by_half_tangent, _angle_single, _angle_of_unit_vectors, _angle_by_numpy),
    "clipping.jacobian": (_jacobian_by_diagonal, _jacobian_in_place, _jacobian_single, _jacobian_filled_in),
    "clipping.growth": (_growth_by_numpy, _growth_transposed, _growth_from_the_identity, _growth_by_chain),
    "clipping.quartic_step": (
        _step_by_autograd,
        _step_by_length,
        _step_by_sgd,
        lambda theta, lr, c: theta - lr * np.clip(4 * theta**3, -c, c),
    ),
    "clipping.percentile": (
        _percentile_by_numpy,
        _percentile_by_sorting,
        lambda norms, percent: torch.quantile(norms, torch.tensor([percent / 100]))[0],
        lambda norms, percent: norms.float().quantile(percent / 100).item(),
    ),
}

WRONG = {
    "clipping.global_norm": {
        "the mean of the norms": lambda gs: sum(g.norm() for g in gs) / len(gs),
        "the sum of all sizes": lambda gs: sum(g.abs().sum() for g in gs),
        "the largest entry": lambda gs: max(g.abs().max() for g in gs),
        "the norm of each": lambda gs: [g.norm() for g in gs],
        "the root of each tensor's sum, added": lambda gs: sum(g.square().sum().sqrt() for g in gs),
        "the norm of the sums": lambda gs: torch.stack([g.sum() for g in gs]).norm(),
    },
    "clipping.by_global_norm": {
        "0 / 0 where the gradient is zero": _shrunk(lambda n, c: c / n if n > c else n / n),
        "1 / 0 where the gradient is zero": _shrunk(lambda n, c: min(1.0, c / n.item())),
        "always as long as the threshold": _shrunk(lambda n, c: c / n),
        "divided by the norm alone": _shrunk(lambda n, c: 1 / n if n > c else 1.0),
        "times the threshold": _shrunk(lambda n, c: c if n > c else 1.0),
        "the norms are added": lambda W, b, c: tuple(
            g * min(1.0, c / float(W.norm() + b.norm() + 1e-12)) for g in (W, b)
        ),
        "the weights alone are clipped": lambda W, b, c: (W * min(1.0, c / max(float(W.norm()), 1e-12)), b),
        "the root is missing": _shrunk(lambda n, c: min(1.0, c / max(float(n) ** 2, 1e-12))),
    },
    "clipping.angle": {
        "no clamp, so nan where rounding exceeds 1": _degrees(lambda g, h: (g * h).sum() / (g.norm() * h.norm())),
        "no clamp, with vectors of length 1": _degrees(lambda g, h: ((g / g.norm()) * (h / h.norm())).sum()),
        "no clamp, by math": lambda g, h: math.degrees(math.acos(float((g * h).sum() / g.norm() / h.norm()))),
        "no clamp, by numpy": lambda g, h: np.degrees(
            np.arccos(g.numpy().ravel() @ h.numpy().ravel() / np.linalg.norm(g) / np.linalg.norm(h))
        ),
        "asin": lambda g, h: math.degrees(math.asin(max(-1.0, min(1.0, float((g * h).sum() / g.norm() / h.norm()))))),
        "the squared norms below": lambda g, h: math.degrees(
            math.acos(max(-1.0, min(1.0, float((g * h).sum() / (g.norm() * h.norm()) ** 2))))
        ),
        "the outer angle": lambda g, h: 360 - _angle_by_half_tangent(g, h),
        "a row at a time": lambda g, h: torch.rad2deg(
            torch.acos(torch.nn.functional.cosine_similarity(g, h, dim=-1).clamp(-1, 1))
        ).mean(),
    },
    "clipping.jacobian": {
        "no slope at all": lambda W, h: W,
        "the slope of the sigmoid": lambda W, h: (h * (1 - h))[:, None] * W,
        "the slopes alone": lambda W, h: torch.diag(1 - h**2),
        "applied to the state": lambda W, h: (1 - h**2) * (W @ h),
        "the root of the slope": lambda W, h: (1 - h**2).sqrt()[:, None] * W,
    },
    "clipping.growth": {
        "the product of the entries": lambda J: torch.linalg.matrix_norm(J.prod(dim=0), ord=2),
        "the sum of the matrices": lambda J: torch.linalg.matrix_norm(J.sum(dim=0), ord=2),
        "the smallest singular value": lambda J: torch.linalg.svdvals(reduce(lambda P, A: A @ P, J))[-1],
        "the largest sum of a row": lambda J: torch.linalg.matrix_norm(reduce(lambda P, A: A @ P, J), ord=torch.inf),
        "the last step alone": lambda J: torch.linalg.matrix_norm(J[-1], ord=2),
    },
    "clipping.quartic_step": {
        "only the sign of the gradient": lambda t, lr, c: t - lr * math.copysign(c, t),
        "the weight is clipped": lambda t, lr, c: max(-c, min(c, t - lr * 4 * t**3)),
        "η is missing": lambda t, lr, c: t - max(-c, min(c, 4 * t**3)),
        "the loss for the gradient": lambda t, lr, c: t - lr * max(-c, min(c, t**4)),
        "always as long as the threshold": lambda t, lr, c: t - lr * c,
    },
    "clipping.percentile": {
        "the next norm above": lambda n, p: n.sort().values[math.ceil(p / 100 * (len(n) - 1))],
        "the next norm below": lambda n, p: n.sort().values[int(p / 100 * (len(n) - 1))],
        "the percentage for the share": lambda n, p: torch.quantile(n / n.max(), p / 100),
        "the largest norm": lambda n, p: n.max(),
        "the median": lambda n, p: torch.quantile(n, 0.5),
        "mean and deviation": lambda n, p: n.mean() + 1.28 * n.std(),
    },
}
