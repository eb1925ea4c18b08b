"""The exercises of notebook 02 with whole loops, and with numbers to be chosen: predict, mend, design."""

from __future__ import annotations

import torch

from .exercise import Case, Exercise, Slip, float64, normal


def momentum_training(X, y, w, learning_rate, beta, epochs):
    b = torch.zeros_like(w)  # once, before the first epoch: the ball keeps rolling
    for _ in range(epochs):
        for inputs, targets in zip(X, y, strict=True):
            g = inputs.T @ (inputs @ w - targets) / len(targets)
            b = beta * b + g
            w = w - learning_rate * b
    return w


def _training(step, each_epoch=False):
    """Training whose step makes w and b of (w, g, b, η, β); with a buffer that may be emptied at each epoch."""

    def answer(X, y, w, learning_rate, beta, epochs):
        b = torch.zeros_like(w)
        for _ in range(epochs):
            b = torch.zeros_like(w) if each_epoch else b
            for inputs, targets in zip(X, y, strict=True):
                g = inputs.T @ (inputs @ w - targets) / len(targets)
                w, b = step(w, g, b, learning_rate, beta)
        return w

    return answer


def _heavy(w, g, b, learning_rate, beta):
    return w - learning_rate * (beta * b + g), beta * b + g


_BATCHES = normal(3, 4, 2, seed=0), normal(3, 4, seed=1)

LOOP = Exercise(
    name="adam.momentum_loop",
    returns="the weights after training with momentum, of shape (D,)",
    solution=momentum_training,
    cases=(
        Case("one epoch of three batches", (*_BATCHES, torch.zeros(2), 0.1, 0.9, 1)),
        Case("four epochs", (*_BATCHES, float64(1.0, -1.0), 0.05, 0.9, 4)),
        Case("β = 0: plain descent", (*_BATCHES, float64(1.0, -1.0), 0.1, 0.0, 2)),
    ),
    slips=(
        Slip(
            "the first epoch is right, but the first step of every later epoch is as short as one without momentum, as "
            "if somebody had stopped the ball",
            _training(_heavy, each_epoch=True),
        ),
        Slip(
            "this trains as plain descent does, whatever β is: at no step does anything of the steps before count",
            _training(lambda w, g, b, learning_rate, beta: (w - learning_rate * g, b)),
        ),
        Slip(
            "the very first step does not move the weights, and each later one comes a step too late",
            _training(lambda w, g, b, learning_rate, beta: (w - learning_rate * b, beta * b + g)),
        ),
        Slip(
            "all steps are 1 - β times as long as they should be",
            _training(lambda w, g, b, eta, beta: _heavy(w, (1 - beta) * g, b, eta, beta)),
        ),
        Slip(
            "the loss grows from the first step on", _training(lambda w, g, b, eta, beta: _heavy(w, g, b, -eta, beta))
        ),
    ),
    hints=(
        "Follow b by hand through two epochs of two batches. What is in it when the second epoch begins?",
        "The buffer is made once, before both loops, because it must live as long as the training.",
    ),
)


def noise_floor(learning_rate, beta, curvature, noise):
    a = 1 + beta - learning_rate * curvature
    share = a / (1 + beta)  # C / V
    V = (learning_rate * noise) ** 2 / (1 - a**2 - beta**2 + 2 * a * beta * share)
    return curvature * V / 2


def _floor_with(variance):
    def answer(learning_rate, beta, curvature, noise):
        return curvature / 2 * variance(learning_rate, beta, curvature, noise)

    return answer


