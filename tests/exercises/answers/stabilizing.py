"""Answers to the exercises of notebook 09b: right ones written in other ways, and wrong ones that no slip names."""

from __future__ import annotations

import math
from statistics import fmean, variance

import numpy as np
import torch


def factor_by_loop(t, beta1, beta2):
    first = second = 1.0
    for _ in range(t):
        first, second = first * beta1, second * beta2
    return (1 - first) * (1 - second) ** -0.5


def factor_tensor(t, beta1, beta2):
    beta = torch.tensor([beta1, beta2])
    m, v = 1 - beta**t
    return m / v.sqrt()


def factor_by_averages(t, beta1, beta2):
    m = v = 0.0
    for _ in range(t):  # both averages of a gradient that is 1 for ever
        m, v = beta1 * m + (1 - beta1), beta2 * v + (1 - beta2)
    return m / math.sqrt(v)


def factor_expm1(t, beta1, beta2):
    return -math.expm1(t * math.log(beta1)) / math.sqrt(-math.expm1(t * math.log(beta2)))


def choose_by_loop(rates, scores, failed):
    best, chosen = -math.inf, None
    for rate, row, bad in sorted(zip(rates.tolist(), scores.tolist(), failed.tolist(), strict=True)):
        worth = fmean(0.0 if math.isnan(s) else s for s in row) - fmean(bad)
        if worth > best:
            best, chosen = worth, rate
    return chosen


def choose_numpy(rates, scores, failed):
    worth = np.nan_to_num(scores.numpy()).mean(1) - failed.numpy().mean(1)
    order = np.lexsort((rates.numpy(), -worth))
    return rates.numpy()[order[0]]


def choose_where(rates, scores, failed):
    clean = torch.where(scores.isnan(), torch.zeros_like(scores), scores)
    worth = (clean - failed.to(scores)).mean(dim=1)
    return torch.where(worth == worth.max(), rates, math.inf).min()


def choose_sorted(rates, scores, failed):
    ascending = rates.argsort()
    worth = (torch.nan_to_num(scores) - failed.float()).mean(1)[ascending]
    return rates[ascending][(worth == worth.max()).int().argmax()]


def reinitialize_in_place(state, noise, blocks, sigma):
    last = 0
    while any(f".layer.{last + 1}." in name for name in state):
        last += 1
    tops = [f".layer.{last - i}." for i in range(blocks)] + [".pooler."]
    made = dict(state)
    for name in state:
        if any(top in name for top in tops):
            if name.endswith("LayerNorm.weight"):
                made[name] = torch.ones(state[name].shape)
            elif name.endswith("bias"):
                made[name] = torch.zeros(state[name].shape)
            else:
                made[name] = noise[name] * sigma
    return list(made.values())


def reinitialize_regex(state, noise, blocks, sigma):
    import re

    number = {n: int(m[1]) for n in state if (m := re.search(r"layer\.(\d+)\.", n))}
    new = {n for n in state if "pooler" in n or number.get(n, -math.inf) > max(number.values()) - blocks}
    return tuple(
        w if n not in new else noise[n] * sigma if w.ndim > 1 else torch.full_like(w, float("LayerNorm.weight" in n))
        for n, w in state.items()
    )


def reinitialize_numpy(state, noise, blocks, sigma):
    count = len({n.split(".")[3] for n in state if n.startswith("bert.encoder.layer.")})
    out = []
    for n, w in state.items():
        parts = n.split(".")
        fresh = parts[1] == "pooler" or (parts[1] == "encoder" and int(parts[3]) >= count - blocks)
        value = w.numpy()
        if fresh and value.ndim == 2:
            value = sigma * noise[n].numpy()
        elif fresh:
            value = np.zeros(len(w)) + ("Norm" in n and parts[-1] == "weight")
        out.append(value)
    return out


def reinitialize_by_copy(state, noise, blocks, sigma):
    state = {name: w.clone() for name, w in state.items()}
    numbers = sorted({int(name.split(".")[3]) for name in state if "encoder" in name})[-blocks:]
    for name, w in state.items():
        if "pooler" in name or ("encoder" in name and int(name.split(".")[3]) in numbers):
            w.zero_()
            if w.dim() == 2:
                w.add_(noise[name], alpha=sigma)
            if "LayerNorm.weight" in name:
                w.add_(1)
    return list(state.values())


def shares_loops(scores):
    table = scores.tolist()
    heads, orders = len(table), len(table[0])
    rows, columns = [fmean(r) for r in table], [fmean(c) for c in zip(*table, strict=True)]
    mean = fmean(rows)
    rest = sum((table[i][j] - rows[i] - columns[j] + mean) ** 2 for i in range(heads) for j in range(orders))
    rest /= (heads - 1) * (orders - 1)
    parts = [max(variance(rows) - rest / orders, 0), max(variance(columns) - rest / heads, 0), rest]
    return tuple(part / sum(parts) for part in parts)


