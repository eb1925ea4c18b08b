"""The exercises of notebook 01: gradient descent, on a quadratic and in noise."""

from __future__ import annotations

import math

import torch

from .exercise import Case, Exercise, Slip, float64
from .gradient_descent_loops import ACCUMULATED, BATCH, CHOOSE, HESSIAN_VECTOR, NUMERICAL, SIGN

_TURNED = float64([5.0, 2.0], [2.0, 1.0])
_THREE = float64([4.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.0, -1.0, 2.0])


def step(theta, g, learning_rate):
    return theta - learning_rate * g


STEP = Exercise(
    name="descent.step",
    returns="the weights after one step of gradient descent",
    solution=step,
    cases=(
        Case("two weights, η = 0.1", (torch.tensor([1.0, -2.0]), torch.tensor([0.5, 0.25]), 0.1)),
        Case("a matrix of weights, η = 0.5", (torch.ones(2, 3), torch.arange(6.0).reshape(2, 3), 0.5)),
        Case("a gradient of zero: nothing moves", (torch.tensor([3.0]), torch.tensor([0.0]), 0.1)),
        Case("η = 1", (torch.tensor([0.0, 4.0]), torch.tensor([3.0, -4.0]), 1.0)),
    ),
    slips=(
        Slip(
            "the step goes uphill: the gradient points where the loss grows, so subtract it",
            lambda theta, g, learning_rate: theta + learning_rate * g,
        ),
        Slip("the learning rate is missing", lambda theta, g, learning_rate: theta - g),
        Slip(
            "the gradient is made as long as 1 first; the step is η times the gradient as it is, long or short",
            lambda theta, g, learning_rate: theta - learning_rate * g / g.norm().clamp(min=1e-30),
        ),
        Slip("only the step is returned; add it to theta", lambda theta, g, learning_rate: -learning_rate * g),
    ),
    hints=(
        "The loss grows fastest along g. You want the opposite direction.",
        "The step is δ = -η g. What comes back is θ + δ, with the same shape as θ.",
    ),
)


def forecast(g, H, learning_rate):
    delta = -learning_rate * g
    return torch.dot(g, delta) + 0.5 * torch.dot(delta, H @ delta)


FORECAST = Exercise(
    name="descent.forecast",
    returns="the change of the loss in one step, to second order, as one number",
    solution=forecast,
    cases=(
        Case("H is diagonal, η below 2/λ_max", (torch.tensor([1.0, 2.0]), torch.diag(torch.tensor([2.0, 4.0])), 0.1)),
        Case("axes turned", (torch.tensor([1.0, -1.0]), _TURNED, 0.25)),
        Case("η above 2/λ_max: the loss grows", (torch.tensor([0.0, 2.0]), torch.diag(torch.tensor([1.0, 10.0])), 0.5)),
        Case("three weights", (torch.tensor([1.0, 2.0, 3.0]), _THREE, 0.2)),
    ),
    slips=(
        Slip(
            "that is the first order only; ½ δᵀHδ is missing",
            lambda g, H, learning_rate: -learning_rate * torch.dot(g, g),
        ),
        Slip(
            "the quadratic term lacks its ½",
            lambda g, H, learning_rate: -learning_rate * torch.dot(g, g) + learning_rate**2 * torch.dot(g, H @ g),
        ),
        Slip(
            "η must stand squared in the quadratic term: it is ½ δᵀHδ with δ = -η g, and δ appears twice",
            lambda g, H, learning_rate: -learning_rate * torch.dot(g, g) + 0.5 * learning_rate * torch.dot(g, H @ g),
        ),
        Slip(
            "that is how far the loss falls; its change has the opposite sign",
            lambda g, H, learning_rate: learning_rate * torch.dot(g, g) - 0.5 * learning_rate**2 * torch.dot(g, H @ g),
        ),
        Slip(
            "the linear term has the wrong sign: g·δ with δ = -η g is negative",
            lambda g, H, learning_rate: learning_rate * torch.dot(g, g) + 0.5 * learning_rate**2 * torch.dot(g, H @ g),
        ),
    ),
    hints=(
        "Taylor: f(θ + δ) - f(θ) = g·δ + ½ δᵀHδ + …, and the step is δ = -η g.",
        "In PyTorch the quadratic term is 0.5 * torch.dot(delta, H @ delta).",
    ),
)


