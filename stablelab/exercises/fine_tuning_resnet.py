"""The exercises of notebook 07: batch norm, weights whose length does not matter, branches with a placebo."""

from __future__ import annotations

import math

import torch

from .exercise import Case, Exercise, Slip, float64, normal
from .fine_tuning_resnet_loops import DIRECTIONS, RUNNING_MEAN, TRAIN_HEAD


def batch_norm(a, gamma, beta, eps):
    mean = a.mean(dim=(0, 2, 3), keepdim=True)  # (1, C, 1, 1)
    variance = ((a - mean) ** 2).mean(dim=(0, 2, 3), keepdim=True)
    normalized = (a - mean) / torch.sqrt(variance + eps)
    return gamma.view(1, -1, 1, 1) * normalized + beta.view(1, -1, 1, 1)  # (N, C, H, W)


def _normed(a, gamma, beta, eps, dims=(0, 2, 3), ddof=0, outside=False):
    mean = a.mean(dim=dims, keepdim=True)
    variance = ((a - mean) ** 2).sum(dim=dims, keepdim=True) / (a.numel() / mean.numel() - ddof)
    sigma = variance.sqrt() + eps if outside else torch.sqrt(variance + eps)
    return gamma.view(1, -1, 1, 1) * (a - mean) / sigma + beta.view(1, -1, 1, 1)


BATCH_NORM = Exercise(
    name="resnet.batch_norm",
    returns="the outputs of batch norm in training mode, of the shape of a",
    solution=batch_norm,
    cases=(
        Case("two pictures, three channels", (normal(2, 3, 2, 2, seed=0), torch.ones(3), torch.zeros(3), 1e-5)),
        Case(
            "means and scales of their own, a large ε",
            (3 + 2 * normal(3, 2, 2, 3, seed=1), float64(0.5, 2.0), float64(1.0, -1.0), 0.1),
        ),
    ),
    slips=(
        Slip(
            "each picture is normalized by itself; a channel has one mean over all pictures and all places",
            lambda a, gamma, beta, eps: _normed(a, gamma, beta, eps, dims=(2, 3)),
        ),
        Slip(
            "the mean runs over the channels as well; each channel has its own",
            lambda a, gamma, beta, eps: _normed(a, gamma, beta, eps, dims=(0, 1, 2, 3)),
        ),
        Slip(
            "divided by n - 1: torch's var and std do that unless told correction=0; batch norm divides by n",
            lambda a, gamma, beta, eps: _normed(a, gamma, beta, eps, ddof=1),
        ),
        Slip(
            "ε stands inside the root, beside the variance",
            lambda a, gamma, beta, eps: _normed(a, gamma, beta, eps, outside=True),
        ),
        Slip(
            "the mean is not subtracted",
            lambda a, gamma, beta, eps: (
                _normed(a, gamma, beta, eps)
                + (gamma.view(1, -1, 1, 1) * a.mean(dim=(0, 2, 3), keepdim=True))
                / torch.sqrt(a.var(dim=(0, 2, 3), keepdim=True, correction=0) + eps)
            ),
        ),
    ),
    hints=(
        "a.mean(dim=(0, 2, 3), keepdim=True) is one mean for each channel, of shape (1, C, 1, 1).",
        "γ and β have one number for each channel: gamma.view(1, -1, 1, 1) stands where the channels are.",
    ),
)


def turn(w, g, learning_rate):
    step = learning_rate * g
    length = torch.sqrt((w**2).sum() + (step**2).sum())
    return length, torch.rad2deg(torch.atan(step.norm() / w.norm()))


TURN = Exercise(
    name="resnet.turn",
    returns="the length of the weights after the step, and the angle in degrees by which they have turned",
    solution=turn,
    cases=(
        Case("weights of length 5, a step as long", (float64(3.0, 4.0), float64(-4.0, 3.0), 1.0)),
        Case("a small step", (float64(3.0, 4.0), float64(-4.0, 3.0), 0.01)),
        Case("three weights, a long step", (float64(0.0, 0.0, 0.5), float64(3.0, -4.0, 0.0), 2.0)),
    ),
    slips=(
        Slip(
            "the lengths of weights and step are added; they stand at a right angle, so their squares are",
            lambda w, g, learning_rate: (
                w.norm() + learning_rate * g.norm(),
                torch.rad2deg(torch.atan(learning_rate * g.norm() / w.norm())),
            ),
        ),
        Slip(
            "that is the squared length",
            lambda w, g, learning_rate: (turn(w, g, learning_rate)[0] ** 2, turn(w, g, learning_rate)[1]),
        ),
        Slip(
            "the angle is in radians; degrees are asked for",
            lambda w, g, learning_rate: (turn(w, g, learning_rate)[0], torch.deg2rad(turn(w, g, learning_rate)[1])),
        ),
        Slip(
            "step divided by length is the tangent of the angle, not its sine",
            lambda w, g, learning_rate: (
                turn(w, g, learning_rate)[0],
                torch.rad2deg(torch.asin((learning_rate * g.norm() / w.norm()).clamp(max=1))),
            ),
        ),
        Slip(
            "the gradient alone is taken for the step; the learning rate multiplies it",
            lambda w, g, learning_rate: turn(w, g, 1.0),
        ),
    ),
    hints=(
        "Draw the triangle: the weights, the step at a right angle to them, and the new weights.",
        "Its legs are ‖w‖ and η‖g‖. Pythagoras gives the length, the quotient of the legs the tangent of the angle.",
    ),
)


