"""Exercises of notebook 03 on the regularizers of fine-tuning: the pull to the pre-trained weights, smoothed labels."""

from __future__ import annotations

import torch

from .exercise import Case, Exercise, Slip, float64, normal


def decay_step(theta, g, pretrained, learning_rate, strength):
    return theta - learning_rate * (g + strength * (theta - pretrained))


_THETA, _G, _START = float64(1.0, -2.0, 0.5), float64(0.5, 0.25, -1.0), float64(0.5, -1.0, 0.75)

DECAY_STEP = Exercise(
    name="losses.decay_step",
    returns="the weights after one step on the loss plus λ times half the squared distance to the pre-trained ones",
    solution=decay_step,
    cases=(
        Case("three weights, η = 0.1, λ = 2", (_THETA, _G, _START, 0.1, 2.0)),
        Case("no gradient: only the pull is left", (_THETA, torch.zeros(3).double(), _START, 0.5, 0.4)),
        Case("at the pre-trained weights nothing pulls", (_START, _G, _START, 0.5, 3.0)),
        Case(
            "pre-trained weights of 0: weight decay",
            (normal(2, 3, seed=1), normal(2, 3, seed=2), 0 * normal(2, 3, seed=1), 0.2, 0.5),
        ),
    ),
    slips=(
        Slip(
            "this pulls towards 0, as weight decay does, and away from what pre-training has found",
            lambda theta, g, pretrained, learning_rate, strength: theta - learning_rate * (g + strength * theta),
        ),
        Slip(
            "the pull has the wrong sign: it drives the weights away from the pre-trained ones",
            lambda theta, g, pretrained, learning_rate, strength: (
                theta - learning_rate * (g - strength * (theta - pretrained))
            ),
        ),
        Slip(
            "the pull is a part of the gradient, so the learning rate multiplies it as well",
            lambda theta, g, pretrained, learning_rate, strength: (
                theta - learning_rate * g - strength * (theta - pretrained)
            ),
        ),
        Slip(
            "a factor of 2: the penalty has a ½ in front, so its gradient is λ (θ - θ⁰)",
            lambda theta, g, pretrained, learning_rate, strength: (
                theta - learning_rate * (g + 2 * strength * (theta - pretrained))
            ),
        ),
        Slip(
            "the pull is missing",
            lambda theta, g, pretrained, learning_rate, strength: theta - learning_rate * g,
        ),
        Slip(
            "the step starts at θ, not at the pre-trained weights",
            lambda theta, g, pretrained, learning_rate, strength: (
                pretrained - learning_rate * (g + strength * (theta - pretrained))
            ),
        ),
    ),
    hints=(
        "Differentiate ½ λ ‖θ - θ⁰‖² with respect to θ, and add it to g.",
        "θ - η (g + λ (θ - θ⁰)).",
    ),
)


def mixout(theta, pretrained, keep, p):
    return pretrained + torch.where(keep, (theta - pretrained) / (1 - p), 0.0)


_KEEP = torch.tensor([True, False, True])

MIXOUT = Exercise(
    name="losses.mixout",
    returns="the weights used in this step: dropout of the difference from the pre-trained ones",
    solution=mixout,
    cases=(
        Case("three weights, one put back, p = 0.2", (_THETA, _START, _KEEP, 0.2)),
        Case("p = 0.75", (_THETA, _START, ~_KEEP, 0.75)),
        Case("pre-trained weights of 0: dropout", (_THETA, torch.zeros(3).double(), _KEEP, 0.5)),
        Case("p = 0, all kept", (normal(2, 2, seed=3), normal(2, 2, seed=4), torch.ones(2, 2, dtype=torch.bool), 0.0)),
    ),
    slips=(
        Slip(
            "weights are put back, but what is kept is not scaled: the mean is drawn towards the pre-trained weights",
            lambda theta, pretrained, keep, p: torch.where(keep, theta, pretrained),
        ),
        Slip(
            "this is dropout: a weight that is not kept becomes the pre-trained one, not 0",
            lambda theta, pretrained, keep, p: torch.where(keep, theta / (1 - p), 0.0),
        ),
        Slip(
            "the whole weight is scaled up; only its difference from the pre-trained one is",
            lambda theta, pretrained, keep, p: torch.where(keep, theta / (1 - p), pretrained),
        ),
        Slip(
            "the mask is upside down: True means that the weight is kept",
            lambda theta, pretrained, keep, p: mixout(theta, pretrained, ~keep, p),
        ),
        Slip(
            "p is the probability of being put back; divide by that of being kept, 1 - p",
            lambda theta, pretrained, keep, p: (
                pretrained + torch.where(keep, (theta - pretrained) / (p or float("inf")), 0.0)
            ),
        ),
        Slip(
            "the difference alone: add it to the pre-trained weights",
            lambda theta, pretrained, keep, p: torch.where(keep, (theta - pretrained) / (1 - p), 0.0),
        ),
    ),
    hints=(
        "You have dropout already. Of which tensor must it be taken, so that what is dropped lands on θ⁰?",
        "pretrained + my_dropout(theta - pretrained, keep, p).",
    ),
)


def smoothed_targets(targets, classes, epsilon):
    onehot = torch.nn.functional.one_hot(targets, classes)
    return (1 - epsilon) * onehot + epsilon / classes


def _hot(targets, classes):
    return torch.nn.functional.one_hot(targets, classes).double()


SMOOTHED_TARGETS = Exercise(
    name="losses.smoothed_targets",
    returns="for each example the probabilities (N, C) that label smoothing has the model aim at",
    solution=smoothed_targets,
    cases=(
        Case("two examples, three classes, ε = 0.3", (torch.tensor([0, 2]), 3, 0.3)),
        Case("two classes, ε = 0.1", (torch.tensor([1, 0, 1]), 2, 0.1)),
        Case("ε = 0: the labels as they are", (torch.tensor([3, 1]), 4, 0.0)),
        Case("ε = 1: nothing is left of the labels", (torch.tensor([2]), 5, 1.0)),
    ),
    slips=(
        Slip(
            "ε is spread over the wrong classes only; here the right class gets its share ε / C as well",
            lambda targets, classes, epsilon: (
                (1 - epsilon) * _hot(targets, classes) + epsilon / (classes - 1) * (1 - _hot(targets, classes))
            ),
        ),
        Slip(
            "the rows do not sum to 1: what is spread has to be taken from the right class, (1 - ε)",
            lambda targets, classes, epsilon: _hot(targets, classes) + epsilon / classes,
        ),
        Slip(
            "ε is given to every class; all classes together get ε, each one ε / C",
            lambda targets, classes, epsilon: (1 - epsilon) * _hot(targets, classes) + epsilon,
        ),
        Slip(
            "the right class keeps the share ε; it is to lose it",
            lambda targets, classes, epsilon: epsilon * _hot(targets, classes) + (1 - epsilon) / classes,
        ),
        Slip(
            "nothing is spread: the rest, ε, goes to all classes evenly",
            lambda targets, classes, epsilon: (1 - epsilon) * _hot(targets, classes),
        ),
    ),
    hints=(
        "A share 1 - ε of the time the label is right; a share ε of the time any of the C classes, all equally likely.",
        "onehot = torch.nn.functional.one_hot(targets, classes); then (1 - ε) onehot + ε / C.",
    ),
)
