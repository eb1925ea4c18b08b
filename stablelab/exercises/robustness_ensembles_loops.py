"""The exercises of notebook 10 on a temperature that is fitted and on weights averaged along a run."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .exercise import Case, Exercise, Slip, normal


def temperature(logits, targets):
    chosen = logits.gather(1, targets.unsqueeze(1)).mean()
    low, high = math.log(0.01), math.log(100.0)  # of log(1/T)
    for _ in range(60):  # the slope in 1/T grows with 1/T, so halve the interval in which it is 0
        middle = (low + high) / 2
        p = torch.softmax(logits * math.exp(middle), dim=1)
        slope = (p * logits).sum(dim=1).mean() - chosen
        low, high = (middle, high) if slope < 0 else (low, middle)
    return math.exp(-middle)


def _confidence_matched(logits: Tensor, targets: Tensor) -> float:
    """T with which the mean confidence is the accuracy."""
    accuracy = (logits.argmax(1) == targets).double().mean()
    low, high = 0.01, 100.0
    for _ in range(60):
        T = math.sqrt(low * high)
        low, high = (T, high) if (logits / T).softmax(1).amax(1).mean() > accuracy else (low, T)
    return T


def _largest_gradient(logits: Tensor, targets: Tensor) -> float:
    """T of the lowest mean squared distance of the probabilities from the targets."""
    hot = torch.nn.functional.one_hot(targets, logits.shape[1])
    grid = torch.logspace(-2, 2, 4001, dtype=torch.float64)
    errors = torch.stack([((logits / T).softmax(1) - hot).square().sum(1).mean() for T in grid])
    return grid[errors.argmin()].item()


def _answers(N: int, C: int, factor: float, seed: int) -> tuple[Tensor, Tensor]:
    """Logits that are ``factor`` times those from which the targets were drawn."""
    z = 2 * normal(N, C, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    return factor * z, torch.multinomial(z.softmax(1), 1, generator=generator).squeeze(1)


TEMPERATURE = Exercise(
    name="ensembles.temperature",
    returns="the temperature T > 0, one number, with which the mean cross-entropy of softmax(logits / T) is lowest",
    solution=temperature,
    cases=(
        Case("too sure: logits three times too large", _answers(80, 4, 3.0, 40)),
        Case("not sure enough: logits a third of what they should be", _answers(80, 3, 1 / 3, 41)),
        Case("two classes, much too sure", _answers(60, 2, 8.0, 42)),
    ),
    slips=(
        Slip("that is 1/T: a temperature above 1 makes answers less sure", lambda z, y: 1 / temperature(z, y)),
        Slip(
            "the mean confidence is the accuracy there, which is not the same as the lowest cross-entropy",
            _confidence_matched,
        ),
        Slip("the squared distance is lowest there; the cross-entropy is asked for", _largest_gradient),
        Slip("that is the logarithm of T", lambda z, y: math.log(temperature(z, y))),
        Slip("those are the scaled logits; return T itself, one number", lambda z, y: z / temperature(z, y)),
        Slip("nothing was fitted: at T = 1 the answers stay as they are", lambda z, y: 1.0),
    ),
    hints=(
        "One number is sought, so even a search will do: shrink an interval of T round the lowest loss, over and over.",
        "With b = 1/T the loss is convex, and its slope is the mean of sum(p * z) - z_y, which grows with b.",
        "Begin with b between 0.01 and 100 and halve the interval (of log b) where the slope changes its sign.",
    ),
    tolerance=2e-3,
)


def swa(theta, gradient, learning_rate, steps, start):
    average = torch.zeros_like(theta)
    for k in range(steps):
        theta = theta - learning_rate * gradient(theta, k)
        if k >= start:
            average = average + (theta - average) / (k - start + 1)
    return theta, average


def _trace(theta, gradient, learning_rate, steps):
    """The weights before the first step and after each."""
    weights = [theta]
    for k in range(steps):
        weights.append(weights[-1] - learning_rate * gradient(weights[-1], k))
    return weights


def _mean_of(choose):
    def answer(theta, gradient, learning_rate, steps, start):
        weights = _trace(theta, gradient, learning_rate, steps)
        return weights[-1], torch.stack(choose(weights, start)).mean(dim=0)

    return answer


def _never_reset(theta, gradient, learning_rate, steps, start):
    weights = _trace(theta, gradient, learning_rate, steps)
    average = weights[0]
    for k in range(start, steps):
        average = average + (weights[k + 1] - average) / (k + 1)
    return weights[-1], average


def _halves(theta, gradient, learning_rate, steps, start):
    weights = _trace(theta, gradient, learning_rate, steps)
    average = weights[start + 1]
    for later in weights[start + 2 :]:
        average = (average + later) / 2
    return weights[-1], average


def _noisy_bowl(theta, k):
    """The gradient of a round bowl, off by a push that changes its sign at every step."""
    return theta + (-1.0) ** k * (2.0 + 0.1 * k)


def _valley(theta, k):
    return theta * torch.tensor([0.2, 3.0], dtype=theta.dtype) + math.sin(k)


SWA = Exercise(
    name="ensembles.swa",
    returns="the last weights, and the mean of the weights after each step from number start on",
    solution=swa,
    cases=(
        Case(
            "one weight thrown back and forth, averaged over all steps", (torch.tensor([3.0]), _noisy_bowl, 0.5, 6, 0)
        ),
        Case("the same, averaged over the last three steps", (torch.tensor([3.0]), _noisy_bowl, 0.5, 7, 4)),
        Case("a valley of two weights", (torch.tensor([2.0, -1.0]), _valley, 0.3, 9, 4)),
    ),
    slips=(
        Slip("both results are the last weights", _mean_of(lambda weights, start: weights[-1:])),
        Slip("the average still holds a share of the weights with which the run began", _never_reset),
        Slip("the later the weights, the more they count; in a mean all count alike", _halves),
        Slip(
            "the mean takes the weights before each step; those after it are asked for",
            _mean_of(lambda weights, start: weights[start:-1]),
        ),
        Slip(
            "the mean begins a step too late",
            _mean_of(lambda weights, start: weights[start + 2 :]),
        ),
        Slip("all steps are in the mean, also those before start", _mean_of(lambda weights, start: weights[1:])),
    ),
    hints=(
        "How many tensors does this code hold? average = theta gives a second name to the first one.",
        "After n weights the mean moves by (theta - average) / (n + 1). What is n at step k, counted from start?",
    ),
)


EXERCISES = (TEMPERATURE, SWA)