FLOOR = Exercise(
    name="adam.floor",
    returns="the loss ½λV that the noise keeps up, as one number",
    solution=noise_floor,
    cases=(
        Case("no momentum", (0.1, 0.0, 1.0, 1.0)),
        Case("β = 0.9", (0.05, 0.9, 1.0, 1.0)),
        Case("a steep direction and little noise", (0.3, 0.5, 8.0, 0.1)),
    ),
    slips=(
        Slip(
            "that is the floor of plain descent; β is missing",
            lambda learning_rate, beta, curvature, noise: noise_floor(learning_rate, 0.0, curvature, noise),
        ),
        Slip(
            "that is V itself; the loss is ½λV",
            lambda learning_rate, beta, curvature, noise: (
                2 / curvature * noise_floor(learning_rate, beta, curvature, noise)
            ),
        ),
        Slip(
            "that is the limit for small ηλ, ησ²/(4(1 - β)); the exact one also depends on λ",
            lambda learning_rate, beta, curvature, noise: learning_rate * noise**2 / (4 * (1 - beta)),
        ),
        Slip(
            "σ must be squared: what adds up is the variance of the noise",
            lambda learning_rate, beta, curvature, noise: noise_floor(learning_rate, beta, curvature, noise) / noise,
        ),
        Slip(
            "the term with C is missing: z at two steps in a row is correlated",
            _floor_with(lambda eta, beta, lam, noise: (eta * noise) ** 2 / (1 - (1 + beta - eta * lam) ** 2 - beta**2)),
        ),
    ),
    hints=(
        "Put C = aV/(1 + β) into the second equation; every term but the last then has a factor V.",
        "V = η²σ² / (1 - a² - β² + 2a²β/(1 + β)) with a = 1 + β - ηλ; the loss is λV/2.",
    ),
)


def design(largest, smallest, noise, limit, learning_rates, betas):
    best = float("inf"), 0.0, 0.0  # rate, η, β
    for eta in learning_rates.tolist():
        for beta in betas.tolist():
            if eta * largest >= 2 + 2 * beta:  # it diverges
                continue
            rate, floor = 0.0, 0.0
            for curvature in (largest, smallest):
                a = 1 + beta - eta * curvature
                root = max(a**2 - 4 * beta, 0.0) ** 0.5  # 0 where the roots are complex, and then |r| = √β
                rate = max(rate, (abs(a) + root) / 2 if root > 0 else beta**0.5)
                floor += eta * noise**2 * (1 + beta) / (2 * (1 - beta) * (2 + 2 * beta - eta * curvature))
            if floor <= limit and rate < best[0]:
                best = rate, eta, beta
    return best[1:]


def _designed(allowed=True, rates=2, floors=2, worst=False):
    """A choice that looks at fewer directions than two, or at no limit, or at the slowest pair."""

    def answer(largest, smallest, noise, limit, learning_rates, betas):
        found = []
        for eta in learning_rates.tolist():
            for beta in betas.tolist():
                rate, floor = [], []
                for curvature in (smallest, largest):
                    a = 1 + beta - eta * curvature
                    root = max(a**2 - 4 * beta, 0.0) ** 0.5
                    rate.append((abs(a) + root) / 2 if root > 0 else beta**0.5)
                    floor.append(eta * noise**2 * (1 + beta) / (2 * (1 - beta) * (2 + 2 * beta - eta * curvature)))
                if eta * largest < 2 + 2 * beta and (sum(floor[:floors]) <= limit or not allowed):
                    found.append((max(rate[:rates]), eta, beta))
        return (max(found) if worst else min(found))[1:]

    return answer


_RATES, _BETAS = float64(0.003, 0.01, 0.03, 0.1, 0.19, 0.28), float64(0.0, 0.3, 0.5, 0.7, 0.9)