def shares_numpy(scores):
    x = scores.numpy()
    heads, orders = x.shape
    total = ((x - x.mean()) ** 2).sum()
    a, b = orders * ((x.mean(1) - x.mean()) ** 2).sum(), heads * ((x.mean(0) - x.mean()) ** 2).sum()
    e = (total - a - b) / ((heads - 1) * (orders - 1))
    parts = np.maximum([(a / (heads - 1) - e) / orders, (b / (orders - 1) - e) / heads, e], 0)
    return parts / parts.sum()


def shares_centred(scores):
    heads, orders = scores.shape
    x = scores - scores.mean()
    a, b = x.mean(1, keepdim=True), x.mean(0, keepdim=True)
    e = (x - a - b).square().sum() / (heads * orders - heads - orders + 1)
    parts = torch.stack(
        [a.square().sum() / (heads - 1) - e / orders, b.square().sum() / (orders - 1) - e / heads, e]
    ).relu()
    return tuple(parts / parts.sum())


def shares_as_list(scores):
    heads, orders = scores.shape
    project_heads = torch.eye(heads) - torch.full((heads, heads), 1 / heads)
    project_orders = torch.eye(orders) - torch.full((orders, orders), 1 / orders)
    x = scores.to(project_heads.dtype)
    e = (project_heads @ x @ project_orders).pow(2).sum() / ((heads - 1) * (orders - 1))
    parts = [max(float(x.mean(1).var() - e / orders), 0.0), max(float(x.mean(0).var() - e / heads), 0.0), float(e)]
    return [part / sum(parts) for part in parts]


def rates_by_dict(names, learning_rate, decay):
    B = len({name.split(".")[3] for name in names if "encoder" in name})
    depth = {"classifier": 0, "pooler": 1, "embeddings": B + 1} | {f"layer.{n}.": B - n for n in range(B)}
    return [learning_rate * decay ** next(d for key, d in depth.items() if key in name) for name in names]


def rates_numpy(names, learning_rate, decay):
    numbers = np.array([int(n.split(".")[3]) if ".layer." in n else -1 for n in names])
    depth = numbers.max() - numbers + 1
    depth[[n.startswith("classifier") for n in names]] = 0
    depth[["pooler" in n for n in names]] = 1
    return learning_rate * decay**depth


def rates_by_multiplying(names, learning_rate, decay):
    layers = {"classifier": learning_rate}
    rate = learning_rate * decay
    layers["pooler"] = rate
    for n in sorted({int(name.split(".")[3]) for name in names if ".layer." in name}, reverse=True):
        layers[str(n)] = rate
        rate = rate * decay
    layers["embeddings"] = rate
    out = []
    for name in names:
        parts = name.split(".")
        out.append(layers[parts[0] if parts[0] == "classifier" else parts[3] if parts[1] == "encoder" else parts[1]])
    return torch.tensor(out)


def rates_by_logarithm(names, learning_rate, decay):
    last = max(int(n.split(".layer.")[1].split(".")[0]) for n in names if ".layer." in n)

    def depth(name):
        if "classifier" in name:
            return 0
        if "pooler" in name:
            name = f".layer.{last}."
        return last + 1 - (int(name.split(".layer.")[1].split(".")[0]) if ".layer." in name else -1)

    return torch.tensor([math.exp(math.log(learning_rate) + depth(n) * math.log(decay)) for n in names])


def average_lerp(start, path, beta):
    average = start.clone()
    for theta in path:
        average.lerp_(theta, 1 - beta)
    return average


def average_closed(start, path, beta):
    T = len(path)
    weights = (1 - beta) * torch.tensor([beta ** (T - t) for t in range(1, T + 1)], dtype=path.dtype)
    return beta**T * start + weights @ path


def average_numpy(start, path, beta):
    average = np.array(start.numpy())
    for theta in path.numpy():
        average += (1 - beta) * (theta - average)
    return average


def average_recursive(start, path, beta):
    if len(path) == 0:
        return start
    return beta * average_recursive(start, path[:-1], beta) + (1 - beta) * path[-1]


RIGHT = {
    "stabilizing.factor": (factor_by_loop, factor_tensor, factor_by_averages, factor_expm1),
    "stabilizing.choose": (choose_by_loop, choose_numpy, choose_where, choose_sorted),
    "stabilizing.reinitialize": (
        reinitialize_in_place,
        reinitialize_regex,
        reinitialize_numpy,
        reinitialize_by_copy,
    ),
    "stabilizing.shares": (shares_loops, shares_numpy, shares_centred, shares_as_list),
    "stabilizing.layer_rates": (rates_by_dict, rates_numpy, rates_by_multiplying, rates_by_logarithm),
    "stabilizing.average": (average_lerp, average_closed, average_numpy, average_recursive),
}


def _worth(scores, failed):
    return scores.nan_to_num(nan=0.0).mean(1) - failed.double().mean(1)


def _renamed(pick):
    """reinitialize_regex on other names, picked by name and number of the last block."""

    def answer(state, noise, blocks, sigma):
        count = len({n.split(".")[3] for n in state if "encoder" in n})
        made = reinitialize_in_place(state, noise, count, sigma)
        return [new if pick(name, count, blocks) else w for (name, w), new in zip(state.items(), made, strict=True)]

    return answer


