"""Answers to the exercises of notebook 08: right ones written in other ways, and wrong ones that no slip names."""

from __future__ import annotations

import math

import numpy as np
import torch


def _pool_by_loops(hidden, mask):
    return torch.stack([h[m.bool()].mean(dim=0) for h, m in zip(hidden, mask, strict=True)])


def _pool_by_numpy(hidden, mask):
    real = mask.numpy()[:, :, None].astype(float)
    return (hidden.numpy() * real).sum(1) / real.sum(1)


def _pool_filled(hidden, mask):
    hidden[mask == 0] = 0
    return hidden.sum(1) / mask.sum(1, keepdim=True)


def _head_by_autograd(h, W, b, y):
    W = W.clone().requires_grad_()
    torch.nn.functional.cross_entropy(h @ W.T + b, y).backward()
    return W.grad


def _head_by_loops(h, W, b, y):
    total = torch.zeros(W.shape)
    for x, c in zip(h, y, strict=True):
        p = torch.softmax(W @ x + b, dim=0)
        p[c] -= 1
        total = total + torch.outer(p, x)
    return total / len(h)


def _head_by_numpy(h, W, b, y):
    z = h.numpy() @ W.numpy().T + b.numpy()
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    p[np.arange(len(p)), y.numpy()] -= 1
    return p.T @ h.numpy() / len(p)


def _head_in_place(h, W, b, y):
    p = (h @ W.T + b).softmax(1)
    p[torch.arange(len(y)), y] -= 1
    return torch.einsum("bc,bd->cd", p, h) / len(y)


def _share_by_torch(gradients, beta1, beta2):
    theta = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([theta], lr=1.0, betas=(beta1, beta2), eps=1e-300)
    for g in gradients:
        theta.grad = g.view(1).clone()
        optimizer.step()
    return theta.detach().abs()[0] / len(gradients)


def _share_by_floats(gradients, beta1, beta2):
    m = v = x = 0.0
    for t, g in enumerate(gradients.tolist(), 1):
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        x += m / (1 - beta1**t) / math.sqrt(v / (1 - beta2**t))
    return abs(x) / len(gradients)


def _share_by_weights(gradients, beta1, beta2):
    steps = []
    for t in range(1, len(gradients) + 1):
        age = torch.arange(t - 1, -1, -1).double()
        one, two = beta1**age, beta2**age
        g = gradients[:t]
        steps.append((one @ g / one.sum()) / (two @ g.square() / two.sum()).sqrt())
    return torch.stack(steps).mean().abs()


def _share_in_place(gradients, beta1, beta2):
    m, v, x = torch.zeros(()), torch.zeros(()), torch.zeros(())
    for k in range(len(gradients)):
        m, v = m * beta1 + (1 - beta1) * gradients[k], v * beta2 + (1 - beta2) * gradients[k] ** 2
        x = x + m / v.sqrt() * (1 - beta2 ** (k + 1)) ** 0.5 / (1 - beta1 ** (k + 1))
    return x.abs() / len(gradients)


def _exponents_by_numpy(rates, steps, moved):
    columns = np.stack([np.ones(len(rates)), np.log(rates), np.log(steps)], axis=1)
    return np.linalg.lstsq(columns, np.log(moved), rcond=None)[0][1:]


def _exponents_by_centring(rates, steps, moved):
    x = torch.stack([rates.log(), steps.log()], dim=1)
    x, y = x - x.mean(dim=0), moved.log() - moved.log().mean()
    return torch.linalg.solve(x.T @ x, x.T @ y)


def _exponents_by_pinv(rates, steps, moved):
    columns = torch.stack([rates.log(), steps.log(), torch.ones(len(rates)).double()], dim=1)
    return (torch.linalg.pinv(columns) @ moved.log())[:2]


def _exponents_as_tuple(rates, steps, moved):
    columns = torch.stack([torch.ones_like(moved), rates.log10(), steps.log10()], dim=1)
    _, a, b = torch.linalg.lstsq(columns, moved.log10()[:, None]).solution.flatten().tolist()
    return a, b


def _vanished_by_numpy(norms, low):
    return np.median(norms.numpy()[:, -5:, low], axis=1) / norms.numpy()[:, 0, low] < 0.1


def _vanished_by_loops(norms, low):
    return [sorted(run[-5:, low].tolist())[2] < run[0, low].item() / 10 for run in norms]


def _vanished_by_ratio(norms, low):
    ratio = norms[:, :, low] / norms[:, :1, low]
    return ratio[:, -5:].quantile(0.5, dim=1) < 0.1


def _vanished_by_counting(norms, low):
    return (10 * norms[:, -5:, low] < norms[:, :1, low]).sum(dim=1) >= 3


def _report_by_loop(validation, test):
    best, chosen = math.inf, None
    for loss, accuracy in zip(validation.tolist(), test.tolist(), strict=True):
        if loss < best:
            best, chosen = loss, accuracy
    return chosen


