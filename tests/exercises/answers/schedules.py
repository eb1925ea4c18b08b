"""Answers to the exercises of notebook 04: right ones written in other ways, and wrong ones that no slip names."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch


def best_closed(V, curvature, variance, steps):
    t = torch.arange(1, steps + 1)
    return 1 / (curvature * (t + variance / (curvature**2 * V)))


def best_numpy(V, curvature, variance, steps):
    rates = np.empty(steps)
    for i in range(steps):
        precision = curvature**2 / variance + 1 / V  # 1/V grows by λ²/σ² a step
        V = 1 / precision
        rates[i] = curvature * V / variance
    return rates


def warmup_otherwise(schedule, k, warmup_steps):
    return min(1.0, (k + 1) / warmup_steps) if warmup_steps > k else schedule(k=k - warmup_steps)


def warmup_table(schedule, k, warmup_steps):
    ramp = np.linspace(0, 1, warmup_steps + 1)[1:]
    return np.concatenate([ramp, [schedule(max(k - warmup_steps, 0))]])[min(k, warmup_steps)]


def restarts_by_subtraction(step, period, floor):
    while step >= period:
        step -= period
    top, bottom = 1.0, floor
    return (top + bottom) / 2 + (top - bottom) / 2 * math.cos(step * math.pi / period)


def restarts_torch(k, period, floor):
    half = torch.cos(torch.tensor(math.pi * (k % period) / period / 2)) ** 2  # ½(1 + cos x) = cos²(x/2)
    return torch.lerp(torch.tensor(floor), torch.tensor(1.0), half.float())


def plateau_counting_drops(losses, factor, patience, threshold):
    drops, best, bad = 0, None, 0
    for loss in losses:
        better = best is None or loss < best - threshold * best
        bad, best = (0, loss) if better else (bad + 1, best)
        if bad == patience + 1:
            drops, bad = drops + 1, 0
    return factor**drops


def plateau_by_recursion(losses, factor, patience, threshold):
    """The first stretch of more than `patience` bad evaluations drops the rate; then the rest, with the best kept."""
    start, best = 0, math.inf
    for i, loss in enumerate(losses):
        if loss < best * (1 - threshold):
            best, start = loss, i
        if i - start > patience:
            rest = [best, *losses[i + 1 :]]
            return torch.tensor(factor) * plateau_by_recursion(rest, factor, patience, threshold)
    return torch.tensor(1.0)


def rates_logspace(low, high, steps):
    return torch.logspace(math.log10(low), math.log10(high), steps)


def rates_list(low, high, steps):
    factor = (high / low) ** (1 / (steps - 1))
    rates = [low]
    while len(rates) < steps:
        rates.append(rates[-1] * factor)
    return rates


def suggestion_loop(rates, losses):
    middle = 0.5 * float(losses[0]) + 0.5 * float(losses[-1])
    for i in range(1, len(rates)):
        if losses[i] <= middle:
            before, after = float(losses[i - 1]), float(losses[i])
            done = (before - middle) / (before - after)
            return math.exp((1 - done) * math.log(rates[i - 1]) + done * math.log(rates[i]))


def suggestion_numpy(learning_rates, losses):
    x, y = np.log10(learning_rates.numpy()), losses.numpy()
    k = np.argmax(y <= (y[0] + y[-1]) / 2)
    return 10 ** np.interp(-(y[0] + y[-1]) / 2, [-y[k - 1], -y[k]], [x[k - 1], x[k]])


def suggestion_searched(learning_rates, losses):
    half = losses[-1] + (losses[0] - losses[-1]) / 2
    k = torch.searchsorted(-losses, -half)
    return torch.lerp(
        learning_rates[k - 1].log(), learning_rates[k].log(), (losses[k - 1] - half) / (losses[k - 1] - losses[k])
    ).exp()


def best_filled_in(V, curvature, variance, steps):
    rates = torch.zeros(steps)
    for t in range(steps):
        rates[t] = curvature * V / (curvature**2 * V + variance)
        V = V * (1 - rates[t] * curvature)
    return rates


def suggestion_filled_in(learning_rates, losses):
    k = 0
    while losses[k] > (losses[0] + losses[-1]) / 2:
        k += 1
    slope = (losses[k] - losses[k - 1]) / (learning_rates[k].log() - learning_rates[k - 1].log())
    distance = ((losses[0] + losses[-1]) / 2 - losses[k - 1]) / slope
    return (learning_rates[k - 1].log() + distance).exp().item()


def plateau_by_torch(losses, factor, patience, threshold):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=factor, patience=patience, threshold=threshold, eps=0.0
    )
    for loss in losses:
        schedule.step(loss)
    return optimizer.param_groups[0]["lr"]


def wsd_lowest_of_three(k, T, w, d):
    return min((k + 1) / max(w, 1), 1, (T - k) / d)


def wsd_torch(k, total_steps, warmup_steps, decay_steps):
    left = torch.tensor((total_steps - k) / decay_steps).clamp(max=1)
    return torch.tensor((k + 1) / warmup_steps) if k < warmup_steps else left


def wsd_table(k, total_steps, warmup_steps, decay_steps):
    up = np.arange(1, warmup_steps + 1) / max(warmup_steps, 1)
    down = np.arange(decay_steps, 0, -1) / decay_steps
    return np.concatenate([up, np.ones(total_steps - warmup_steps - decay_steps), down])[k]


def wsd_by_phases(k, total_steps, warmup_steps, decay_steps):
    if k < warmup_steps:
        return Fraction(k + 1, warmup_steps)
    begins = total_steps - decay_steps
    return 1 if k <= begins else 1 - Fraction(k - begins, decay_steps)


def range_test_in_copies(theta, b, loss, gradient, rates, beta):
    weights, buffer, losses = theta.clone(), b.clone(), []
    for rate in rates:
        now = loss(weights)
        if now == math.inf:
            break
        losses.append(now)
        buffer = beta * buffer + gradient(weights)
        weights = weights - rate * buffer
    return losses, theta, b


def range_test_deepcopy(theta, b, loss, gradient, rates, beta):
    import copy

    kept = copy.deepcopy((theta, b))
    losses = torch.zeros(0)
    for rate in rates:
        now = torch.as_tensor(loss(theta))
        if not now.isfinite():
            break
        losses = torch.cat([losses, now.reshape(1)])
        b *= beta
        b += gradient(theta)
        theta -= rate * b
    theta[...], b[...] = kept
    return losses, theta, b


def range_test_lists(theta, b, loss, gradient, rates, beta):
    before = theta.tolist(), b.tolist()
    losses = []
    for rate in rates:
        if math.isinf(loss(theta)):
            break
        losses.append(loss(theta))
        b.copy_(beta * b + gradient(theta))
        theta.copy_(theta - rate * b)
    theta.copy_(torch.tensor(before[0]))
    b.copy_(torch.tensor(before[1]))
    return np.array(losses), theta, b


def range_test_torch_optimizer(theta, b, loss, gradient, rates, beta):
    p = torch.nn.Parameter(theta.clone())
    buffer, losses = b.clone(), []
    for rate in rates:
        with torch.no_grad():
            if not math.isfinite(loss(p)):
                break
            losses.append(loss(p.detach()))
            buffer = gradient(p) + buffer * beta
            p -= rate * buffer
    return (losses, theta, b)


def range_test_that_returns_copies(theta, b, loss, gradient, rates, beta):
    before, losses = (theta.clone(), b.clone()), []
    for rate in rates:
        if not math.isfinite(loss(theta)):
            break
        losses.append(loss(theta))
        theta -= rate * b.mul_(beta).add_(gradient(theta))
    return losses, *before


def choice_loop(rates, losses, chance):
    def bad(row):
        return any(not float(x) < chance for x in row)

    found = [
        (sorted(losses[i].tolist())[len(losses[i]) // 2], float(rates[i]))
        for i in range(len(rates) - 1)
        if not bad(losses[i]) and not bad(losses[i + 1])
    ]
    return min(found)[1] if found else 0


def choice_numpy(rates, losses, chance):
    y = losses.numpy()
    good = (y < chance).all(axis=1)  # nan is not below anything
    safe = good[:-1] & good[1:]
    if not safe.any():
        return 0.0
    medians = np.where(safe, np.median(y[:-1], axis=1), np.inf)
    return rates[int(medians.argmin())]


def choice_torch(rates, losses, chance):
    worst = losses.nan_to_num(nan=math.inf).amax(dim=1)
    safe = (worst < chance)[:-1] & (worst < chance)[1:]
    medians = losses[:-1].median(dim=1).values.masked_fill(~safe, math.inf)
    return rates[medians.argmin()] if safe.any() else torch.tensor(0.0)


def choice_filtered(rates, losses, chance):
    best = None
    for rate, row, beyond in zip(rates, losses, losses[1:], strict=False):
        if all(x < chance for x in (*row, *beyond)) and (best is None or row.median() < best[0]):
            best = row.median(), rate
    return best[1] if best else 0.0


def average_in_place(mean, theta, t, beta):
    mean.mul_(beta).add_(theta, alpha=1 - beta)
    return [mean, mean / (1 - beta**t)]


def average_lerp(mean, theta, t, beta):
    mean = torch.lerp(theta, mean, beta)
    return mean, mean / (1 - math.pow(beta, t))


def average_numpy(mean, theta, t, beta):
    m, x = mean.numpy(), theta.numpy()
    m = m + (1 - beta) * (x - m)
    return m, m / (1 - beta**t)


def average_sum(mean, theta, t, beta):
    total = (1 - beta) * sum(beta**s for s in range(t))
    mean = theta - beta * (theta - mean)
    return mean, mean / total


def _drops(losses, factor, patience, threshold, forgets_best=False, more=0.0, drops_once=False):
    """Waiting as the page says, with one thing done otherwise."""
    best, waited, multiplier = math.inf, 0, 1.0
    for loss in losses:
        if loss < best * (1 - threshold) - more:
            best, waited = loss, 0
        else:
            waited += 1
        if waited > patience and not (drops_once and multiplier < 1):
            multiplier, waited = multiplier * factor, 0
            best = math.inf if forgets_best else best
    return multiplier


def _suggestion(pick):
    def answer(rates, losses):
        k = int((losses <= (losses[0] + losses[-1]) / 2).nonzero()[0])
        return pick(rates, k)

    return answer


def _range_test(each=lambda rate: rate, keeps=True, update=None):
    def answer(theta, b, loss, gradient, rates, beta):
        weights, buffer, losses = theta.clone(), b.clone(), []
        for rate in rates:
            now = loss(weights)
            if keeps and not math.isfinite(now):
                break
            losses.append(now)
            buffer = beta * buffer + gradient(weights)
            weights = weights - each(rate) * (buffer if update is None else update(weights, buffer))
        return losses, theta, b

    return answer


RIGHT = {
    "schedules.best": (
        best_closed,
        best_numpy,
        best_filled_in,
        lambda V, c, s2, steps: [float(1 / (c * (t + s2 / (c * c * V)))) for t in range(1, steps + 1)],
    ),
    "schedules.warmup": (
        warmup_otherwise,
        warmup_table,
        lambda schedule, k, n: torch.tensor((k + 1) / n if k + 1 <= n else schedule(k - n)),
        lambda schedule, k, n: Fraction(k + 1, n) if k < n else schedule(k - n),
    ),
    "schedules.restarts": (
        restarts_by_subtraction,
        restarts_torch,
        lambda k, period, floor: np.interp(np.cos(np.pi * (k % period) / period), [-1, 1], [floor, 1]),
        lambda k, period, floor: floor + (1 - floor) * (1 + math.cos(math.pi * (k / period - k // period))) / 2,
    ),
    "schedules.plateau": (
        plateau_counting_drops,
        plateau_by_recursion,
        plateau_by_torch,
        lambda *given: np.float64(_drops(*given)),
    ),
    "schedules.rates": (
        rates_logspace,
        rates_list,
        lambda low, high, steps: np.geomspace(low, high, steps),
        lambda low, high, steps: torch.linspace(math.log(low), math.log(high), steps).exp(),
    ),
    "schedules.suggestion": (
        suggestion_loop,
        suggestion_numpy,
        suggestion_searched,
        suggestion_filled_in,
    ),
    "schedules.wsd": (wsd_lowest_of_three, wsd_torch, wsd_table, wsd_by_phases),
    "schedules.range_test": (
        range_test_in_copies,
        range_test_deepcopy,
        range_test_lists,
        range_test_torch_optimizer,
    ),
    "schedules.choose": (choice_loop, choice_numpy, choice_torch, choice_filtered),
    "schedules.average": (average_in_place, average_lerp, average_numpy, average_sum),
}

WRONG = {
    "schedules.best": {
        "the variance after the step, not before": lambda V, c, s2, steps: best_closed(V, c, s2, steps + 1)[1:],
        "the standard deviation for the variance": lambda V, c, s2, steps: best_closed(V, c, math.sqrt(s2), steps),
        "one over the root of t": lambda V, c, s2, steps: best_closed(V, c, s2, steps) ** 0.5,
        "λ missing below": lambda V, c, s2, steps: best_closed(V, c, s2, steps) * c,
        "only the last rate": lambda V, c, s2, steps: best_closed(V, c, s2, steps)[-1],
    },
    "schedules.warmup": {
        "no warm-up": lambda schedule, k, n: schedule(k),
        "warm-up that starts at half": lambda schedule, k, n: (k + 0.5) / n if k < n else schedule(k - n),
        "one step skipped": lambda schedule, k, n: (k + 1) / n if k < n else schedule(k - n + 1),
        "one for ever after": lambda schedule, k, n: min(1.0, (k + 1) / n) if n else 1.0,
        "the schedule itself, not its value": lambda schedule, k, n: (k + 1) / n if k < n else schedule,
    },
    "schedules.restarts": {
        "the cosine goes on without modulo": lambda k, n, low: low + (1 - low) * (1 + math.cos(math.pi * k / n)) / 2,
        "a straight line down": lambda k, n, low: 1 - (1 - low) * (k % n) / n,
        "the floor cuts it off": lambda k, n, low: max(low, (1 + math.cos(math.pi * (k % n) / n)) / 2),
        "in degrees": lambda k, n, low: low + (1 - low) * (1 + math.cos(180 * (k % n) / n)) / 2,
        "up instead of down": lambda k, n, low: low + (1 - low) * (1 - math.cos(math.pi * (k % n) / n)) / 2,
    },
    "schedules.plateau": {
        "the best is forgotten after a drop": lambda *a: _drops(*a, forgets_best=True),
        "the rate falls only once": lambda *a: _drops(*a, drops_once=True),
        "only a gain of 0.15 more counts": lambda *a: _drops(*a, more=0.15),
        "how many drops": lambda losses, factor, patience, threshold: round(
            math.log(_drops(losses, factor, patience, threshold)) / math.log(factor)
        ),
        "the factor, whatever came": lambda losses, factor, patience, threshold: factor,
    },
    "schedules.rates": {
        "high is left out": lambda low, high, steps: np.geomspace(low, high, steps, endpoint=False),
        "from high to low": lambda low, high, steps: np.geomspace(high, low, steps),
        "only the exponents": lambda low, high, steps: torch.linspace(math.log10(low), math.log10(high), steps),
        "one rate too many": lambda low, high, steps: np.geomspace(low, high, steps + 1),
        "tenfold from step to step": lambda low, high, steps: low * 10.0 ** torch.arange(steps),
    },
    "schedules.suggestion": {
        "the rate after half of the fall": _suggestion(lambda rates, k: rates[k - 1]),
        "the geometric middle of two rates": _suggestion(lambda rates, k: (rates[k] * rates[k - 1]).sqrt()),
        "its place, not the rate": _suggestion(lambda rates, k: k),
        "the middle of all rates": lambda rates, losses: (rates[0] * rates[-1]).sqrt(),
        "a tenth of the rate of the lowest loss": lambda rates, losses: rates[losses.argmin()] / 10,
    },
    "schedules.wsd": {
        "the decay begins one step late": lambda k, T, w, d: (k + 1) / w if k < w else min(1.0, (T - k + 1) / d),
        "down along a cosine": lambda k, T, w, d: (
            (k + 1) / w if k < w else (1 - math.cos(math.pi * min(1.0, (T - k) / d))) / 2
        ),
        "no warm-up": lambda k, T, w, d: min(1.0, (T - k) / d),
        "the last step at 0": lambda k, T, w, d: (k + 1) / w if k < w else min(1.0, (T - 1 - k) / d),
        "up and down along one line": lambda k, T, w, d: max(min((k + 1) / max(w, 1), (T - k) / d), 1),
    },
    "schedules.range_test": {
        "every step at the first rate": lambda theta, b, loss, gradient, rates, beta: _range_test()(
            theta, b, loss, gradient, [rates[0]] * len(rates), beta
        ),
        "plain descent": _range_test(update=lambda weights, buffer: weights),
        "the loss that is not finite is kept": _range_test(keeps=False),
        "uphill": _range_test(each=lambda rate: -rate),
        "only the losses": lambda *given: _range_test()(*given)[0],
        "what it was given is changed, copies are returned": range_test_that_returns_copies,
    },
    "schedules.choose": {
        "the largest safe rate": lambda rates, losses, chance: max(
            [float(r) for r, y in zip(rates, losses, strict=True) if (y < chance).all()], default=0.0
        ),
        "the lowest loss of the table": lambda rates, losses, chance: rates[
            losses.nan_to_num(nan=math.inf).amin(dim=1).argmin()
        ],
        "the smallest rate": lambda rates, losses, chance: rates[0],
        "its median, not the rate": lambda rates, losses, chance: losses.median(dim=1).values.min(),
        "the place in the table": lambda rates, losses, chance: losses.nanmedian(dim=1).values.argmin(),
    },
    "schedules.average": {
        "the plain mean of all steps": lambda mean, theta, t, beta: (mean + (theta - mean) / t,) * 2,
        "corrected by √(1 - β^t)": lambda mean, theta, t, beta: (
            beta * mean + (1 - beta) * theta,
            (beta * mean + (1 - beta) * theta) / math.sqrt(1 - beta**t),
        ),
        "only the corrected one": lambda mean, theta, t, beta: (beta * mean + (1 - beta) * theta) / (1 - beta**t),
        "the other way round": lambda mean, theta, t, beta: (
            (beta * mean + (1 - beta) * theta) / (1 - beta**t),
            beta * mean + (1 - beta) * theta,
        ),
        "the mean forgets nothing": lambda mean, theta, t, beta: (mean + (1 - beta) * theta, mean + theta),
    },
}
