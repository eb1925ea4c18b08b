"""Exercises of notebook 03 that are whole loops and decisions: broken ones to mend, parameter groups, a strength."""

from __future__ import annotations

import torch
from torch import nn

from .exercise import Case, Exercise, Slip, float64, normal


def train_classifier(X, y, W, learning_rate, steps):
    for _ in range(steps):
        W = W.detach().requires_grad_()
        logits = X @ W
        loss = torch.nn.functional.cross_entropy(logits, y)
        (g,) = torch.autograd.grad(loss, W)
        W = W - learning_rate * g
    return W.detach()


def _trained(loss_of, sign=-1.0, adds_up=False, only_one=False):
    """The loop with one thing done otherwise."""

    def answer(X, y, W, learning_rate, steps):
        total = torch.zeros_like(W)
        for _ in range(1 if only_one else steps):
            W = W.detach().requires_grad_()
            (g,) = torch.autograd.grad(loss_of(X @ W, y), W)
            total = total + g if adds_up else g
            W = W + sign * learning_rate * total
        return W.detach()

    return answer


_F = nn.functional
_X, _Y = normal(6, 2, seed=5), torch.tensor([0, 1, 2, 1, 0, 2])

TRAIN_CLASSIFIER = Exercise(
    name="losses.train_classifier",
    returns="the weights (D, C) of a linear classifier after so many steps of gradient descent on its cross-entropy",
    solution=train_classifier,
    cases=(
        Case("three classes, one step", (_X, _Y, torch.zeros(2, 3).double(), 0.5, 1)),
        Case("three classes, twenty steps", (_X, _Y, normal(2, 3, seed=6), 0.5, 20)),
        Case("two classes, five steps", (_X, _Y.clamp(max=1), normal(2, 2, seed=7), 1.0, 5)),
    ),
    slips=(
        Slip(
            "with three classes the loss cannot fall below ln(1 + 2/e) = 0.55 nats, even where every answer is right "
            "and certain, and the weights hardly move where the model is certain and wrong",
            _trained(lambda z, y: _F.cross_entropy(z.softmax(dim=1), y)),
        ),
        Slip("the loss rises from step to step", _trained(_F.cross_entropy, sign=1.0)),
        Slip(
            "the steps grow and grow: each one holds the gradients of all before",
            _trained(_F.cross_entropy, adds_up=True),
        ),
        Slip("only one step is made, whatever steps says", _trained(_F.cross_entropy, only_one=True)),
        Slip(
            "each step is N times too long, so it depends on how many examples there are",
            _trained(lambda z, y: _F.cross_entropy(z, y, reduction="sum")),
        ),
        Slip(
            "the probabilities run over the examples: each column sums to 1 and not each row",
            _trained(lambda z, y: _F.nll_loss(z.log_softmax(dim=0), y)),
        ),
        Slip(
            "the probabilities themselves are pushed up and not their logarithms: certain and wrong, it learns nothing",
            _trained(lambda z, y: _F.nll_loss(z.softmax(dim=1), y)),
        ),
    ),
    hints=(
        "Print the loss over 1,000 steps on examples that are easy to tell apart. Where does it stop falling?",
        "What does torch.nn.functional.cross_entropy ask for: probabilities, or logits? (Its documentation says.)",
    ),
)


class _Network(nn.Module):
    """A small classifier whose dropout drops the same units at every call, so that a slip is recognized."""

    def __init__(self, training: bool) -> None:
        super().__init__()
        self.register_buffer("W", normal(3, 4, seed=8))
        self.register_buffer("V", normal(4, 2, seed=9))
        self.register_buffer("keep", torch.tensor([True, False, True, False]))
        self.train(training)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(x @ self.get_buffer("W").to(x.dtype))
        if self.training:
            hidden = torch.where(self.get_buffer("keep"), hidden / 0.5, 0.0)
        return hidden @ self.get_buffer("V").to(x.dtype)


