"""The exercises of notebook 02: momentum, Adam and AdamW, and LAMB's trust ratio."""

from __future__ import annotations

import torch

from .exercise import Case, Exercise, Slip
from .momentum_adam_loops import ACCUMULATE, DESIGN, EDGE, FLOOR, LOOP, MEND

_WEIGHTS, _GRADIENT = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.5, 1.0, -3.0])
_BUFFER = torch.tensor([2.0, -1.0, 0.25])


def momentum_step(theta, g, b, learning_rate, beta):
    b = beta * b + g
    return theta - learning_rate * b, b


def _stale(theta, g, b, learning_rate, beta):
    return theta - learning_rate * b, beta * b + g


def _damped(theta, g, b, learning_rate, beta):
    b = beta * b + (1 - beta) * g
    return theta - learning_rate * b, b


def _rate_inside(theta, g, b, learning_rate, beta):
    b = beta * b + learning_rate * g
    return theta - b, b


def _uphill(theta, g, b, learning_rate, beta):
    b = beta * b + g
    return theta + learning_rate * b, b


def _nesterov(theta, g, b, learning_rate, beta):
    b = beta * b + g
    return theta - learning_rate * (g + beta * b), b


MOMENTUM = Exercise(
    name="adam.momentum",
    returns="two tensors: the new weights and the new buffer",
    solution=momentum_step,
    cases=(
        Case("the first step, from an empty buffer", (_WEIGHTS, _GRADIENT, torch.zeros(3), 0.1, 0.9)),
        Case("a later step", (_WEIGHTS, _GRADIENT, _BUFFER, 0.1, 0.9)),
        Case("β = 0: plain descent", (_WEIGHTS, _GRADIENT, _BUFFER, 0.5, 0.0)),
        Case("no gradient: the ball rolls on", (_WEIGHTS, torch.zeros(3), _BUFFER, 0.25, 0.5)),
    ),
    slips=(
        Slip("the step uses the buffer of the step before; first update b, then step with the new one", _stale),
        Slip("the factor 1 - β belongs to Adam's mean; the buffer adds the whole gradient", _damped),
        Slip("η stands in front of the buffer, not inside it: b = βb + g, then θ - ηb", _rate_inside),
        Slip("the step goes uphill: subtract ηb", _uphill),
        Slip("that is Nesterov's variant, which steps along g + βb; the heavy ball steps along b itself", _nesterov),
    ),
    hints=(
        "Two lines: what the buffer forgets and gains, then one step of descent along the buffer.",
        "b = beta * b + g comes first; the step uses this new b.",
    ),
)


def threshold(beta, curvature):
    return (2 + 2 * beta) / curvature


THRESHOLD = Exercise(
    name="adam.threshold",
    returns="the learning rate above which the heavy ball diverges, as one number",
    solution=threshold,
    cases=(
        Case("no momentum: the 2/λ of plain descent", (0.0, 10.0)),
        Case("β = 0.9", (0.9, 10.0)),
        Case("β = 0.5 in a flat direction", (0.5, 0.01)),
    ),
    slips=(
        Slip("2/λ is the threshold without momentum", lambda beta, curvature: 2 / curvature),
        Slip(
            "1/(1 - β) is how much faster a constant gradient is followed; the threshold grows by 1 + β only",
            lambda beta, curvature: 2 / (curvature * (1 - beta)),
        ),
        Slip(
            "that is Nesterov's threshold; the heavy ball does not divide by 1 + 2β",
            lambda beta, curvature: (2 + 2 * beta) / ((1 + 2 * beta) * curvature),
        ),
        Slip(
            "p(-1) = 1 + (1 + β - ηλ) + β; both the 1 and the β come twice",
            lambda beta, curvature: (2 + beta) / curvature,
        ),
    ),
    hints=(
        "With z_t = rᵗ the heavy ball becomes p(r) = r² - (1 + β - ηλ) r + β = 0.",
        "It breaks at p(-1) = 0: the ball jumps to the other side at each step, farther every time. Solve for η.",
    ),
)


def update(theta, g, m, v, t, learning_rate, beta1, beta2, eps):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    return theta - learning_rate * m_hat / (torch.sqrt(v_hat) + eps), m, v


def _stepping(direction):
    """Adam with another direction, made of m and v and of both corrected."""

    def answer(theta, g, m, v, t, learning_rate, beta1, beta2, eps):
        _, m, v = update(theta, g, m, v, t, learning_rate, beta1, beta2, eps)
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        return theta - learning_rate * direction(m, v, m_hat, v_hat, eps), m, v

    return answer


def _keeps_the_corrected(theta, g, m, v, t, learning_rate, beta1, beta2, eps):
    theta, m, v = update(theta, g, m, v, t, learning_rate, beta1, beta2, eps)
    return theta, m / (1 - beta1**t), v / (1 - beta2**t)


_M, _V, _NONE = torch.tensor([0.2, -0.5, 0.1]), torch.tensor([0.3, 0.02, 1.5]), torch.zeros(3)
_ONES = torch.ones(2, 2)
_STEPS = (
    Case("the first step", (_WEIGHTS, _GRADIENT, _NONE, _NONE, 1, 0.1, 0.9, 0.999, 1e-8)),
    Case("the seventh step", (_WEIGHTS, _GRADIENT, _M, _V, 7, 0.01, 0.9, 0.99, 1e-8)),
    Case("a large ε", (_WEIGHTS, _GRADIENT, _M, _V, 2, 0.1, 0.8, 0.9, 0.5)),
    Case(
        "a matrix of weights",
        (_ONES, torch.eye(2) + 1, _ONES, _ONES, 3, 1.0, 0.5, 0.9, 0.1),
    ),
)

