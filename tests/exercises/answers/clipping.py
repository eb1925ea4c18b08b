"""Answers to the exercises of notebook 05: right ones written in other ways, and wrong ones that no slip names."""

from __future__ import annotations

import math

import numpy as np
import torch


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


def _step_by_sgd(theta, learning_rate, max_norm):
    weight = torch.nn.Parameter(torch.tensor([theta]))
    (weight**4).sum().backward()
    torch.nn.utils.clip_grad_value_(weight, max_norm)
    torch.optim.SGD([weight], learning_rate).step()
    return weight.item()


def _degrees(cosine):
    return lambda g, h: torch.rad2deg(torch.acos(cosine(g, h)))


def _clip_by_torch(gradients, max_norm):
    parameters = [torch.nn.Parameter(torch.zeros_like(g)) for g in gradients]
    for parameter, g in zip(parameters, gradients, strict=True):
        parameter.grad = g
    torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    return [parameter.grad for parameter in parameters]


def _clip_in_place(gradients, limit):
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    if norm > limit:
        for g in gradients:
            g *= limit / norm
    return gradients


def _clip_all_in_one(gradients, max_norm):
    together = torch.cat([g.flatten() for g in gradients])
    if together.norm() > max_norm:
        together = together / together.norm() * max_norm
    parts = together.split([g.numel() for g in gradients])
    return tuple(part.reshape(g.shape) for part, g in zip(parts, gradients, strict=True))


def _clip_by_numpy(gradients, max_norm):
    arrays = [g.numpy() for g in gradients]
    norm = np.sqrt(sum((a**2).sum() for a in arrays))
    factor = 1.0 if norm <= max_norm else max_norm / norm
    return [factor * a for a in arrays]


def _shrunk(factor):
    """All gradients times a factor, made of their common norm and the threshold."""

    def answer(gradients, max_norm):
        norm = torch.sqrt(sum(g.square().sum() for g in gradients))
        return [factor(norm, max_norm) * g for g in gradients]

    return answer


def _exponent_by_numpy(jacobians):
    J = jacobians.numpy()
    v, logs = np.full(J.shape[1], J.shape[1] ** -0.5), []
    for step in J:
        v = step @ v
        logs.append(np.log(np.linalg.norm(v)))
        v /= np.linalg.norm(v)
    return np.mean(logs)


def _exponent_in_columns(jacobians):
    v = torch.ones(jacobians.shape[1], 1)
    v /= v.norm()
    growth = []
    for t in range(jacobians.shape[0]):
        w = torch.matmul(jacobians[t], v)
        growth.append(torch.linalg.norm(w))
        v = w / growth[-1]
    return torch.stack(growth).log().mean()


def _exponent_by_halves(jacobians):
    v, total = torch.ones(jacobians.shape[1]) * jacobians.shape[1] ** -0.5, 0.0
    for J in jacobians:
        w = J @ v
        total += 0.5 * (w @ w).log()
        v = torch.nn.functional.normalize(w, dim=0)
    return (total / jacobians.shape[0]).item()


def _exponent_by_carried_scale(jacobians):
    v, scale = torch.ones(jacobians.shape[-1]), 0.0
    for k, J in enumerate(jacobians):
        v = J @ v
        if k % 20 == 19:
            scale += torch.log(v.abs().max())
            v = v / v.abs().max()
    return (scale + v.norm().log() - 0.5 * math.log(jacobians.shape[-1])) / len(jacobians)


def _grown(factor):
    """The mean logarithm of a measure of each step's growth."""

    def answer(jacobians):
        v = torch.ones(jacobians.shape[-1]) / math.sqrt(jacobians.shape[-1])
        total = 0.0
        for J in jacobians:
            w = J @ v
            total += factor(v, w)
            v = w / w.norm()
        return total / len(jacobians)

    return answer


def _outlier_by_running(size, t, beta1, beta2):
    m = v = 0.0
    for k in range(1, t + 1):
        g = size if k == t else 1.0
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
    return (m / (1 - beta1**t)) / (v / (1 - beta2**t)) ** 0.5