def evaluate(model, X, y):
    was_training = model.training
    model.eval()
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(model(X), y)
    model.train(was_training)
    return loss, model.training


def _evaluated(before, after, reduction="mean"):
    """The evaluation with the mode set in another way."""

    def answer(model, X, y):
        was = model.training
        before(model)
        with torch.no_grad():
            loss = _F.cross_entropy(model(X), y, reduction=reduction)
        after(model, was)
        return loss, model.training

    return answer


_SEEN = normal(5, 3, seed=10), torch.tensor([0, 1, 1, 0, 1])

EVALUATE = Exercise(
    name="losses.evaluate",
    returns="the mean loss of the network as it will be used, and whether it is in training mode afterwards, as before",
    solution=evaluate,
    cases=(
        Case("a network in training mode", (_Network(True), *_SEEN)),
        Case("one that is in evaluation mode already, and stays so", (_Network(False), *_SEEN)),
    ),
    slips=(
        Slip(
            "called twice with a real network it gives two different losses, though nothing was trained in between",
            _evaluated(lambda model: None, lambda model, was: None),
        ),
        Slip(
            "the loss is right, but training goes on afterwards without its dropout",
            _evaluated(lambda model: model.eval(), lambda model, was: None),
        ),
        Slip(
            "a network that was handed over in evaluation mode comes back in training mode",
            _evaluated(lambda model: model.eval(), lambda model, was: model.train()),
        ),
        Slip(
            "the loss is the sum over the examples: it grows with the number of them",
            _evaluated(lambda model: model.eval(), lambda model, was: model.train(was), reduction="sum"),
        ),
    ),
    hints=(
        "Which layers do something else in training than in use? Which switch of a module tells them?",
        "Keep model.training, call model.eval(), measure, and put the mode back with model.train(was_training).",
    ),
)


def parameter_groups(names, shapes):
    decayed = [name for name, shape in zip(names, shapes, strict=True) if len(shape) >= 2]
    free = [name for name, shape in zip(names, shapes, strict=True) if len(shape) < 2]
    return tuple(decayed), tuple(free)


def _grouped(decays):
    def answer(names, shapes):
        pairs = list(zip(names, shapes, strict=True))
        chosen = [name for name, shape in pairs if decays(name, shape)]
        return tuple(chosen), tuple(name for name, _ in pairs if name not in chosen)

    return answer


_BERT = (
    ["embeddings.weight", "LayerNorm.weight", "LayerNorm.bias", "query.weight", "query.bias", "classifier.weight"],
    [(30522, 384), (384,), (384,), (384, 384), (384,), (2, 384)],
)
_RESNET = (
    ["conv1.weight", "bn1.weight", "bn1.bias", "downsample.0.weight", "downsample.1.weight", "fc.weight", "fc.bias"],
    [(64, 3, 7, 7), (64,), (64,), (128, 64, 1, 1), (128,), (10, 512), (10,)],
)

PARAMETER_GROUPS = Exercise(
    name="losses.parameter_groups",
    returns="the names of the parameters that are decayed, and of those that are not, each in the order given",
    solution=parameter_groups,
    cases=(
        Case("names and shapes of a BERT", _BERT),
        Case("of a ResNet, whose downsample.1 is a batch norm", _RESNET),
        Case(
            "a temperature of shape (), and matrices that are called what they are not",
            (["temperature", "unbiased.weight", "normal.weight"], [(), (4, 4), (4, 4)]),
        ),
    ),
    slips=(
        Slip(
            "the scales of the norms are decayed: they are vectors called weight",
            _grouped(lambda name, shape: not name.endswith("bias")),
        ),
        Slip(
            "swapped: the first of the two is what is decayed",
            lambda names, shapes: parameter_groups(names, shapes)[::-1],
        ),
        Slip(
            "a batch norm may be called bn1 or downsample.1: look at the shapes and not at the names",
            _grouped(lambda name, shape: not name.endswith("bias") and "norm" not in name.lower()),
        ),
        Slip(
            "kernels of convolutions are left out: they have four dimensions, and are decayed",
            _grouped(lambda name, shape: len(shape) == 2),
        ),
        Slip(
            "a parameter of shape () is one number, and as little a matrix as a vector is",
            _grouped(lambda name, shape: len(shape) != 1),
        ),
        Slip("everything is decayed", _grouped(lambda name, shape: True)),
    ),
    hints=(
        "Matrices and kernels mix many inputs; biases and scales hold one number a channel. How do shapes differ?",
        "zip(names, shapes) goes through both; a shape with two dimensions or more is decayed.",
    ),
)