def equilibrium(learning_rate, weight_decay, G):
    shrink = 1 - learning_rate * weight_decay
    length = (learning_rate**2 * G**2 / (1 - shrink**2)) ** 0.25
    angle = math.atan(math.sqrt(1 - shrink**2) / shrink)
    return length, math.degrees(angle)


def _balance(length, angle):
    return lambda learning_rate, weight_decay, G: (
        length(learning_rate, weight_decay, G),
        angle(learning_rate, weight_decay, G),
    )


def _right_length(learning_rate, weight_decay, G):
    return equilibrium(learning_rate, weight_decay, G)[0]


def _right_angle(learning_rate, weight_decay, G):
    return equilibrium(learning_rate, weight_decay, G)[1]


EQUILIBRIUM = Exercise(
    name="resnet.equilibrium",
    returns="the length at which growth and decay balance, and the angle in degrees of each step there",
    solution=equilibrium,
    cases=(
        Case("η = 0.1, λ = 0.01, G = 1", (0.1, 0.01, 1.0)),
        Case("G four times as large", (0.1, 0.01, 4.0)),
        Case("η λ = 0.2", (2.0, 0.1, 3.0)),
    ),
    slips=(
        Slip(
            "right for small ηλ; one case has ηλ = 0.2, where 1 - (1 - ηλ)² is not 2ηλ",
            _balance(
                lambda eta, lam, G: (eta * G**2 / (2 * lam)) ** 0.25,
                lambda eta, lam, G: math.degrees(math.sqrt(2 * eta * lam)),
            ),
        ),
        Slip(
            "that is right for a gradient of length G whatever ‖w‖ is; it is G/‖w‖, so that ‖w‖⁴ stands alone",
            _balance(lambda eta, lam, G: _right_length(eta, lam, G) ** 2, _right_angle),
        ),
        Slip(
            "the angle is in radians",
            _balance(_right_length, lambda eta, lam, G: math.radians(_right_angle(eta, lam, G))),
        ),
        Slip(
            "the step is compared with the weights before they shrank; beside it in the triangle lies (1 - ηλ)w",
            _balance(_right_length, lambda eta, lam, G: math.degrees(math.atan(math.sqrt(1 - (1 - eta * lam) ** 2)))),
        ),
    ),
    hints=(
        "At the equilibrium the length after the step is the length before it: L² = (1 - ηλ)² L² + η² G²/L².",
        "Solve for L⁴. The step has length ηG/L, and it stands at a right angle on (1 - ηλ) w, of length (1 - ηλ) L.",
    ),
)


def placebo_test(touched, untouched):
    differences = torch.as_tensor(touched) - torch.as_tensor(untouched)  # (P,)
    P = len(differences)
    signs = torch.tensor([[1.0 if (i >> j) & 1 else -1.0 for j in range(P)] for i in range(2**P)])  # (2^P, P)
    means = (signs.to(differences) @ differences) / P
    observed = differences.mean()
    extreme = means.abs() >= observed.abs() - 1e-12
    return observed, extreme.double().mean()


def _flipped(difference, extreme):
    """A sign-flip test with another difference, or another idea of what is as extreme as what was seen."""

    def tested(touched, untouched):
        d = difference(touched, untouched)
        P = len(d)
        signs = torch.tensor([[1.0 if (i >> j) & 1 else -1.0 for j in range(P)] for i in range(2**P)]).to(d)
        return d.mean(), extreme((signs @ d) / P, d.mean()).double().mean()

    return tested


PLACEBO = Exercise(
    name="resnet.placebo",
    returns="the mean difference touched - untouched, and the share of the sign patterns that are at least as extreme",
    solution=placebo_test,
    cases=(
        Case(
            "five pairs, all worse",
            (float64(0.9, 1.1, 1.0, 1.3, 0.8), float64(0.2, 0.4, 0.1, 0.3, 0.6)),
        ),
        Case(
            "four pairs, mixed",
            (float64(0.31, 0.22, 0.40, 0.15), float64(0.25, 0.30, 0.20, 0.18)),
        ),
        Case("three pairs, all better", (float64(0.1, 0.2, 0.3), float64(0.5, 0.9, 0.4))),
    ),
    slips=(
        Slip(
            "the sign is turned: touched minus untouched",
            _flipped(lambda t, u: u - t, lambda m, o: m.abs() >= o.abs() - 1e-12),
        ),
        Slip(
            "one-sided: a mean as far below zero is as extreme as one above",
            _flipped(lambda t, u: t - u, lambda m, o: m >= o - 1e-12),
        ),
        Slip(
            "the pattern that was seen counts as well: at least as extreme, not more extreme",
            _flipped(lambda t, u: t - u, lambda m, o: m.abs() > o.abs() + 1e-12),
        ),
        Slip(
            "that is the share of patterns that are less extreme",
            _flipped(lambda t, u: t - u, lambda m, o: m.abs() < o.abs() - 1e-12),
        ),
    ),
    hints=(
        "If touching did nothing, each difference could as well have had the other sign.",
        "Go through all 2ᴾ patterns of signs, and take the mean of the differences under each.",
        "Count the patterns whose mean is at least as far from zero as the one seen; the seen pattern is one of them. "
        "Allow 1e-12 for rounding.",
    ),
)

EXERCISES: tuple[Exercise, ...] = (
    BATCH_NORM,
    TURN,
    DIRECTIONS,
    RUNNING_MEAN,
    EQUILIBRIUM,
    PLACEBO,
    TRAIN_HEAD,
)