def _outlier_by_shares(K, t, b1, b2):
    first, second = (1 - b1) / (1 - b1**t), (1 - b2) / (1 - b2**t)
    return (1 + first * (K - 1)) / math.sqrt(1 + second * (K * K - 1))


def _outlier_by_torch(size, t, beta1, beta2):
    w = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.Adam([w], lr=1.0, betas=(beta1, beta2), eps=0.0)
    for k in range(1, t + 1):
        before = w.item()
        w.grad = torch.full_like(w, size if k == t else 1.0)
        optimizer.step()
    return before - w.item()


def _outlier_by_sums(size, t, beta1, beta2):
    ages = np.arange(t)
    g = np.ones(t)
    g[0] = size  # age 0: the newest
    m, v = (beta1**ages * g).sum() / (beta1**ages).sum(), (beta2**ages * g * g).sum() / (beta2**ages).sum()
    return m / np.sqrt(v)


def _train_by_formula(X, y, w, learning_rate, max_norm, steps):
    for _ in range(steps):
        g = 2 * X.T @ (X @ w - y) / len(y)
        w = w - learning_rate * g * min(1.0, max_norm / float(g.norm()))
    return w


def _train_by_numpy(X, y, w, lr, c, steps):
    X, y, w = X.numpy(), y.numpy(), w.numpy().copy()
    for _ in range(steps):
        g = 2 * X.T @ (X @ w - y) / len(y)
        norm = np.linalg.norm(g)
        w -= lr * (g * c / norm if norm > c else g)
    return w


def _train_by_autograd(X, y, w, learning_rate, max_norm, steps):
    for _ in range(steps):
        v = w.detach().requires_grad_()
        (g,) = torch.autograd.grad(torch.nn.functional.mse_loss(X @ v, y), v)
        w = w - learning_rate * g * torch.clamp(max_norm / g.norm(), max=1)
    return w


def _train_zeroing_at_the_end(X, y, w, learning_rate, max_norm, steps):
    w = torch.nn.Parameter(w)
    optimizer = torch.optim.SGD([w], lr=learning_rate)
    for _ in range(steps):
        ((X @ w - y) ** 2).mean().backward()
        torch.nn.utils.clip_grad_norm_(w, max_norm)
        optimizer.step()
        optimizer.zero_grad()
    return w


def _trained(step):
    """SGD whose step is made of gradient, rate and threshold."""

    def answer(X, y, w, learning_rate, max_norm, steps):
        for _ in range(steps):
            w = w - step(2 / len(X) * X.T @ (X @ w - y), learning_rate, max_norm)
        return w

    return answer


def _accumulated_at_once(X, y, w, learning_rate, max_norm, micro):
    g = 2 / len(X) * X.T @ (X @ w - y)
    return w - learning_rate * g * min(1.0, max_norm / float(g.norm()))


def _accumulated_sums(X, y, w, learning_rate, max_norm, micro):
    w = w.clone().requires_grad_()
    for start in range(0, len(X), micro):
        ((X[start : start + micro] @ w - y[start : start + micro]) ** 2).sum().backward()
    w.grad /= len(X)
    torch.nn.utils.clip_grad_norm_([w], max_norm)
    return w.detach() - learning_rate * w.grad


def _accumulated_by_hand(X, y, w, learning_rate, max_norm, micro):
    total = torch.zeros_like(w)
    for part, target in zip(torch.split(X, micro), torch.split(y, micro), strict=True):
        total += len(part) / len(X) * (2 / len(part)) * part.T @ (part @ w - target)
    if total.norm() > max_norm:
        total *= max_norm / total.norm()
    return w - learning_rate * total


def _accumulated_with_sgd(X, y, w, learning_rate, max_norm, micro):
    weights = torch.nn.Parameter(w.clone())
    optimizer = torch.optim.SGD([weights], lr=learning_rate)
    for part, target in zip(X.split(micro), y.split(micro), strict=True):
        (torch.nn.functional.mse_loss(part @ weights, target, reduction="sum") / len(X)).backward()
    torch.nn.utils.clip_grad_norm_(weights, max_norm)
    optimizer.step()
    return weights