DESIGN = Exercise(
    name="adam.design",
    returns="two numbers, η and β: the fastest pair whose noise floor is within the limit",
    solution=design,
    cases=(
        Case("hardly any noise: the limit does not bind", (10.0, 0.4, 0.01, 1.0, _RATES, _BETAS)),
        Case("two directions of nearly the same curvature", (10.0, 5.0, 0.01, 1.0, _RATES, _BETAS)),
        Case("a loose limit", (10.0, 0.5, 1.0, 0.3, _RATES, _BETAS)),
        Case("a tight limit", (10.0, 0.5, 1.0, 0.02, _RATES, _BETAS)),
        Case("a narrow valley", (10.0, 0.02, 1.0, 0.1, _RATES, _BETAS)),
    ),
    slips=(
        Slip("the pair is the fastest without noise; its floor lies above the limit", _designed(allowed=False)),
        Slip(
            "the floor was measured in the flat direction alone; the noise of the steep one adds to it",
            _designed(floors=1),
        ),
        Slip(
            "the rate was measured in the flat direction alone; the slower of the two directions decides",
            _designed(rates=1),
        ),
        Slip("among the pairs within the limit this is the slowest, not the fastest", _designed(worst=True)),
    ),
    hints=(
        "Go through all pairs. Leave out those that diverge or lie above the limit, and keep the smallest rate.",
        "The rate is the larger |r| of both λ: √β if a² < 4β, else (|a| + √(a² - 4β))/2, where a = 1 + β - ηλ. "
        "The floor is the sum over both λ.",
    ),
)