def _report_by_numpy(validation, test):
    return test.numpy()[np.nanargmin(validation.numpy())]


def _report_filled(validation, test):
    validation[validation != validation] = 1e9
    return test[validation.argmin()].item()


def _report_by_min(validation, test):
    pairs = [(loss, k) for k, loss in enumerate(validation.tolist()) if not math.isnan(loss)]
    return test[min(pairs)[1]]


RIGHT = {
    "bert.mean_pool": (
        _pool_by_loops,
        _pool_by_numpy,
        _pool_filled,
        lambda h, m: torch.einsum("btd,bt->bd", h, m.double()) / m.sum(1)[:, None],
        lambda hidden, mask: torch.bmm((mask / mask.sum(1, keepdim=True)).to(hidden)[:, None], hidden)[:, 0],
    ),
    "bert.head_gradient": (_head_by_autograd, _head_by_loops, _head_by_numpy, _head_in_place),
    "bert.share_of_reach": (_share_by_torch, _share_by_floats, _share_by_weights, _share_in_place),
    "bert.exponents": (_exponents_by_numpy, _exponents_by_centring, _exponents_by_pinv, _exponents_as_tuple),
    "bert.vanished": (_vanished_by_numpy, _vanished_by_loops, _vanished_by_ratio, _vanished_by_counting),
    "bert.report": (_report_by_loop, _report_by_numpy, _report_filled, _report_by_min),
}

WRONG = {
    "bert.mean_pool": {
        "the last token": lambda h, m: h[:, -1],
        "the last real token": lambda h, m: h[torch.arange(len(h)), m.sum(1) - 1],
        "without [CLS]": lambda h, m: (h * m.unsqueeze(-1))[:, 1:].sum(1) / m.sum(1, keepdim=True),
        "over the dimensions": lambda h, m: (h * m.unsqueeze(-1)).mean(-1),
        "the padding's mean": lambda h, m: (h * (1 - m).unsqueeze(-1)).sum(1) / m.sum(1, keepdim=True),
    },
    "bert.head_gradient": {
        "transposed": lambda h, W, b, y: _head_in_place(h, W, b, y).T,
        "with respect to h": lambda h, W, b, y: ((h @ W.T + b).softmax(1) - torch.eye(len(b))[y]) @ W,
        "the bias's": lambda h, W, b, y: ((h @ W.T + b).softmax(1) - torch.eye(len(b))[y]).mean(0),
        "half of it": lambda h, W, b, y: _head_in_place(h, W, b, y) / 2,
        "squared error": lambda h, W, b, y: 2 * _head_in_place(h, W, b, y),
    },
    "bert.share_of_reach": {
        "always 1": lambda g, b1, b2: 1.0,
        "the mean gradient": lambda g, b1, b2: g.mean().abs(),
        "the betas exchanged": lambda g, b1, b2: _share_by_floats(g, b2, b1),
        "the last step": lambda g, b1, b2: _share_by_floats(g, b1, b2) - _share_by_floats(g[:-1], b1, b2),
        "one step too few": lambda g, b1, b2: _share_by_floats(g[:-1], b1, b2),
        "as a random walk": lambda g, b1, b2: 1 / math.sqrt(len(g)),
    },
    "bert.exponents": {
        "a and b supposed": lambda rates, steps, moved: (1.0, 1.0),
        "a random walk supposed": lambda rates, steps, moved: (1.0, 0.5),
        "of the root": lambda r, s, moved: _exponents_by_centring(r, s, moved.sqrt()),
        "turned round": lambda r, s, moved: -_exponents_by_centring(r, s, moved),
        "from the first and the last": lambda r, s, moved: (
            (moved[-1] / moved[0]).log() / (r[-1] / r[0]).log(),
            (moved[-1] / moved[0]).log() / (s[-1] / s[0]).log(),
        ),
    },
    "bert.vanished": {
        "below half": lambda norms, low: _vanished_by_ratio(norms**0.3, low),
        "all of them": lambda norms, low: torch.ones(len(norms), dtype=torch.bool),
        "none of them": lambda norms, low: torch.zeros(len(norms), dtype=torch.bool),
        "the ratios": lambda norms, low: norms[:, -5:, low].median(1).values / norms[:, 0, low],
        "the first five": lambda norms, low: norms[:, :5, low].median(1).values < norms[:, 0, low] / 10,
    },
    "bert.report": {
        "the best validation loss": lambda validation, test: validation.nan_to_num(9.0).min(),
        "the worst on the test split": lambda validation, test: test.min(),
        "the first": lambda validation, test: test[0],
        "the median": lambda validation, test: test.median(),
        "its place": lambda validation, test: validation.nan_to_num(9.0).argmin(),
    },
}