def threshold(H):
    lambdas = torch.linalg.eigvalsh(H)  # in ascending order
    return 2 / lambdas[-1]


_BOWLS = (
    Case("H is diagonal", (torch.diag(torch.tensor([8.0, 0.5])),)),
    Case("axes turned", (_TURNED,)),
    Case("three weights", (_THREE,)),
    Case("a long valley", (torch.diag(torch.tensor([0.25, 100.0])),)),
    Case("three weights, two of them steep", (torch.diag(torch.tensor([9.0, 8.0, 1.0])),)),
)

THRESHOLD = Exercise(
    name="descent.threshold",
    returns="the learning rate above which descent on ½ θᵀHθ diverges, as one number",
    solution=threshold,
    cases=_BOWLS,
    slips=(
        Slip(
            "1/λ_max is the learning rate whose promised gain is largest; divergence begins at twice that",
            lambda H: 1 / torch.linalg.eigvalsh(H)[-1],
        ),
        Slip(
            "that is 2/λ_min; the steepest direction diverges first, and it has the largest eigenvalue",
            lambda H: 2 / torch.linalg.eigvalsh(H)[0],
        ),
        Slip(
            "that takes the sum of the eigenvalues (the trace); only the largest one counts",
            lambda H: 2 / H.trace(),
        ),
        Slip(
            "that takes the largest entry of H; it is an eigenvalue only where H is diagonal",
            lambda H: 2 / H.max(),
        ),
    ),
    hints=(
        "Along eigenvector i each step multiplies by 1 - ηλᵢ. For which η is the size of that factor above 1?",
        "torch.linalg.eigvalsh(H) returns the eigenvalues of a symmetric matrix, the smallest first.",
    ),
)


def best(H):
    lambdas = torch.linalg.eigvalsh(H)
    low, high = lambdas[0], lambdas[-1]
    return 2 / (high + low), (high - low) / (high + low)


def _of_extremes(combine):
    """An answer made of the smallest and of the largest eigenvalue."""

    def answer(H):
        lambdas = torch.linalg.eigvalsh(H)
        return combine(lambdas[0], lambdas[-1])

    return answer


BEST = Exercise(
    name="descent.best",
    returns="two numbers: the learning rate η* with the fastest worst direction, and the factor ρ* of that direction",
    solution=best,
    cases=_BOWLS,
    slips=(
        Slip(
            "η = 1/λ_max is safe, but a larger one shrinks the flattest direction faster",
            _of_extremes(lambda low, high: (1 / high, 1 - low / high)),
        ),
        Slip(
            "the 2 in η* = 2/(λ_max + λ_min) is missing",
            _of_extremes(lambda low, high: (1 / (high + low), (high - low) / (high + low))),
        ),
        Slip("the two numbers are swapped: first η*, then ρ*", lambda H: best(H)[::-1]),
        Slip(
            "that is one over the mean of all eigenvalues; only the largest and the smallest pull η apart",
            lambda H: (len(H) / H.trace(), best(H)[1]),
        ),
        Slip(
            "the square roots belong to momentum; plain descent has (κ - 1)/(κ + 1) with κ itself",
            _of_extremes(lambda low, high: (2 / (high + low), (high**0.5 - low**0.5) / (high**0.5 + low**0.5))),
        ),
    ),
    hints=(
        "The two extreme directions pull η apart: |1 - ηλ_min| falls as η grows, |1 - ηλ_max| rises past 1/λ_max.",
        "They meet where 1 - ηλ_min = ηλ_max - 1. Solve for η, and put it back for ρ.",
    ),
)


def floor(learning_rate, curvature, variance, batch_size):
    of_the_mean = variance / batch_size
    return learning_rate * of_the_mean / (curvature * (2 - learning_rate * curvature))


