"""Answers to the exercises of notebook 11: right ones written in other ways, and wrong ones that no slip names."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import torch
from torch import nn
from torch.nn.functional import batch_norm, cross_entropy, nll_loss, one_hot

# -- numbers -----------------------------------------------------------------------------------------------------------


def _first_by_counter(targets, classes):
    counts = Counter(targets.tolist())
    return math.log(classes), -sum(n / len(targets) * math.log(n / len(targets)) for n in counts.values())


def _first_by_numpy(targets, classes):
    _, counts = np.unique(targets.numpy(), return_counts=True)
    p = counts / counts.sum()
    return np.log(classes), -(p * np.log(p)).sum()


def _first_by_xlogy(targets, classes):
    p = one_hot(targets, classes).double().mean(0)
    return torch.tensor(classes, dtype=torch.float64).log(), -torch.special.xlogy(p, p).sum()


def _first_by_loss(targets, classes):
    p = torch.bincount(targets, minlength=classes) / len(targets)
    logits = p.double().clamp(min=1e-300).log().expand(len(targets), classes)
    return math.log(classes), cross_entropy(logits, targets)


def _floor_by_loss(classes, accuracy):
    sure = torch.zeros(1, classes, dtype=torch.float64)
    sure[0, 0] = 1
    right, wrong = (cross_entropy(sure, torch.tensor([k])) for k in (0, 1))
    return accuracy * right + (1 - accuracy) * wrong


def _z_by_numpy(losses, k):
    before, last = np.split(losses.numpy(), [len(losses) - k])
    middle = torch.tensor(before).median().item()  # torch's: the lower of the two
    mad = torch.tensor(np.abs(before - middle)).median().item()
    return math.sqrt(k) * (last.mean() - middle) / 1.4826 / mad


def _z_by_sorting(losses, k):
    before = losses[: len(losses) - k].sort().values
    center = before[(len(before) - 1) // 2]
    deviations = (before - center).abs().sort().values
    return (losses[len(losses) - k :].sum() / k - center) * k**0.5 / (1.4826 * deviations[(len(before) - 1) // 2])


def _z_single(losses, k):
    x = losses.float()
    m = torch.median(x[:-k])
    return (torch.mean(x[-k:]) - m) / (1.4826 * torch.median(torch.abs(x[:-k] - m))) * k**0.5


def _z_of_sum(losses, k):
    before = losses[:-k]
    m = before.quantile(0.5, interpolation="lower")
    spread = 1.4826 * (before - m).abs().quantile(0.5, interpolation="lower")
    return (losses[-k:] - m).sum() / (spread * math.sqrt(k))


def _sum_by_vectors(k, cosine):
    gram = torch.full((k, k), float(cosine), dtype=torch.float64).fill_diagonal_(1)
    return gram.sum().sqrt()


def _look_by_trying(share, certainty):
    n = 1
    while 1 - (1 - share) ** n < certainty:
        n += 1
    return n


def _look_by_product(share, certainty):
    clean, n = 1.0, 0
    while clean > 1 - certainty:
        clean, n = clean * (1 - share), n + 1
    return n


def _padding_by_loop(lengths, batch_size, by_length):
    n = sorted(lengths.tolist()) if by_length else lengths.tolist()
    padding = computed = 0
    for k in range(0, len(n), batch_size):
        batch = n[k : k + batch_size]
        computed += max(batch) * len(batch)
        padding += sum(max(batch) - each for each in batch)
    return padding / computed


def _padding_by_numpy(lengths, batch_size, by_length):
    n = np.sort(lengths.numpy()) if by_length else lengths.numpy()
    wide = np.concatenate([np.full(len(b), b.max()) for b in np.split(n, range(batch_size, len(n), batch_size))])
    return (wide - n).sum() / wide.sum()


def _padding_by_pad(lengths, batch_size, by_length):
    if by_length:
        lengths, _ = torch.sort(lengths)
    masks = [
        nn.utils.rnn.pad_sequence([torch.ones(int(n)) for n in part], batch_first=True)
        for part in lengths.split(batch_size)
    ]
    return 1 - sum(m.sum() for m in masks) / sum(m.numel() for m in masks)


def _padding_descending(lengths, batch_size, by_length):
    order = lengths.argsort() if by_length else torch.arange(len(lengths))
    batches = [lengths[i] for i in order.split(batch_size)]
    areas = torch.tensor([b.max() * len(b) for b in batches], dtype=torch.float64)
    return (areas.sum() - lengths.sum()) / areas.sum()


def _triage_by_table(losses, classes, batch_size):
    guess, floor = math.log(classes), math.log(1 + (classes - 1) / math.e)
    values = losses.tolist()
    if any(not math.isfinite(v) for v in values):
        return "not finite"
    if values[0] > batch_size * guess / 2:
        return "summed"
    last = values[len(values) - len(values) // 4 :]
    end = sum(last) / len(last)
    if min(values) >= floor and end - floor < 0.1 * (guess - floor):
        return "softmax twice"
    return "stuck" if end > 0.9 * guess else "nothing"


def _triage_by_numpy(losses, classes, batch_size):
    x = losses.numpy()
    guess, floor = np.log(classes), np.log1p((classes - 1) / np.e)
    if np.isnan(x).any() or np.isinf(x).any():
        return "not finite"
    if x[0] > batch_size * guess / 2:
        return "summed"
    end = x[-(len(x) // 4) :].mean()
    if end < floor + 0.1 * (guess - floor) and np.all(x >= floor):
        return "softmax twice"
    return "stuck" if end > 0.9 * guess else "nothing"


def _triage_from_the_end(losses, classes, batch_size):
    guess, floor = math.log(classes), math.log(1 + (classes - 1) / math.e)
    end = losses[-(len(losses) // 4) :].mean()
    verdict = "nothing"
    if end > 0.9 * guess:
        verdict = "stuck"
    if not (losses < floor).any() and end < floor + (guess - floor) / 10:
        verdict = "softmax twice"
    if losses[0] > 0.5 * batch_size * guess:
        verdict = "summed"
    if not torch.isfinite(losses).all():
        verdict = "not finite"
    return verdict


def _triage_by_dict(losses, classes, batch_size):
    guess, floor = math.log(classes), math.log(1 + (classes - 1) / math.e)
    end = float(losses[-(len(losses) // 4) :].mean())
    questions = {
        "not finite": not math.isfinite(float(losses.sum())),
        "summed": float(losses[0]) > 0.5 * batch_size * guess,
        "softmax twice": float(losses.min()) >= floor and end < floor + 0.1 * (guess - floor),
        "stuck": end > 0.9 * guess,
        "nothing": True,
    }
    return next(name for name, said in questions.items() if said)


# -- loops -------------------------------------------------------------------------------------------------------------


def _by_hand(X, y, W, learning_rate, order):
    losses = []
    for rows in order:
        x, t = X[rows], one_hot(y[rows], W.shape[1]).to(W.dtype)
        log_p = (x @ W).log_softmax(1)
        losses.append(-(t * log_p).sum(1).mean())
        W = W - learning_rate * x.T @ (log_p.exp() - t) / len(rows)
    return W, losses


def _by_autograd(X, y, W, learning_rate, order):
    losses = torch.zeros(len(order))
    for k, rows in enumerate(order):
        w = W.detach().requires_grad_()
        loss = nll_loss((X[rows] @ w).log_softmax(1), y[rows])
        losses[k] = loss.detach()
        W = W - learning_rate * torch.autograd.grad(loss, w)[0]
    return W, losses


def _by_module(X, y, W, learning_rate, order):
    layer = nn.Linear(*W.shape, bias=False, dtype=W.dtype)
    with torch.no_grad():
        layer.weight.copy_(W.T)
    optimizer, losses = torch.optim.SGD(layer.parameters(), lr=learning_rate), []
    for rows in order:
        optimizer.zero_grad(set_to_none=False)
        loss = nn.CrossEntropyLoss()(layer(X[rows]), y[rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return layer.weight.T, losses


def _in_place(X, y, W, learning_rate, order):
    losses = []
    W = W.requires_grad_()
    for rows in order:
        logits = X[rows] @ W
        loss = (logits.logsumexp(1) - logits[torch.arange(len(rows)), y[rows]]).mean()
        loss.backward()
        with torch.no_grad():
            W -= learning_rate * W.grad
            W.grad = None
        losses.append(loss.item())
    return W, np.array(losses)


_LOOPS = (_by_hand, _by_autograd, _by_module, _in_place)


def _other(loss_of, factor=1.0, shift=0, momentum=0.0):
    """A loop that does something else: another loss, another rate, other rows, or with momentum."""

    def answer(X, y, W, learning_rate, order):
        losses, buffer = [], 0.0
        for rows in order:
            w = W.detach().requires_grad_()
            loss = loss_of(X[rows], y[(rows + shift) % len(y)], w)
            losses.append(loss.detach())
            buffer = momentum * buffer + torch.autograd.grad(loss, w)[0]
            W = W - factor * learning_rate * buffer
        return W, torch.stack(losses)

    return answer


def _mean(x, y, W):
    return cross_entropy(x @ W, y)


_WRONG_LOOPS = {
    "uphill": _other(_mean, factor=-1),
    "half the rate": _other(_mean, factor=0.5),
    "labels of the next example": _other(_mean, shift=1),
    "with momentum": _other(_mean, factor=2.0, momentum=0.5),
    "smoothed": _other(lambda x, y, W: cross_entropy(x @ W, y, label_smoothing=0.1)),
}


def _head_by_hand(X, y, W, head, learning_rate, order):
    losses = []
    for rows in order:
        z = X[rows] @ W
        h = z.relu()
        log_p = (h @ head).log_softmax(1)
        d = (log_p.exp() - one_hot(y[rows], head.shape[1])) / len(rows)
        losses.append(-log_p[range(len(rows)), y[rows]].mean())
        W, head = W - learning_rate * X[rows].T @ (d @ head.T * (z > 0)), head - learning_rate * h.T @ d
    return W, head, losses


def _head_added(X, y, W, head, learning_rate, order):
    W = W.clone().requires_grad_()
    optimizer = torch.optim.SGD([W], lr=learning_rate)
    head = head.clone().requires_grad_()
    optimizer.add_param_group({"params": [head]})
    losses = []
    for rows in order:
        optimizer.zero_grad()
        loss = cross_entropy((X[rows] @ W).relu() @ head, y[rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return W, head, losses


def _head_with(body=1.0, top=1.0, of=lambda h: h.relu(), before=0):
    def answer(X, y, W, head, learning_rate, order):
        losses = []
        for k, rows in enumerate(order):
            a, b = W.detach().requires_grad_(), head.detach().requires_grad_()
            loss = cross_entropy(of(X[rows] @ a) @ b, y[rows])
            g, h = torch.autograd.grad(loss, (a, b))
            losses.append(loss.detach())
            W, head = W - body * learning_rate * g, head - top * learning_rate * h * (k >= before)
        return W, head, torch.stack(losses)

    return answer


def _head_by_module(X, y, W, head, learning_rate, order):
    model = nn.Sequential(nn.Linear(*W.shape, bias=False), nn.ReLU(), nn.Linear(*head.shape, bias=False)).double()
    with torch.no_grad():
        model[0].weight.copy_(W.T)
        model[2].weight.copy_(head.T)
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=learning_rate), []
    for rows in order:
        model.zero_grad()
        loss = cross_entropy(model(X[rows].double()), y[rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model[0].weight.T, model[2].weight.T, losses


def _validated(judge, training=True, factor=1.0):
    def answer(X, y, W, learning_rate, order, held_out):
        mean, var, losses = torch.zeros_like(W[0]), torch.ones_like(W[0]), []
        for rows in order:
            w = W.detach().requires_grad_()
            loss = cross_entropy(batch_norm(X[rows] @ w, mean, var, training=training, momentum=0.1), y[rows])
            losses.append(loss.detach())
            W = W - factor * learning_rate * torch.autograd.grad(loss, w)[0]
        return W, torch.stack(losses), judge(held_out, W, mean, var)

    return answer


def _normalized(held_out, W, mean, var):
    return (held_out @ W - mean) / (var + 1e-5).sqrt()


def _one_by_one(held_out, W, mean, var):
    return torch.stack([batch_norm(x[None] @ W, mean, var)[0] for x in held_out])


def _by_norm_module(X, y, W, learning_rate, order, held_out):
    layer, norm = nn.Linear(*W.shape, bias=False).to(W.dtype), nn.BatchNorm1d(W.shape[1], affine=False).to(W.dtype)
    with torch.no_grad():
        layer.weight.copy_(W.T)
    model = nn.Sequential(layer, norm)
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=learning_rate), []
    model.train()
    for rows in order:
        loss = cross_entropy(model(X[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return layer.weight.T, losses, model(held_out)


RIGHT = {
    "clinic.first_loss": (_first_by_counter, _first_by_numpy, _first_by_xlogy, _first_by_loss),
    "clinic.floor": (
        _floor_by_loss,
        lambda C, a: math.log(math.e + C - 1) - a,
        lambda C, a: np.log1p((C - 1) * np.exp(-1.0)) + (1 - a),
        lambda C, a: torch.tensor([1.0] + [0.0] * (C - 1), dtype=torch.float64).logsumexp(0) - a,
    ),
    "clinic.robust_z": (_z_by_numpy, _z_by_sorting, _z_single, _z_of_sum),
    "clinic.sum": (
        _sum_by_vectors,
        lambda k, c: (k * (1 - c) + k * k * c) ** 0.5,
        lambda k, c: np.sqrt(k * (1 + (k - 1) * c)),
        lambda k, c: math.sqrt(sum(1.0 if i == j else c for i in range(k) for j in range(k))),
    ),
    "clinic.look": (
        _look_by_trying,
        _look_by_product,
        lambda p, c: math.ceil(math.log1p(-c) / math.log1p(-p)),
        lambda p, c: int(np.ceil(np.log(1 - c) / np.log(1 - p))),
    ),
    "clinic.padding": (_padding_by_loop, _padding_by_numpy, _padding_by_pad, _padding_descending),
    "clinic.triage": (_triage_by_table, _triage_by_numpy, _triage_from_the_end, _triage_by_dict),
    "clinic.mend_sums": _LOOPS,
    "clinic.mend_size": _LOOPS,
    "clinic.mend_floor": _LOOPS,
    "clinic.mend_pairs": _LOOPS,
    "clinic.mend_head": (_head_by_hand, _head_added, _head_with(), _head_by_module),
    "clinic.mend_validation": (
        _validated(_normalized),
        _validated(_one_by_one),
        _validated(lambda x, W, mean, var: batch_norm(x @ W, mean, var)),
        _by_norm_module,
    ),
}

WRONG = {
    "clinic.first_loss": {
        "the collision entropy": lambda t, C: (math.log(C), -(t.bincount() / len(t)).square().sum().log()),
        "a plus": lambda t, C: (math.log(C), -_first_by_numpy(t, C)[1]),
        "perplexities": lambda t, C: (C, math.exp(_first_by_numpy(t, C)[1])),
    },
    "clinic.floor": {
        "C + 1": lambda C, a: math.log(1 + (C + 1) / math.e) + 1 - a,
        "accuracy added": lambda C, a: math.log(1 + (C - 1) / math.e) + a,
        "the logarithm alone": lambda C, a: math.log((C - 1) / math.e) + 1 - a,
    },
    "clinic.robust_z": {
        "of the last alone": lambda x, k: _z_of_sum(torch.cat([x[:-k], x[-1:]]), 1) * 2,
        "upside down": lambda x, k: 1 / _z_of_sum(x, k),
        "the mean absolute deviation": lambda x, k: (
            (x[-k:].mean() - x[:-k].median()) / (1.4826 * (x[:-k] - x[:-k].median()).abs().mean() / math.sqrt(k))
        ),
    },
    "clinic.sum": {
        "the mean": lambda k, c: _sum_by_vectors(k, c) / k,
        "k + 1": lambda k, c: _sum_by_vectors(k + 1, c),
        "a mixture": lambda k, c: c * k + (1 - c) * math.sqrt(k),
    },
    "clinic.look": {
        "one more": lambda p, c: _look_by_trying(p, c) + 1,
        "one fewer": lambda p, c: _look_by_trying(p, c) - 1,
        "half as many": lambda p, c: _look_by_trying(p, c) // 2,
    },
    "clinic.padding": {
        "descending, in pairs too many": lambda n, B, s: _padding_by_loop(n, B + 1, s),
        "always sorted": lambda n, B, s: _padding_by_loop(n, B, True),
        "the count": lambda n, B, s: float(_padding_by_loop(n, B, s) * n.sum()),
    },
    "clinic.triage": {
        "always nothing": lambda x, C, B: "nothing",
        "in capitals": lambda x, C, B: _triage_by_table(x, C, B).upper(),
        "stuck above guessing only": lambda x, C, B: (
            "nothing" if (v := _triage_by_table(x, C, B)) == "stuck" and x.mean() < math.log(C) else v
        ),
    },
    "clinic.mend_sums": _WRONG_LOOPS,
    "clinic.mend_size": _WRONG_LOOPS,
    "clinic.mend_floor": _WRONG_LOOPS,
    "clinic.mend_pairs": _WRONG_LOOPS,
    "clinic.mend_head": {
        "no hidden layer": _head_with(of=lambda h: h),
        "half of it": _head_with(0.5, 0.5),
        "the body twice": _head_with(2.0, 1.0),
        "the head late": _head_with(1.0, 0.0),
        "uphill": _head_with(-1.0, -1.0),
    },
    "clinic.mend_validation": {
        "without the mean": _validated(lambda x, W, mean, var: x @ W / (var + 1e-5).sqrt()),
        "by the variance": _validated(lambda x, W, mean, var: (x @ W - mean) / (var + 1e-5)),
        "in single examples of a batch": _validated(lambda x, W, mean, var: (x @ W).log_softmax(1)),
        "half the rate": _validated(_normalized, factor=0.5),
    },
}