def _accumulated(finish, weight=lambda n, N: n / N):
    """One step with the gradient that the micro-batches add up to."""

    def answer(X, y, w, learning_rate, max_norm, micro):
        total = torch.zeros_like(w)
        for part, target in zip(X.split(micro), y.split(micro), strict=True):
            total += weight(len(part), len(X)) * 2 / len(part) * part.T @ (part @ w - target)
        return finish(w, total, learning_rate, max_norm)

    return answer


def _autoclip_by_numpy(norms, percent):
    n = norms.numpy()
    return np.array([min(n[t], np.percentile(n[: t + 1], percent)) for t in range(len(n))])


def _autoclip_by_sorting(norms, percent):
    history, out = [], []
    for norm in norms.tolist():
        history = sorted([*history, norm])
        place = percent / 100 * (len(history) - 1)
        low = int(place)
        high = min(low + 1, len(history) - 1)
        out.append(min(norm, history[low] + (place - low) * (history[high] - history[low])))
    return out


def _autoclip_in_place(norms, percent):
    thresholds = [torch.quantile(norms[: t + 1], percent / 100).item() for t in range(len(norms))]
    for t, threshold in enumerate(thresholds):
        norms[t] = min(norms[t].item(), threshold)
    return norms


def _autoclip_by_factors(norms, percent):
    factors = [min(1.0, (norms[: t + 1].quantile(percent / 100) / norms[t]).item()) for t in range(len(norms))]
    return norms * torch.tensor(factors, dtype=norms.dtype)


def _choose_by_numpy(norms, skip, share, measured_at, train_at):
    n = np.sort(norms.numpy()[skip:])
    n = n[np.isfinite(n)]
    return n[-1 - int(share * len(n))] * measured_at / train_at


def _choose_by_trying(norms, skip, share, measured_at, train_at):
    settled = [n for n in norms[skip:].tolist() if math.isfinite(n)]
    good = [c for c in settled if sum(n > c for n in settled) <= share * len(settled)]
    return min(good) * (measured_at / train_at)


def _choose_by_topk(norms, skip, share, old, new):
    n = norms[skip:]
    n = n[torch.isfinite(n)]
    return n.topk(int(share * n.numel()) + 1).values[-1].item() * old / new


def _choose_by_the_step(norms, skip, share, measured_at, train_at):
    steps = [measured_at * n for n in sorted(norms.tolist()[skip:]) if n < math.inf]
    return steps[len(steps) - math.floor(share * len(steps)) - 1] / train_at


def _warm_by_numpy(X, y, w, lr, c, warmup, steps):
    X, y, w = X.numpy(), y.numpy(), w.numpy().copy()
    for k in range(steps):
        g = 2 * X.T @ (X @ w - y) / len(y)
        w -= lr * min(1.0, (k + 1) / warmup) * g * min(1.0, c / np.linalg.norm(g))
    return w


def _warm_with_sgd(X, y, w, learning_rate, max_norm, warmup, steps):
    weights = torch.nn.Parameter(w.clone())
    optimizer = torch.optim.SGD([weights], lr=learning_rate)
    for k in range(1, steps + 1):
        optimizer.param_groups[0]["lr"] = learning_rate * min(k / warmup, 1)
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(X @ weights, y).backward()
        torch.nn.utils.clip_grad_norm_([weights], max_norm)
        optimizer.step()
    return weights.detach()


def _warm_with_lambda(X, y, w, learning_rate, max_norm, warmup, steps):
    weights = w.clone().requires_grad_()
    optimizer = torch.optim.SGD([weights], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: min(1.0, (k + 1) / warmup))
    for _ in range(steps):
        optimizer.zero_grad()
        (X @ weights - y).pow(2).mean().backward()
        torch.nn.utils.clip_grad_norm_([weights], max_norm)
        optimizer.step()
        schedule.step()
    return weights


def _warm_in_place(X, y, w, rate, c, warmup, steps):
    for k in range(steps):
        g = 2 / len(X) * X.T @ (X @ w - y)
        if g.norm() > c:
            g *= c / g.norm()
        w -= (rate if k + 1 >= warmup else rate * (k + 1) / warmup) * g
    return w