def _number(name):
    return int(name.split(".")[3]) if "encoder" in name else -1


def _parts(scores):
    heads, orders = scores.shape
    rows, columns = scores.mean(1), scores.mean(0)
    rest = (scores - rows[:, None] - columns + scores.mean()).square().sum()
    return rows, columns, rest, heads, orders


def _shared(*parts):
    parts = [torch.as_tensor(part).clamp(min=0) for part in parts]
    return tuple(part / sum(parts) for part in parts)


def shares_biased(scores):
    rows, columns, rest, heads, orders = _parts(scores)
    rest = rest / (heads * orders)
    return _shared(rows.var(correction=0) - rest / orders, columns.var(correction=0) - rest / heads, rest)


def shares_of_deviations(scores):
    return _shared(*(part**0.5 for part in shares_numpy(scores)))


def components_alone(scores):
    rows, columns, rest, heads, orders = _parts(scores)
    rest = rest / ((heads - 1) * (orders - 1))
    return (rows.var() - rest / orders).clamp(min=0), (columns.var() - rest / heads).clamp(min=0), rest


def shares_of_all(scores):
    rows, columns, rest, heads, orders = _parts(scores)
    rest = rest / ((heads - 1) * (orders - 1))
    parts = (rows.var() - rest / orders).clamp(min=0), (columns.var() - rest / heads).clamp(min=0), rest
    return tuple(part / scores.var() for part in parts)


WRONG = {
    "stabilizing.factor": {
        "only the first average": lambda t, beta1, beta2: 1 - beta1**t,
        "only the second": lambda t, beta1, beta2: (1 - beta2**t) ** -0.5,
        "the root of both": lambda t, beta1, beta2: math.sqrt((1 - beta1**t) / (1 - beta2**t)),
        "t from 0": lambda t, beta1, beta2: (1 - beta1 ** (t - 1)) / math.sqrt(1 - beta2 ** (t - 1)) if t > 1 else 0.0,
        "powers without the one": lambda t, beta1, beta2: beta1**t / math.sqrt(beta2**t),
    },
    "stabilizing.choose": {
        "the position": lambda rates, scores, failed: _worth(scores, failed).argmax(),
        "the worth": lambda rates, scores, failed: _worth(scores, failed).max(),
        "the fewest failed runs, then the mean": lambda rates, scores, failed: rates[
            (scores.nan_to_num(nan=0.0).mean(1) - 100 * failed.double().mean(1)).argmax()
        ],
        "the median": lambda rates, scores, failed: rates[
            (scores.nan_to_num(nan=0.0).median(1).values - failed.double().mean(1)).argmax()
        ],
        "failed runs are added": lambda rates, scores, failed: rates[
            (scores.nan_to_num(nan=0.0).mean(1) + failed.double().mean(1)).argmax()
        ],
        "the mean of the good runs": lambda rates, scores, failed: rates[
            torch.where(failed, math.nan, scores).nanmean(1).nan_to_num(nan=0.0).argmax()
        ],
    },
    "stabilizing.reinitialize": {
        "nothing is new": lambda state, noise, blocks, sigma: list(state.values()),
        "all blocks": _renamed(lambda name, count, blocks: "encoder" in name or "pooler" in name),
        "one block too many": _renamed(
            lambda name, count, blocks: "pooler" in name or _number(name) >= max(count - blocks - 1, 0)
        ),
        "only matrices": lambda state, noise, blocks, sigma: [
            new if new.ndim == 2 else w
            for w, new in zip(state.values(), reinitialize_regex(state, noise, blocks, sigma), strict=True)
        ],
        "noise of size 1": lambda state, noise, blocks, sigma: reinitialize_regex(state, noise, blocks, 1.0),
        "the embeddings, too": lambda state, noise, blocks, sigma: [
            noise[name] * sigma if "word" in name else new
            for name, new in zip(state, reinitialize_regex(state, noise, blocks, sigma), strict=True)
        ],
    },
    "stabilizing.shares": {
        "divided by n": shares_biased,
        "of standard deviations": shares_of_deviations,
        "variances, not shares": components_alone,
        "of the variance of all scores": shares_of_all,
    },
    "stabilizing.layer_rates": {
        "every parameter a layer": lambda names, learning_rate, decay: [
            learning_rate * decay**i for i in range(len(names))
        ][::-1],
        "all alike": lambda names, learning_rate, decay: [learning_rate] * len(names),
        "blocks counted by what is named": lambda names, learning_rate, decay: [
            rate * decay for rate in rates_by_dict(names, learning_rate, decay)
        ],
        "the head with the top block": lambda names, learning_rate, decay: [
            min(rate, learning_rate * decay) for rate in rates_by_dict(names, learning_rate, decay)
        ],
    },
    "stabilizing.average": {
        "the last weights": lambda start, path, beta: path[-1],
        "a step too few": lambda start, path, beta: average_recursive(start, path[:-1], beta),
        "backwards": lambda start, path, beta: average_recursive(start, path.flip(0), beta),
        "the new weights whole": lambda start, path, beta: average_recursive(start, path / (1 - beta), beta),
    },
}