UPDATE = Exercise(
    name="adam.update",
    returns="three tensors: the new weights, m and v",
    solution=update,
    cases=_STEPS,
    slips=(
        Slip(
            "there is no bias correction: divide m by 1 - β₁ᵗ and v by 1 - β₂ᵗ before the step",
            _stepping(lambda m, v, m_hat, v_hat, eps: m / (v.sqrt() + eps)),
        ),
        Slip(
            "ε stands inside the root; add it after the root is taken",
            _stepping(lambda m, v, m_hat, v_hat, eps: m_hat / torch.sqrt(v_hat + eps)),
        ),
        Slip("the step is right, but what is remembered must be m and v themselves, not m̂ and v̂", _keeps_the_corrected),
        Slip(
            "the correction uses 1 - β at every step; it must be 1 - βᵗ",
            lambda theta, g, m, v, t, *rest: update(theta, g, m, v, 1, *rest),
        ),
        Slip(
            "only m is corrected: v starts at 0 as well, so divide it by 1 - β₂ᵗ",
            _stepping(lambda m, v, m_hat, v_hat, eps: m_hat / (v.sqrt() + eps)),
        ),
        Slip(
            "only v is corrected: m starts at 0 as well, so divide it by 1 - β₁ᵗ",
            _stepping(lambda m, v, m_hat, v_hat, eps: m / (v_hat.sqrt() + eps)),
        ),
        Slip("the root of v̂ is missing", _stepping(lambda m, v, m_hat, v_hat, eps: m_hat / (v_hat + eps))),
        Slip(
            "the step goes uphill: subtract it",
            lambda theta, g, m, v, t, learning_rate, *rest: update(theta, g, m, v, t, -learning_rate, *rest),
        ),
    ),
    hints=(
        "Four lines in the order of the box above: m, v, their corrected twins, the step.",
        "m_hat = m / (1 - beta1**t), and v_hat likewise with beta2. Return m and v, not m_hat and v_hat.",
        "The step is learning_rate * m_hat / (torch.sqrt(v_hat) + eps).",
    ),
)


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


def _decaying(direction):
    """AdamW with another direction, made of m and v and of both corrected."""

    def answer(theta, g, m, v, t, learning_rate, beta1, beta2, eps, weight_decay):
        moved, m, v = _stepping(direction)(theta, g, m, v, t, learning_rate, beta1, beta2, eps)
        return moved - learning_rate * weight_decay * theta, m, v

    return answer


ADAMW = Exercise(
    name="adam.adamw",
    returns="three tensors: the new weights, m and v",
    solution=adamw_step,
    cases=tuple(
        Case(f"{case.description}, λ = {decay}", (*case.arguments, decay))
        for case, decay in zip(_STEPS, (0.1, 0.5, 0.01, 0.2), strict=True)
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
        Slip(
            "the decay is right, but there is no bias correction: divide m by 1 - β₁ᵗ and v by 1 - β₂ᵗ",
            _decaying(lambda m, v, m_hat, v_hat, eps: m / (v.sqrt() + eps)),
        ),
        Slip(
            "the decay is right, but only m is corrected: divide v by 1 - β₂ᵗ, too",
            _decaying(lambda m, v, m_hat, v_hat, eps: m_hat / (v.sqrt() + eps)),
        ),
        Slip(
            "the decay is right, but only v is corrected: divide m by 1 - β₁ᵗ, too",
            _decaying(lambda m, v, m_hat, v_hat, eps: m / (v_hat.sqrt() + eps)),
        ),
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
    returns="LAMB's trust ratio of one layer, as one number",
    solution=trust_ratio,
    cases=(
        Case("no decay", (torch.tensor([3.0, 4.0]), torch.tensor([1.0, 0.0]), 0.0)),
        Case("with decay", (_WEIGHTS, _GRADIENT, 0.5)),
        Case("a matrix", (torch.full((2, 3), 0.1), torch.arange(6.0).reshape(2, 3), 0.01)),
        Case(
            "long weights and a short update: a ratio of 100",
            (torch.tensor([30.0, 40.0]), torch.tensor([0.3, 0.4]), 0.0),
        ),
        Case("weights that are all 0: the ratio is 1", (torch.zeros(3), _GRADIENT, 0.1)),
        Case("no direction and no decay: the ratio is 1", (_WEIGHTS, torch.zeros(3), 0.0)),
    ),
    slips=(
        Slip(
            "the ratio is upside down: the length of the weights over that of the update",
            lambda theta, direction, weight_decay: 1 / trust_ratio(theta, direction, weight_decay),
        ),
        Slip(
            "the decay is part of the update: its length is that of direction + weight_decay * theta",
            lambda theta, direction, weight_decay: trust_ratio(theta, direction, 0.0),
        ),
        Slip(
            "those are squared lengths; take the root",
            lambda theta, direction, weight_decay: trust_ratio(theta, direction, weight_decay) ** 2,
        ),
        Slip("a layer that starts at 0 would never move: where ‖θ‖ = 0 the ratio is 1", _stuck),
        Slip(
            "the ratio is cut at 10, as some programs do; the one above has no bounds",
            lambda theta, direction, weight_decay: min(10.0, float(trust_ratio(theta, direction, weight_decay))),
        ),
        Slip("those are sums of sizes; the length is the root of the sum of squares", _summed),
    ),
    hints=(
        "The update that LAMB rescales is u = direction + λθ.",
        "The ratio is ‖θ‖/‖u‖, with .norm() over the whole layer, and 1 where either of them is 0.",
    ),
)


EXERCISES = (  # in reading order
    MOMENTUM,
    THRESHOLD,
    LOOP,
    FLOOR,
    DESIGN,
    UPDATE,
    MEND,
    ADAMW,
    EDGE,
    ACCUMULATE,
    TRUST,
)