def _warmed(step):
    """Training whose step is made of gradient, rate, threshold, warm-up and k."""

    def answer(X, y, w, rate, c, warmup, steps):
        for k in range(steps):
            g = 2 / len(X) * X.T @ (X @ w - y)
            w = w - step(g, rate, c, warmup, k)
        return w

    return answer


def _short(g, c):
    return g * min(1.0, c / float(g.norm()))


RIGHT = {
    "clipping.by_global_norm": (_clip_by_torch, _clip_in_place, _clip_all_in_one, _clip_by_numpy),
    "clipping.angle": (_angle_by_half_tangent, _angle_single, _angle_of_unit_vectors, _angle_by_numpy),
    "clipping.jacobian": (_jacobian_by_diagonal, _jacobian_in_place, _jacobian_single, _jacobian_filled_in),
    "clipping.exponent": (
        _exponent_by_numpy,
        _exponent_in_columns,
        _exponent_by_halves,
        _exponent_by_carried_scale,
    ),
    "clipping.quartic_step": (
        _step_by_autograd,
        _step_by_length,
        _step_by_sgd,
        lambda theta, lr, c: theta - lr * np.clip(4 * theta**3, -c, c),
    ),
    "clipping.adam_outlier": (_outlier_by_running, _outlier_by_shares, _outlier_by_torch, _outlier_by_sums),
    "clipping.mend_order": (_train_by_formula, _train_by_numpy, _train_by_autograd, _train_zeroing_at_the_end),
    "clipping.mend_accumulation": (
        _accumulated_at_once,
        _accumulated_sums,
        _accumulated_by_hand,
        _accumulated_with_sgd,
    ),
    "clipping.autoclip": (_autoclip_by_numpy, _autoclip_by_sorting, _autoclip_in_place, _autoclip_by_factors),
    "clipping.choose": (_choose_by_numpy, _choose_by_trying, _choose_by_topk, _choose_by_the_step),
    "clipping.training_loop": (_warm_by_numpy, _warm_with_sgd, _warm_with_lambda, _warm_in_place),
}

