"""The exercises of notebook 07: batch norm, weights whose length does not matter, branches with a placebo."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .exercise import Case, Exercise, Slip, float64, normal


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
            "each picture is normalized by itself; a channel has one mean over all pictures of the batch and all places",
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


def directions(w, gradient, learning_rate, steps):
    length = w.norm()
    u = w / length
    path = []
    for _ in range(steps):
        v = u - learning_rate / length**2 * gradient(u)  # the effective learning rate
        length = length * v.norm()
        u = v / v.norm()
        path.append(u)
    return torch.stack(path)  # (steps, d)


def _towards(target: Tensor):
    """Gradient of 1 - cos of the angle between w and a target: of a loss that knows no length."""
    t = target / target.norm()

    def gradient(w):
        u = w / w.norm()
        return -(t.to(u) - (u @ t.to(u)) * u) / w.norm()

    return gradient


def _on_the_sphere(rate):
    """Directions under another learning rate of the direction, which is told length, η and ‖v‖."""

    def walked(w, gradient, learning_rate, steps):
        length, path = w.norm(), []
        u = w / length
        for _ in range(steps):
            v = u - rate(learning_rate, length) * gradient(u)
            length = length * v.norm()
            u = v / v.norm()
            path.append(u)
        return torch.stack(path)

    return walked


def _fixed_length(w, gradient, learning_rate, steps):
    return _on_the_sphere(lambda rate, length: rate / w.norm() ** 2)(w, gradient, learning_rate, steps)


def _plain(w, gradient, learning_rate, steps):
    path = []
    for _ in range(steps):
        w = w - learning_rate * gradient(w)
        path.append(w)
    return torch.stack(path)


DIRECTIONS = Exercise(
    name="resnet.directions",
    returns="the directions after each step, a (steps, d) tensor whose rows have length 1",
    solution=directions,
    cases=(
        Case("weights of length 2", (float64(2.0, 0.0), _towards(float64(1.0, 2.0)), 1.0, 3)),
        Case(
            "short weights, a large rate",
            (float64(0.3, 0.0, 0.0), _towards(float64(-1.0, 2.0, 2.0)), 2.0, 4),
        ),
    ),
    slips=(
        Slip(
            "these are the weights; divide each by its length",
            _plain,
        ),
        Slip(
            "the direction is walked with η itself; what it feels is η/‖w‖²",
            _on_the_sphere(lambda rate, length: rate),
        ),
        Slip(
            "divided by ‖w‖ once; a gradient at u is ‖w‖ times the one at w, and a step is ‖w‖ times as long beside u",
            _on_the_sphere(lambda rate, length: rate / length),
        ),
        Slip(
            "the length is that of the first weights all along; each step makes the weights longer",
            _fixed_length,
        ),
    ),
    hints=(
        "Keep two things: u of length 1, and the length that w would have.",
        "One step of the direction: v = u - η/length² · gradient(u). Then u is v divided by its length.",
        "w would have become length · v, so that its new length is length · ‖v‖.",
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


def running_mean(start, batch_means, momentum):
    running = start.clone()
    for mean in batch_means:
        running = (1 - momentum) * running + momentum * mean
    return running


def _folded(step, first=None):
    def folded(start, batch_means, momentum):
        running = start if first is None else first(batch_means)
        for k, mean in enumerate(batch_means):
            running = step(running, mean, momentum, k)
        return running

    return folded


RUNNING_MEAN = Exercise(
    name="resnet.running_mean",
    returns="the running mean (C,) after all these batches",
    solution=running_mean,
    cases=(
        Case(
            "one channel, starts at 1, twenty batches of mean 0, momentum 0.1",
            (float64(1.0), torch.zeros(20, 1), 0.1),
        ),
        Case("two channels, three batches", (float64(1.0, -2.0), normal(3, 2, seed=2), 0.1)),
        Case("momentum 0.75", (float64(0.5, 4.0), normal(4, 2, seed=3), 0.75)),
    ),
    slips=(
        Slip(
            "turned round: torch's momentum is the share of the new batch, not of the old mean",
            _folded(lambda running, mean, m, k: m * running + (1 - m) * mean),
        ),
        Slip(
            "that is the plain mean of the batches; the running one remembers its start and forgets old batches",
            lambda start, batch_means, momentum: batch_means.mean(dim=0),
        ),
        Slip(
            "the old mean keeps all its weight: it is multiplied by 1 - momentum",
            _folded(lambda running, mean, m, k: running + m * mean),
        ),
        Slip(
            "it begins at the first batch; it begins at start",
            _folded(lambda running, mean, m, k: (1 - m) * running + m * mean, first=lambda means: means[0]),
        ),
    ),
    hints=(
        "Each batch: the share momentum of its mean, and what is left of the old running mean.",
        "After k batches of mean 0 a start of 1 has become (1 - momentum)ᵏ.",
    ),
)


def train_head(body, head, X, y, learning_rate, steps):
    body.eval()  # no running statistic moves, and none of a batch is used
    head.train()
    for parameter in body.parameters():
        parameter.requires_grad_(False)
    optimizer = torch.optim.SGD(head.parameters(), lr=learning_rate)
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(head(body(X)), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    body.eval()
    return head(body(X)).detach()


def _body() -> torch.nn.Module:
    """A body that ends in batch norm, whose running statistics are those of other data; in training mode."""
    body = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.ReLU()).double()
    with torch.no_grad():
        body[0].weight.copy_(normal(4, 3, seed=4))
        body[0].bias.copy_(normal(4, seed=5))
        body[1].running_mean.copy_(float64(0.5, -0.5, 1.0, 0.0))
        body[1].running_var.copy_(float64(2.0, 0.5, 1.0, 3.0))
    return body


def _head() -> torch.nn.Module:
    head = torch.nn.Linear(4, 3).double()
    with torch.no_grad():
        head.weight.copy_(0.3 * normal(3, 4, seed=6))
        head.bias.zero_()
    return head


def _head_trained(body_mode, whose, judge_mode=False, moves=True):
    def trained(body, head, X, y, learning_rate, steps):
        body.train(body_mode)
        optimizer = torch.optim.SGD(whose(body, head), lr=learning_rate)
        for _ in range(steps):
            loss = torch.nn.functional.cross_entropy(head(body(X)), y)
            optimizer.zero_grad()
            for parameter in (*body.parameters(), *head.parameters()):
                parameter.grad = None
            loss.backward()
            if moves:
                optimizer.step()
        body.train(judge_mode)
        return head(body(X)).detach()

    return trained


def _of_head(body, head):
    return list(head.parameters())


def _of_both(body, head):
    return [*body.parameters(), *head.parameters()]


_Y = torch.tensor([0, 1, 2, 1, 0, 2])
TRAIN_HEAD = Exercise(
    name="resnet.mend_frozen",
    returns="the logits in evaluation mode after the training of the head alone, on a body that has not changed",
    solution=train_head,
    cases=(
        Case("six examples, five steps", (_body(), _head(), 2 + normal(6, 3, seed=7), _Y, 0.5, 5)),
        Case("one step", (_body(), _head(), normal(6, 3, seed=8) - 1, _Y, 0.1, 1)),
    ),
    slips=(
        Slip(
            "no weight of the body has moved, but the body is another function than before: what else does it keep?",
            _head_trained(True, _of_head),
        ),
        Slip(
            "weights of the body have moved, though its running statistics stand still",
            _head_trained(False, _of_both),
        ),
        Slip("both weights and running statistics of the body have moved", _head_trained(True, _of_both)),
        Slip(
            "the head has not moved at all: whose parameters has the optimizer, and do they need gradients?",
            _head_trained(False, _of_head, moves=False),
        ),
        Slip(
            "trained rightly, but judged in training mode: by the statistics of this batch",
            _head_trained(False, _of_head, judge_mode=True),
        ),
    ),
    hints=(
        "Print body[1].running_mean before and after. requires_grad_(False) holds what gradients move; what moves this?",
        "In which mode does batch norm leave its running statistics alone?",
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
    EQUILIBRIUM,
    PLACEBO,
    RUNNING_MEAN,
    TRAIN_HEAD,
)