def one_standard_error(losses):
    mean = losses.mean(dim=1)
    error = losses.std(dim=1) / losses.shape[1] ** 0.5
    best = int(mean.argmin())
    return max(k for k in range(len(mean)) if mean[k] <= mean[best] + error[best])


def _chosen(width, pick=max):
    """The rule with another width, or another pick of those within it."""

    def answer(losses):
        mean = losses.mean(dim=1)
        best = int(mean.argmin())
        limit = mean[best] + width(losses, best)
        return pick(k for k in range(len(mean)) if mean[k] <= limit)

    return answer


def _error(losses, k):
    return losses[k].std() / losses.shape[1] ** 0.5


def _within_its_own(losses):
    mean = losses.mean(dim=1)
    return max(k for k in range(len(mean)) if mean[k] - _error(losses, k) <= mean.min())


_SHIFT = float64(-1.0, -0.5, 0.0, 0.5, 1.0)

ONE_STANDARD_ERROR = Exercise(
    name="losses.one_standard_error",
    returns="the position (from 0) of the strongest setting within one standard error of the best",
    solution=one_standard_error,
    cases=(
        Case(
            "five seeds spread by 0.08 around means of 0.9, 0.6, 0.5, 0.53, 0.57, 0.8",
            (float64(0.9, 0.6, 0.5, 0.53, 0.57, 0.8)[:, None] + 0.1 * _SHIFT,),
        ),
        Case(
            "the best one steady, a stronger one with a wide spread",
            (float64(0.7, 0.5, 0.6, 0.9)[:, None] + float64(0.1, 0.02, 0.6, 0.1)[:, None] * _SHIFT,),
        ),
        Case("the strongest is the best", (float64(0.7, 0.6, 0.5)[:, None] + 0.1 * _SHIFT,)),
        Case(
            "weaker ones within the error as well",
            (float64(0.52, 0.50, 0.51, 0.56)[:, None] + 0.1 * _SHIFT,),
        ),
        Case("three seeds", (float64([0.5, 0.5, 0.5], [0.4, 0.5, 0.3], [0.44, 0.45, 0.46], [0.47, 0.46, 0.48]),)),
    ),
    slips=(
        Slip(
            "this is the setting with the lowest mean; take the strongest one that cannot be told apart from it",
            lambda losses: int(losses.mean(dim=1).argmin()),
        ),
        Slip(
            "the standard deviation of the seeds is taken; the standard error of their mean is smaller by √(number of "
            "seeds)",
            _chosen(lambda losses, k: losses[k].std()),
        ),
        Slip(
            "this is the weakest setting within one standard error; the list goes from weak to strong",
            _chosen(_error, pick=min),
        ),
        Slip(
            "the standard error of the best setting counts, not that of each candidate: a wide spread is no merit",
            _within_its_own,
        ),
        Slip("positions are counted from 0", lambda losses: one_standard_error(losses) + 1),
        Slip(
            "the lowest loss of any seed decides here; compare the means over the seeds",
            lambda losses: int(losses.min(dim=1).values.argmin()),
        ),
    ),
    hints=(
        "First the mean of each row and the row with the lowest; then the standard error of that row's mean.",
        "s / √n with s = losses[best].std(). Among the k whose mean is at most mean[best] + s / √n take the largest.",
    ),
)