FLOOR = Exercise(
    name="descent.floor",
    returns="the noise floor V of the mean of θ², as one number",
    solution=floor,
    cases=(
        Case("batches of one", (0.1, 1.0, 1.0, 1)),
        Case("batches of sixteen", (0.1, 2.0, 9.0, 16)),
        Case("a learning rate close to 2/λ", (0.9, 2.0, 4.0, 2)),
        Case("a flat direction", (0.5, 0.01, 0.25, 8)),
    ),
    slips=(
        Slip(
            "the batch is missing: the mean of B independent gradients has 1/B of the variance of one",
            lambda learning_rate, curvature, variance, batch_size: floor(learning_rate, curvature, variance, 1),
        ),
        Slip(
            "the variance of a mean falls with B; it is the standard deviation that falls with √B",
            lambda learning_rate, curvature, variance, batch_size: floor(
                learning_rate, curvature, variance, math.sqrt(batch_size)
            ),
        ),
        Slip(
            "that is the approximation for small η; near 2/λ the factor 2 - ηλ matters",
            lambda learning_rate, curvature, variance, batch_size: (
                learning_rate * variance / batch_size / (2 * curvature)
            ),
        ),
        Slip(
            "variance is σ² already; do not square it",
            lambda learning_rate, curvature, variance, batch_size: floor(
                learning_rate, curvature, variance**2, batch_size
            ),
        ),
        Slip(
            "λ is missing in front of the bracket: V = ησ²/(λ(2 - ηλ))",
            lambda learning_rate, curvature, variance, batch_size: (
                floor(learning_rate, curvature, variance, batch_size) * curvature
            ),
        ),
    ),
    hints=(
        "First the noise of one batch: averaging B independent gradients divides the variance by B.",
        "Then V = ησ²/(λ(2 - ηλ)), with the σ² of the batch.",
    ),
)


def power_iteration(product, v, steps):
    for _ in range(steps):
        v = product(v)
        v = v / v.norm()
    return torch.dot(v, product(v))


def _iterate(product, v, steps, length=torch.linalg.vector_norm):
    """The last v, and its product, where each v is divided by another length."""
    for _ in range(steps):
        v = product(v)
        v = v / length(v)
    return v, product(v)


_SADDLE = float64([1.0, 0.5, 0.0], [0.5, -6.0, 0.0], [0.0, 0.0, 2.0])

POWER = Exercise(
    name="descent.power_iteration",
    returns="the eigenvalue that is largest in size, with its sign, as one number",
    solution=power_iteration,
    cases=(
        Case("two weights", (lambda v: _TURNED.to(v) @ v, torch.tensor([1.0, 0.0]), 40)),
        Case("a Hessian that is never formed", (lambda v: 3 * v + 4 * v.mean(), torch.tensor([1.0, 2.0, -0.5]), 60)),
        Case("the largest one is negative", (lambda v: _SADDLE.to(v) @ v, torch.tensor([1.0, 1.0, 1.0]), 60)),
        Case("a start that is not of length 1", (lambda v: _THREE.to(v) @ v, torch.tensor([10.0, 0.0, 10.0]), 100)),
    ),
    slips=(
        Slip(
            "v grows from product to product; divide it by its length each time, or the quotient by v·v",
            lambda product, v, steps: torch.dot(*_iterate(product, v, steps, length=lambda v: 1)),
        ),
        Slip(
            "the length of Hv loses the sign of the eigenvalue; v·Hv keeps it",
            lambda product, v, steps: _iterate(product, v, steps)[1].norm(),
        ),
        Slip(
            "v must have length 1 (the root of v·v) for v·Hv to be the eigenvalue",
            lambda product, v, steps: torch.dot(*_iterate(product, v, steps, length=lambda v: v.abs().max())),
        ),
        Slip(
            "one product is not enough: repeat it `steps` times",
            lambda product, v, steps: power_iteration(product, v, 1),
        ),
    ),
    hints=(
        "Write v in the eigenvectors of H: a product multiplies the share along eigenvector i by λᵢ. Which wins?",
        "Repeat: v = product(v), then v = v / v.norm().",
        "Once v is an eigenvector of length 1, Hv = λv, so v·Hv = λ.",
    ),
)


EXERCISES = (
    STEP,
    NUMERICAL,
    FORECAST,
    SIGN,
    THRESHOLD,
    BEST,
    CHOOSE,
    ACCUMULATED,
    FLOOR,
    BATCH,
    HESSIAN_VECTOR,
    POWER,
)
