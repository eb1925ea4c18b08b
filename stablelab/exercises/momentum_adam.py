"""The exercises of notebook 02: AdamW and LAMB's trust ratio; before them momentum and Adam's averages."""

from __future__ import annotations

import torch

from .averages import MEAN, STEPS, UPDATE, update
from .exercise import Case, Exercise, Slip
from .momentum import GRADIENT, MOMENTUM, THRESHOLD, WEIGHTS


def adamw_step(theta, g, m, v, t, learning_rate, beta1, beta2, eps, weight_decay):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    return theta - learning_rate * (m_hat / (torch.sqrt(v_hat) + eps) + weight_decay * theta), m, v


def _coupled(theta, g, m, v, t, learning_rate, beta1, beta2, eps, weight_decay):
    return update(theta, g + weight_decay * theta, m, v, t, learning_rate, beta1, beta2, eps)


def _decay_without_rate(theta, g, m, v, t, learning_rate, beta1, beta2, eps, weight_decay):
    moved, m, v = update(theta, g, m, v, t, learning_rate, beta1, beta2, eps)
    return moved - weight_decay * theta, m, v


def _decay_afterwards(theta, g, m, v, t, learning_rate, beta1, beta2, eps, weight_decay):
    moved, m, v = update(theta, g, m, v, t, learning_rate, beta1, beta2, eps)
    return moved * (1 - learning_rate * weight_decay), m, v


def _growth(theta, g, m, v, t, learning_rate, beta1, beta2, eps, weight_decay):
    return adamw_step(theta, g, m, v, t, learning_rate, beta1, beta2, eps, -weight_decay)


def _no_decay(theta, g, m, v, t, learning_rate, beta1, beta2, eps, weight_decay):
    return update(theta, g, m, v, t, learning_rate, beta1, beta2, eps)


ADAMW = Exercise(
    name="adam.adamw",
    asks="three tensors: the new weights, m and v",
    solution=adamw_step,
    cases=tuple(
        Case(f"{case.says}, λ = {decay}", (*case.arguments, decay))
        for case, decay in zip(STEPS, (0.1, 0.5, 0.01, 0.2), strict=True)
    ),
    slips=(
        Slip(
            "λθ is added to the gradient, so m and v see it: that is L2 inside Adam. Decay the weights beside it",
            _coupled,
        ),
        Slip("the decay is not multiplied by η; it is ηλθ", _decay_without_rate),
        Slip("the weights decay after the step; what decays are the weights before it", _decay_afterwards),
        Slip("the weights grow: the decay must pull them towards 0", _growth),
        Slip("the decay is missing", _no_decay),
    ),
    hints=(
        "m and v see the gradient alone. The decay comes in where the weights move.",
        "Inside the bracket after η stand Adam's direction and weight_decay * theta.",
    ),
)


def trust_ratio(theta, direction, weight_decay):
    update = direction + weight_decay * theta
    if theta.norm() == 0 or update.norm() == 0:
        return 1.0
    return theta.norm() / update.norm()


def _inverted(theta, direction, weight_decay):
    return 1 / trust_ratio(theta, direction, weight_decay)


def _squared(theta, direction, weight_decay):
    return trust_ratio(theta, direction, weight_decay) ** 2


def _stuck(theta, direction, weight_decay):
    update = direction + weight_decay * theta
    return theta.norm() / update.norm() if update.norm() > 0 else 1.0


def _summed(theta, direction, weight_decay):
    update = direction + weight_decay * theta
    if theta.norm() == 0 or update.norm() == 0:
        return 1.0
    return theta.abs().sum() / update.abs().sum()


TRUST = Exercise(
    name="adam.trust_ratio",
    asks="LAMB's trust ratio of one layer, as one number",
    solution=trust_ratio,
    cases=(
        Case("no decay", (torch.tensor([3.0, 4.0]), torch.tensor([1.0, 0.0]), 0.0)),
        Case("with decay", (WEIGHTS, GRADIENT, 0.5)),
        Case("a matrix", (torch.full((2, 3), 0.1), torch.arange(6.0).reshape(2, 3), 0.01)),
        Case("weights that are all 0: the ratio is 1", (torch.zeros(3), GRADIENT, 0.1)),
        Case("no direction and no decay: the ratio is 1", (WEIGHTS, torch.zeros(3), 0.0)),
    ),
    slips=(
        Slip("the ratio is upside down: the length of the weights over that of the update", _inverted),
        Slip(
            "the decay is part of the update: its length is that of direction + weight_decay * theta",
            lambda theta, direction, weight_decay: trust_ratio(theta, direction, 0.0),
        ),
        Slip("those are squared lengths; take the root", _squared),
        Slip("a layer that starts at 0 would never move: where ‖θ‖ = 0 the ratio is 1", _stuck),
        Slip("those are sums of sizes; the length is the root of the sum of squares", _summed),
    ),
    hints=(
        "The update that LAMB rescales is u = direction + λθ.",
        "The ratio is ‖θ‖/‖u‖, with .norm() over the whole layer, and 1 where either of them is 0.",
    ),
)


EXERCISES = (MOMENTUM, THRESHOLD, MEAN, UPDATE, ADAMW, TRUST)
