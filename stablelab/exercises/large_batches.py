"""The exercises of notebook 12 on big batches: the noise scale from two batches, and the rate for another batch."""

from __future__ import annotations

from .exercise import Case, Exercise, Slip, float64, normal


def noise_scale(gradients):
    n = len(gradients)
    small = (gradients**2).sum(dim=1).mean()
    big = (gradients.mean(dim=0) ** 2).sum()
    square = (n * big - small) / (n - 1)
    trace = (small - big) / (1 - 1 / n)
    return trace / square


def _noise(square=lambda n, s, b: (n * b - s) / (n - 1), trace=lambda n, s, b: (s - b) / (1 - 1 / n)):
    """The noise scale with one thing done otherwise."""

    def answer(gradients):
        n = len(gradients)
        small, big = (gradients**2).sum(dim=1).mean(), (gradients.mean(dim=0) ** 2).sum()
        return trace(n, small, big) / square(n, small, big)

    return answer


def _lengths_averaged(gradients):
    n = len(gradients)
    small, big = gradients.norm(dim=1).mean() ** 2, (gradients.mean(dim=0) ** 2).sum()
    return (small - big) / (1 - 1 / n) / ((n * big - small) / (n - 1))


def _entry_by_entry(gradients):
    n = len(gradients)
    trace, mean = gradients.var(dim=0), gradients.mean(dim=0)
    return (trace / (mean**2 - trace / n)).mean()


NOISE_SCALE = Exercise(
    name="small.noise_scale",
    returns="one number, tr(Σ) / |G|², both estimated without bias from the gradients of n single examples",
    solution=noise_scale,
    cases=(
        Case("four gradients of two weights", (float64([3.0, 0.0], [1.0, 2.0], [2.0, 2.0], [4.0, 1.0]),)),
        Case("more noise than signal", (normal(12, 30, seed=1) + 0.6,)),
        Case("hardly any noise", (0.05 * normal(5, 8, seed=2) + 1.0,)),
        Case("two gradients only", (float64([2.0, 1.0, 0.0], [1.0, 2.0, 0.5]),)),
    ),
    slips=(
        Slip("|ḡ|² is too long by tr(Σ)/n: that must be taken off", _noise(square=lambda n, s, b: b)),
        Slip("the sum of squares is divided by n - 1, not by n", _noise(trace=lambda n, s, b: s - b)),
        Slip("the noise is divided by the signal, not the signal by the noise", lambda g: 1 / noise_scale(g)),
        Slip("both must be estimated without bias", _noise(lambda n, s, b: b, lambda n, s, b: s - b)),
        Slip("the squared lengths are averaged, not the lengths", _lengths_averaged),
        Slip("the squares are added up over the weights before anything is divided", _entry_by_entry),
        Slip("that is the noise of a batch of n, tr(Σ)/n", lambda g: noise_scale(g) / len(g)),
    ),
    hints=(
        "E|g|² = |G|² + tr(Σ) for one example, and |G|² + tr(Σ)/n for the mean of n: two equations, two unknowns.",
        "|G|² ≈ (n big - small) / (n - 1), tr(Σ) ≈ (small - big) / (1 - 1/n): mean of |g|² is small, |mean|² is big.",
    ),
)


def scaled_rate(rate, batch, new_batch, adaptive):
    k = new_batch / batch
    return rate * k**0.5 if adaptive else rate * k


SCALED_RATE = Exercise(
    name="small.scaled_rate",
    returns="the learning rate for the new batch: in proportion to it, or for an adaptive optimizer to its square root",
    solution=scaled_rate,
    cases=(
        Case("four times the batch, gradient descent", (0.1, 16, 64, False)),
        Case("sixteen times the batch, Adam", (1e-4, 16, 256, True)),
        Case("a smaller batch, gradient descent", (0.3, 128, 32, False)),
        Case("a smaller batch, Adam, no whole ratio", (1e-3, 96, 40, True)),
    ),
    slips=(
        Slip("the square root is for the adaptive one", lambda r, b, n, a: scaled_rate(r, b, n, not a)),
        Slip("the ratio is new over old", lambda r, b, n, a: scaled_rate(r, n, b, a)),
        Slip("for gradient descent it is in proportion", lambda r, b, n, a: scaled_rate(r, b, n, True)),
        Slip("for Adam it is the square root", lambda r, b, n, a: scaled_rate(r, b, n, False)),
        Slip(
            "a whole division loses the rest, and is 0 for a smaller batch",
            lambda r, b, n, a: r * (n // b) ** (1 - a / 2),
        ),
    ),
    hints=(
        "Which power of k = new_batch / batch does each rule take? What is k for a batch that is smaller?",
        "rate * k for gradient descent, rate * k ** 0.5 where adaptive is true.",
    ),
)

EXERCISES = (NOISE_SCALE, SCALED_RATE)