WRONG = {
    "clipping.by_global_norm": {
        "0 / 0 where the gradient is zero": _shrunk(lambda n, c: c / n if n > c else n / n),
        "1 / 0 where the gradient is zero": _shrunk(lambda n, c: min(1.0, c / n.item())),
        "always as long as the threshold": _shrunk(lambda n, c: c / n),
        "divided by the norm alone": _shrunk(lambda n, c: 1 / n if n > c else 1.0),
        "times the threshold": _shrunk(lambda n, c: c if n > c else 1.0),
        "the norms are added": lambda gs, c: [g * min(1.0, c / float(sum(h.norm() for h in gs) + 1e-12)) for g in gs],
        "the first alone is clipped": lambda gs, c: [gs[0] * min(1.0, c / max(float(gs[0].norm()), 1e-12)), *gs[1:]],
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
    "clipping.exponent": {
        "the logarithm to base 10": _grown(lambda v, w: math.log10(w.norm())),
        "the growth, no logarithm": _grown(lambda v, w: w.norm()),
        "the largest entry": _grown(lambda v, w: w.abs().max().log()),
        "the sum of the entries": _grown(lambda v, w: w.abs().sum().log()),
        "the last step alone": lambda J: (J[-1] @ torch.ones(J.shape[-1])).norm().log(),
        "twice the logarithm": _grown(lambda v, w: w.square().sum().log()),
    },
    "clipping.quartic_step": {
        "only the sign of the gradient": lambda t, lr, c: t - lr * math.copysign(c, t),
        "the weight is clipped": lambda t, lr, c: max(-c, min(c, t - lr * 4 * t**3)),
        "η is missing": lambda t, lr, c: t - max(-c, min(c, 4 * t**3)),
        "the loss for the gradient": lambda t, lr, c: t - lr * max(-c, min(c, t**4)),
        "always as long as the threshold": lambda t, lr, c: t - lr * c,
    },
    "clipping.adam_outlier": {
        "only m is corrected": lambda k, t, a, b: (
            (1 + (1 - a) / (1 - a**t) * (k - 1)) / math.sqrt(b * (1 - b ** (t - 1)) + (1 - b) * k * k)
        ),
        "only v is corrected": lambda k, t, a, b: (
            (a * (1 - a ** (t - 1)) + (1 - a) * k) / math.sqrt(1 + (1 - b) / (1 - b**t) * (k * k - 1))
        ),
        "corrected for t - 1": lambda k, t, a, b: _outlier_by_shares(k, max(t - 1, 1), a, b),
        "the outlier comes one step later": lambda k, t, a, b: _outlier_by_shares(k, t + 1, a, b),
        "averages that are full": lambda k, t, a, b: (a + (1 - a) * k) / math.sqrt(b + (1 - b) * k * k),
        "the gradient itself": lambda k, t, a, b: k,
    },
    "clipping.mend_order": {
        "always as long as the threshold": _trained(lambda g, rate, c: rate * c * g / g.norm()),
        "clipped twice as hard": _trained(lambda g, rate, c: rate * _short(g, c / 2)),
        "the weights are clipped": lambda X, y, w, rate, c, steps: _short(
            _trained(lambda g, rate, c: rate * g)(X, y, w, rate, c, steps), c
        ),
        "uphill": _trained(lambda g, rate, c: -rate * _short(g, c)),
        "one step too few": lambda X, y, w, rate, c, steps: _train_by_formula(X, y, w, rate, c, steps - 1),
    },
    "clipping.mend_accumulation": {
        "not clipped": _accumulated(lambda w, g, rate, c: w - rate * g),
        "always as long as the threshold": _accumulated(lambda w, g, rate, c: w - rate * c * g / g.norm()),
        "the last micro-batch alone": lambda X, y, w, rate, c, micro: _accumulated_at_once(
            X.split(micro)[-1], y.split(micro)[-1], w, rate, c, micro
        ),
        "a step for each micro-batch": lambda X, y, w, rate, c, micro: [
            w := _accumulated_at_once(p, t, w, rate, c, micro)
            for p, t in zip(X.split(micro), y.split(micro), strict=True)
        ][-1],
        "divided by the rows of a micro-batch": _accumulated(
            lambda w, g, rate, c: w - rate * _short(g, c), weight=lambda n, N: 1 / n
        ),
    },
    "clipping.autoclip": {
        "the mean": lambda n, p: torch.minimum(n, n.cumsum(0) / torch.arange(1, len(n) + 1)),
        "the largest so far": lambda n, p: n.cummax(0).values,
        "the norm before": lambda n, p: torch.minimum(n, torch.cat([n[:1], n[:-1]])),
        "the next norm below": lambda n, p: torch.stack(
            [torch.minimum(n[t], n[: t + 1].quantile(p / 100, interpolation="lower")) for t in range(len(n))]
        ),
        "the larger of the two": lambda n, p: torch.stack(
            [torch.maximum(n[t], n[: t + 1].quantile(p / 100)) for t in range(len(n))]
        ),
    },
    "clipping.choose": {
        "interpolated": lambda n, k, s, a, b: n[k:][n[k:].isfinite()].quantile(1 - s) * a / b,
        "one more above it": lambda n, k, s, a, b: (
            (f := n[k:][n[k:].isfinite()].sort().values)[len(f) - 2 - int(s * len(f))] * a / b
        ),
        "the median": lambda n, k, s, a, b: n[k:][n[k:].isfinite()].median() * a / b,
        "the mean": lambda n, k, s, a, b: n[k:][n[k:].isfinite()].mean() * a / b,
        "the last steps are left out": lambda n, k, s, a, b: _choose_by_numpy(n[:-k], 0, s, a, b),
    },
    "clipping.training_loop": {
        "the mean over halves": _warmed(lambda g, r, c, n, k: r * min(1, (k + 1) / n) * _short(g / 2, c)),
        "the step is clipped": _warmed(lambda g, r, c, n, k: _short(r * min(1, (k + 1) / n) * g, c)),
        "warm-up of one step more": _warmed(lambda g, r, c, n, k: r * min(1, (k + 1) / (n + 1)) * _short(g, c)),
        "cut by value": _warmed(lambda g, r, c, n, k: r * min(1, (k + 1) / n) * g.clamp(-c, c)),
        "uphill": _warmed(lambda g, r, c, n, k: -r * min(1, (k + 1) / n) * _short(g, c)),
    },
}
