"""The exercises of notebook 07 that are loops: walking on the sphere, running statistics, a head on a frozen body."""

from __future__ import annotations

import torch
from torch import Tensor

from .exercise import Case, Exercise, Slip, float64, normal


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
    linear, norm = torch.nn.Linear(3, 4).double(), torch.nn.BatchNorm1d(4).double()
    with torch.no_grad():
        linear.weight.copy_(normal(4, 3, seed=4))
        linear.bias.copy_(normal(4, seed=5))
    norm.running_mean = float64(0.5, -0.5, 1.0, 0.0)
    norm.running_var = float64(2.0, 0.5, 1.0, 3.0)
    return torch.nn.Sequential(linear, norm, torch.nn.ReLU())


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
        "Print body[1].running_mean before and after. "
        "requires_grad_(False) holds what gradients move. What moves this?",
        "In which mode does batch norm leave its running statistics alone?",
    ),
)