def adam_run(theta, gradients, learning_rate, beta1, beta2, eps):
    m, v = torch.zeros_like(theta), torch.zeros_like(theta)
    for t, g in enumerate(gradients, 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        theta = theta - learning_rate * m_hat / (torch.sqrt(v_hat) + eps)
    return theta


def _running(correct):
    """Adam over all gradients; ``correct`` makes what the step divides, and by what, of (m, v, β₁ᵗ, β₂ᵗ, β₁, β₂)."""

    def answer(theta, gradients, learning_rate, beta1, beta2, eps):
        m, v = torch.zeros_like(theta), torch.zeros_like(theta)
        for t, g in enumerate(gradients, 1):
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g**2
            above, below = correct(m, v, beta1**t, beta2**t, beta1, beta2)
            theta = theta - learning_rate * above / (torch.sqrt(below) + eps)
        return theta

    return answer


def _overwritten(theta, gradients, learning_rate, beta1, beta2, eps):
    m, v = torch.zeros_like(theta), torch.zeros_like(theta)
    for t, g in enumerate(gradients, 1):
        m = (beta1 * m + (1 - beta1) * g) / (1 - beta1**t)
        v = (beta2 * v + (1 - beta2) * g**2) / (1 - beta2**t)
        theta = theta - learning_rate * m / (torch.sqrt(v) + eps)
    return theta


MEND = Exercise(
    name="adam.mend",
    returns="the weights after one step of Adam for each gradient, of shape (D,)",
    solution=adam_run,
    cases=(
        Case("one step", (float64(1.0, -2.0), float64([0.5, -3.0]), 0.1, 0.9, 0.999, 1e-8)),
        Case("five equal gradients", (float64(1.0, -2.0), float64([0.5, -3.0]).repeat(5, 1), 0.1, 0.9, 0.999, 1e-8)),
        Case("eight gradients of noise", (torch.zeros(3), normal(8, 3, seed=2), 0.01, 0.8, 0.9, 1e-8)),
    ),
    slips=(
        Slip(
            "at β₁ = 0.9 and β₂ = 0.999 the first step is 32 times as long as the learning rate says",
            _running(lambda m, v, p1, p2, b1, b2: (m / (1 - p1), v)),
        ),
        Slip(
            "at β₁ = 0.9 and β₂ = 0.999 the first step is a tenth of what the learning rate says",
            _running(lambda m, v, p1, p2, b1, b2: (m, v / (1 - p2))),
        ),
        Slip(
            "at β₁ = 0.9 and β₂ = 0.999 the first step is 3.2 times as long as the learning rate says",
            _running(lambda m, v, p1, p2, b1, b2: (m, v)),
        ),
        Slip(
            "the first step is right; from the second on the averages are too large, and they go on growing",
            _overwritten,
        ),
        Slip(
            "the first step is right; later ones go wrong, as if every step were the first",
            _running(lambda m, v, p1, p2, b1, b2: (m / (1 - b1), v / (1 - b2))),
        ),
    ),
    hints=(
        "At t = 1, write down by hand what m, v and the step are for a gradient of 2.",
        "Both averages start at 0, so both are too small at first: m by 1 - β₁ᵗ and v by 1 - β₂ᵗ.",
    ),
)


def edge(learning_rate, beta1):
    return (2 + 2 * beta1) / ((1 - beta1) * learning_rate)


EDGE = Exercise(
    name="adam.edge",
    returns="the largest preconditioned curvature at which Adam is stable, as one number",
    solution=edge,
    cases=(
        Case("β₁ = 0.9", (0.01, 0.9)),
        Case("no momentum", (0.5, 0.0)),
        Case("β₁ = 0.5", (0.1, 0.5)),
    ),
    slips=(
        Slip("2/α holds without momentum only", lambda learning_rate, beta1: 2 / learning_rate),
        Slip(
            "that is the heavy ball's; Adam's m adds only 1 - β₁ of each gradient, so its steps are shorter",
            lambda learning_rate, beta1: (2 + 2 * beta1) / learning_rate,
        ),
        Slip("38 is for β₁ = 0.9 only", lambda learning_rate, beta1: 38 / learning_rate),
        Slip(
            "1 - β₁ is on the wrong side: shorter steps bear more curvature, not less",
            lambda learning_rate, beta1: (2 + 2 * beta1) * (1 - beta1) / learning_rate,
        ),
    ),
    hints=(
        "With v held fixed, Adam is the heavy ball with η = α(1 - β₁) and the curvature h of P⁻¹H.",
        "Put η = α(1 - β₁) into η < (2 + 2β)/λ and solve for the curvature.",
    ),
)


def accumulated_step(w, batches, learning_rate):
    w = w.clone().requires_grad_()
    examples = sum(len(y) for X, y in batches)
    for X, y in batches:
        loss = ((X @ w - y) ** 2).mean()
        (loss * len(y) / examples).backward()  # adds to w.grad
    return (w - learning_rate * w.grad).detach()


def _accumulating(share):
    """A step along the sum of the gradients, each with a share of (this batch, all batches)."""

    def answer(w, batches, learning_rate):
        g = sum(share(y, batches) * 2 * X.T @ (X @ w - y) / len(y) for X, y in batches)
        return w - learning_rate * g

    return answer


def _step_by_step(w, batches, learning_rate):
    for X, y in batches:
        w = w - learning_rate * 2 * X.T @ (X @ w - y) / len(y)
    return w


_PARTS = tuple((normal(n, 2, seed=n), normal(n, seed=10 + n)) for n in (3, 4, 5))
_SAME = tuple((normal(4, 2, seed=n), normal(4, seed=10 + n)) for n in (6, 7))

ACCUMULATE = Exercise(
    name="adam.accumulate",
    returns="the weights after one step along the gradient of the whole batch, of shape (D,)",
    solution=accumulated_step,
    cases=(
        Case("one part: an ordinary step", (float64(1.0, -1.0), _SAME[:1], 0.1)),
        Case("two parts of four examples", (float64(1.0, -1.0), _SAME, 0.1)),
        Case("parts of 3, 4 and 5 examples", (float64(0.5, 2.0), _PARTS, 0.05)),
    ),
    slips=(
        Slip(
            "the gradients are added up but not divided: with two parts the step is twice as long as that of the batch",
            _accumulating(lambda y, batches: 1.0),
        ),
        Slip(
            "right for parts of one size, but a part of 3 examples must not count as much as one of 5: weigh each by "
            "its number of examples",
            _accumulating(lambda y, batches: 1 / len(batches)),
        ),
        Slip(
            "only the last part counts: its gradient has replaced those before it",
            _accumulating(lambda y, batches: float(y is batches[-1][1])),
        ),
        Slip("that is a step after every part; accumulate first, then take one step", _step_by_step),
        Slip(
            "each part's loss is a mean already; divided by the number of all examples once more it is far too small",
            _accumulating(lambda y, batches: 1 / sum(len(other) for _, other in batches)),
        ),
    ),
    hints=(
        "backward() adds to w.grad. So call it once for each part, and take one step at the end.",
        "The mean over all N examples is the sum over the parts of n/N times the mean over the n examples of each.",
    ),
)
