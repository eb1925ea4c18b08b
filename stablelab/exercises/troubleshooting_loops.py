"""The exercises of notebook 11 that are broken runs: loops of SGD as they stand on the page, and as they should be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import batch_norm, cross_entropy

from .exercise import Case, Exercise, Slip, normal


def _data(rows: int, inputs: int, classes: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs (rows, inputs), targets (rows,) that depend on them, and first weights (inputs, classes)."""
    X = normal(rows, inputs, seed=seed)
    y = (X @ normal(inputs, classes, seed=seed + 1)).argmax(1)
    return X, y, 0.1 * normal(inputs, classes, seed=seed + 2)


def _order(rows: int, steps: int, batch_size: int, seed: int) -> Tensor:
    """(steps, batch_size) positions of the examples of each batch."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(rows, generator=generator)[:batch_size] for _ in range(steps)])


CASES = (
    Case("three classes, batches of 4", (*_data(12, 3, 3, seed=50), 0.5, _order(12, 5, 4, seed=51))),
    Case("two classes, batches of 3", (*_data(9, 2, 2, seed=53), 0.2, _order(9, 4, 3, seed=54))),
    Case("a single step", (*_data(8, 4, 5, seed=56), 1.0, _order(8, 1, 6, seed=57))),
    Case("twelve steps", (*_data(10, 3, 4, seed=59), 0.1, _order(10, 12, 5, seed=60))),
)

Of = Callable[[Tensor, Tensor, Tensor], Tensor]  # (inputs of a batch, its targets, weights) -> a loss


def _trained(loss_of: Of, recorded: Of | None = None, gradient: Callable[[Tensor, Tensor, int], Tensor] | None = None):
    """A loop of SGD with this loss, these recorded losses, and a step along ``gradient(new, last step's, k)``."""

    def answer(X, y, W, learning_rate, order):
        losses, last = [], torch.zeros_like(W)
        for k, rows in enumerate(order):
            W = W.detach().requires_grad_()
            loss = loss_of(X[rows], y[rows], W)
            (g,) = torch.autograd.grad(loss, W)
            last = gradient(g, last, k) if gradient else g
            losses.append((recorded or loss_of)(X[rows], y[rows], W).detach())
            W = W - learning_rate * last
        return W.detach(), torch.stack(losses)

    return answer


def _mean_loss(x: Tensor, y: Tensor, W: Tensor) -> Tensor:
    return cross_entropy(x @ W, y)


# -- no zero_grad ------------------------------------------------------------------------------------------------------


def train(X, y, W, learning_rate, order):
    W = W.clone().requires_grad_()
    optimizer = torch.optim.SGD([W], lr=learning_rate)
    losses = []
    for rows in order:
        loss = torch.nn.functional.cross_entropy(X[rows] @ W, y[rows])
        optimizer.zero_grad()  # backward adds to what is in W.grad
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return W.detach(), torch.stack(losses)


def _never_zeroed(X, y, W, learning_rate, order):
    W = W.clone().requires_grad_()
    optimizer = torch.optim.SGD([W], lr=learning_rate)
    losses = []
    for rows in order:
        loss = cross_entropy(X[rows] @ W, y[rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return W.detach(), torch.stack(losses)


MEND_SUMS = Exercise(
    name="clinic.mend_sums",
    returns="the weights after one step of SGD for each row of order, and the loss of each step",
    solution=train,
    cases=CASES,
    slips=(
        Slip("the first step is right, and from the second on the steps grow longer and longer", _never_zeroed),
        Slip(
            "the weights have not moved: what is left of the gradient when the optimizer takes its step?",
            lambda X, y, W, rate, order: (W, torch.stack([_mean_loss(X[rows], y[rows], W) for rows in order])),
        ),
        Slip(
            "every second step is too long",
            _trained(_mean_loss, gradient=lambda g, last, k: g + last if k % 2 else g),
        ),
        Slip(
            "each step is along the mean of all gradients so far, not along that of its own batch",
            _trained(_mean_loss, gradient=lambda g, last, k: (last * k + g) / (k + 1)),
        ),
    ),
    hints=(
        "Write down what W.grad holds after each line of the first step, and of the second.",
        "backward() adds to W.grad what it finds. Which call of the optimizer empties it, and when must it come?",
    ),
)


# -- a summed loss -----------------------------------------------------------------------------------------------------


def train_on_means(X, y, W, learning_rate, order):
    W = W.clone().requires_grad_()
    optimizer = torch.optim.SGD([W], lr=learning_rate)
    losses = []
    for rows in order:
        loss = torch.nn.functional.cross_entropy(X[rows] @ W, y[rows])  # reduction="mean"
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return W.detach(), torch.stack(losses)


def _summed(X, y, W, learning_rate, order):
    W = W.clone().requires_grad_()
    optimizer = torch.optim.SGD([W], lr=learning_rate)
    losses = []
    for rows in order:
        log_p = (X[rows] @ W).log_softmax(1)
        loss = -log_p[torch.arange(len(rows)), y[rows]].sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return W.detach(), torch.stack(losses)


def _sum_loss(x: Tensor, y: Tensor, W: Tensor) -> Tensor:
    return cross_entropy(x @ W, y, reduction="sum")


MEND_SIZE = Exercise(
    name="clinic.mend_size",
    returns="the weights after one step of SGD for each row of order, and the loss of each step, per example",
    solution=train_on_means,
    cases=CASES,
    slips=(
        Slip("the first loss is as many times too large as a batch has examples", _summed),
        Slip(
            "the weights are right, but the losses that you return are still those of a whole batch",
            _trained(_mean_loss, recorded=_sum_loss),
        ),
        Slip(
            "the losses are of the right size, but the steps are still too long",
            lambda X, y, W, rate, order: _trained(_sum_loss, recorded=_mean_loss)(X, y, W, rate, order),
        ),
        Slip(
            "right but for a factor: divide by the examples of a batch, not by the classes",
            _trained(lambda x, y, W: _sum_loss(x, y, W) / W.shape[1]),
        ),
        Slip(
            "divided by all examples, not by those of the batch",
            lambda X, y, W, rate, order: _trained(lambda x, t, V: _sum_loss(x, t, V) / len(X))(X, y, W, rate, order),
        ),
    ),
    hints=(
        "What does a model that knows nothing pay for one example of C classes? And what is the first loss here?",
        "A learning rate that is right for batches of 4 should be right for batches of 8.",
    ),
)


# -- softmax twice -----------------------------------------------------------------------------------------------------


def train_on_logits(X, y, W, learning_rate, order):
    W = W.clone().requires_grad_()
    optimizer = torch.optim.SGD([W], lr=learning_rate)
    losses = []
    for rows in order:
        logits = X[rows] @ W
        loss = torch.nn.functional.cross_entropy(logits, y[rows])  # has the softmax in it
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return W.detach(), torch.stack(losses)


def _softmax_twice(X, y, W, learning_rate, order):
    W = W.clone().requires_grad_()
    optimizer = torch.optim.SGD([W], lr=learning_rate)
    losses = []
    for rows in order:
        outputs = torch.softmax(X[rows] @ W, dim=1)
        loss = cross_entropy(outputs, y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return W.detach(), torch.stack(losses)


def _twice(x: Tensor, y: Tensor, W: Tensor) -> Tensor:
    return cross_entropy((x @ W).softmax(1), y)


MEND_FLOOR = Exercise(
    name="clinic.mend_floor",
    returns="the weights after one step of SGD on cross-entropy for each row of order, and the loss of each step",
    solution=train_on_logits,
    cases=CASES,
    slips=(
        Slip("no loss can come below ln(1 + (C − 1)/e), however well the examples are told apart", _softmax_twice),
        Slip(
            "the weights are right, but the losses that you return still have the floor",
            _trained(_mean_loss, recorded=_twice),
        ),
        Slip(
            "there is still something between the logits and the loss that holds them between 0 and 1",
            _trained(lambda x, y, W: cross_entropy((x @ W).sigmoid(), y)),
        ),
        Slip(
            "the loss is negative: the logarithm is missing",
            _trained(lambda x, y, W: -(x @ W).softmax(1)[torch.arange(len(y)), y].mean()),
        ),
    ),
    hints=(
        "What does torch.nn.functional.cross_entropy want: probabilities, or logits?",
        "What is the lowest value that its loss can have, when all its inputs lie between 0 and 1?",
    ),
)


# -- an optimizer built before the head was replaced -------------------------------------------------------------------


def train_with_new_head(X, y, W, head, learning_rate, order):
    W = W.clone().requires_grad_()
    head = head.clone().requires_grad_()  # the new head first, then the optimizer that is to train it
    optimizer = torch.optim.SGD([W, head], lr=learning_rate)
    losses = []
    for rows in order:
        loss = torch.nn.functional.cross_entropy((X[rows] @ W).relu() @ head, y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return W.detach(), head.detach(), torch.stack(losses)


def _head_left_out(X, y, W, head, learning_rate, order):
    W = W.clone().requires_grad_()
    old = torch.zeros_like(head).requires_grad_()
    optimizer = torch.optim.SGD([W, old], lr=learning_rate)
    head = head.clone().requires_grad_()
    losses = []
    for rows in order:
        loss = cross_entropy((X[rows] @ W).relu() @ head, y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return W.detach(), head.detach(), torch.stack(losses)


def _two_layers(of: Callable[[Tensor, Tensor], tuple[float, float]], zero_head: bool = False):
    """The loop with other rates for W and the head, as shares of the learning rate."""

    def answer(X, y, W, head, learning_rate, order):
        losses, head = [], torch.zeros_like(head) if zero_head else head
        for rows in order:
            W, head = W.detach().requires_grad_(), head.detach().requires_grad_()
            loss = cross_entropy((X[rows] @ W).relu() @ head, y[rows])
            g, h = torch.autograd.grad(loss, (W, head))
            body, top = of(W, head)
            W, head = W - body * learning_rate * g, head - top * learning_rate * h
            losses.append(loss.detach())
        return W.detach(), head.detach(), torch.stack(losses)

    return answer


def _two(rows: int, inputs: int, hidden: int, classes: int, seed: int) -> tuple[Any, ...]:
    X, y, _ = _data(rows, inputs, classes, seed)
    return X, y, 0.7 * normal(inputs, hidden, seed=seed + 3), 0.5 * normal(hidden, classes, seed=seed + 4)


MEND_HEAD = Exercise(
    name="clinic.mend_head",
    returns="W, the new head and the losses after one step of SGD on both for each row of order",
    solution=train_with_new_head,
    cases=(
        Case("three classes", (*_two(12, 3, 4, 3, seed=70), 0.5, _order(12, 5, 4, seed=71))),
        Case("two classes, two hidden units", (*_two(9, 4, 2, 2, seed=75), 0.2, _order(9, 6, 3, seed=76))),
        Case("a single step", (*_two(8, 2, 5, 4, seed=80), 1.0, _order(8, 1, 6, seed=81))),
    ),
    slips=(
        Slip(
            "W learns, but the new head is at the end what it was at first: which tensor does the optimizer hold?",
            _head_left_out,
        ),
        Slip("now the new head learns, and W does not", _two_layers(lambda W, head: (0.0, 1.0))),
        Slip(
            "what learns is the old head, of zeros; the new one is not in the model any more",
            _two_layers(lambda W, head: (1.0, 1.0), zero_head=True),
        ),
        Slip("one of the two is in the optimizer twice", _two_layers(lambda W, head: (1.0, 2.0))),
    ),
    hints=(
        "An optimizer holds tensors, not names. Which tensor is in it, and which one is in the loop?",
        "Build it after the last change of the model; or give it the new one with add_param_group.",
    ),
)


# -- inputs and labels shifted by one batch ----------------------------------------------------------------------------


def train_with_prefetch(X, y, W, learning_rate, order):
    W = W.clone().requires_grad_()
    optimizer = torch.optim.SGD([W], lr=learning_rate)
    losses = []
    batch = X[order[0]], y[order[0]]
    for k in range(len(order)):
        inputs, targets = batch
        loss = torch.nn.functional.cross_entropy(inputs @ W, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        following = order[min(k + 1, len(order) - 1)]
        batch = X[following], y[following]  # inputs and targets of one and the same batch
    return W.detach(), torch.stack(losses)


def _one_behind(X, y, W, learning_rate, order):
    W = W.clone().requires_grad_()
    optimizer = torch.optim.SGD([W], lr=learning_rate)
    losses = []
    inputs = X[order[0]]
    for rows in order:
        loss = cross_entropy(inputs @ W, y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        inputs = X[rows]
    return W.detach(), torch.stack(losses)


def _paired_by(inputs_of: Callable[[Tensor, int], Tensor], targets_of: Callable[[Tensor, int], Tensor]):
    def answer(X, y, W, learning_rate, order):
        losses = []
        for k in range(len(order)):
            W = W.detach().requires_grad_()
            loss = _mean_loss(X[inputs_of(order, k)], y[targets_of(order, k)], W)
            (g,) = torch.autograd.grad(loss, W)
            losses.append(loss.detach())
            W = W - learning_rate * g
        return W.detach(), torch.stack(losses)

    return answer


MEND_PAIRS = Exercise(
    name="clinic.mend_pairs",
    returns="the weights after one step of SGD for each row of order, and the loss of each step",
    solution=train_with_prefetch,
    cases=CASES,
    slips=(
        Slip("the first step is right; from the second on inputs stand beside labels that are not theirs", _one_behind),
        Slip(
            "inputs and labels belong together, but the first batch was used twice and the last not at all",
            _paired_by(lambda o, k: o[max(0, k - 1)], lambda o, k: o[max(0, k - 1)]),
        ),
        Slip(
            "now the inputs are one batch ahead of their labels",
            _paired_by(lambda o, k: o[min(k + 1, len(o) - 1)], lambda o, k: o[k]),
        ),
        Slip(
            "each step was on the first batch",
            _paired_by(lambda o, k: o[0], lambda o, k: o[0]),
        ),
    ),
    hints=(
        "Write down for k = 0, 1, 2 which rows `inputs` holds when the loss is computed, and whose the labels are.",
        "What is fetched at the end of step k is used in step k + 1.",
    ),
)


# -- a validation in training mode -------------------------------------------------------------------------------------


def train_and_validate(X, y, W, learning_rate, order, held_out):
    W = W.clone().requires_grad_()
    mean, var = torch.zeros_like(W[0]), torch.ones_like(W[0])  # the running statistics of the batch norm
    optimizer = torch.optim.SGD([W], lr=learning_rate)
    losses = []
    for rows in order:
        logits = torch.nn.functional.batch_norm(X[rows] @ W, mean, var, training=True, momentum=0.1)
        loss = torch.nn.functional.cross_entropy(logits, y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    W = W.detach()
    batches = held_out.split(len(order[0]))
    judged = [torch.nn.functional.batch_norm(part @ W, mean, var, training=False) for part in batches]
    return W, torch.stack(losses), torch.cat(judged)


def _validated(judge: Callable[[Tensor, Tensor, Tensor], Tensor], momentum: float = 0.1, at_once: bool = False):
    """Trained as it should be, and judged by ``judge(outputs of the layer before, mean, var)``."""

    def answer(X, y, W, learning_rate, order, held_out):
        mean, var, losses = torch.zeros_like(W[0]), torch.ones_like(W[0]), []
        for rows in order:
            W = W.detach().requires_grad_()
            logits = batch_norm(X[rows] @ W, mean, var, training=True, momentum=momentum)
            loss = cross_entropy(logits, y[rows])
            (g,) = torch.autograd.grad(loss, W)
            losses.append(loss.detach())
            W = (W - learning_rate * g).detach()
        parts = [held_out] if at_once else held_out.split(len(order[0]))
        return W, torch.stack(losses), torch.cat([judge(part @ W, mean, var) for part in parts])

    return answer


def _in_training_mode(X, y, W, learning_rate, order, held_out):
    W = W.clone().requires_grad_()
    mean, var = torch.zeros_like(W[0]), torch.ones_like(W[0])
    optimizer = torch.optim.SGD([W], lr=learning_rate)
    losses = []
    for rows in order:
        logits = batch_norm(X[rows] @ W, mean, var, training=True, momentum=0.1)
        loss = cross_entropy(logits, y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    W = W.detach()
    batches = held_out.split(len(order[0]))
    judged = [batch_norm(part @ W, mean, var, training=True, momentum=0.1) for part in batches]
    return W, torch.stack(losses), torch.cat(judged)


def _of_the_batch(h: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    return batch_norm(h, None, None, training=True)


def _with_running(h: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    return batch_norm(h, mean, var, training=False)


def _all_frozen(X, y, W, learning_rate, order, held_out):
    trained = _trained(lambda x, t, V: cross_entropy(batch_norm(x @ V, *_fresh(V), training=False), t))
    W, losses = trained(X, y, W, learning_rate, order)
    return W, losses, batch_norm(held_out @ W, *_fresh(W), training=False)


def _fresh(W: Tensor) -> tuple[Tensor, Tensor]:
    return torch.zeros_like(W[0]), torch.ones_like(W[0])


def _held(rows: int, inputs: int, classes: int, seed: int, steps: int, batch: int, held: int) -> tuple[Any, ...]:
    return (
        *_data(rows, inputs, classes, seed),
        0.5,
        _order(rows, steps, batch, seed + 5),
        1.5 * normal(held, inputs, seed=seed + 6) + 0.5,
    )


MEND_VALIDATION = Exercise(
    name="clinic.mend_validation",
    returns="the weights, the losses of the training, and the logits of the held-out examples, which do not depend on "
    "each other",
    solution=train_and_validate,
    cases=(
        Case("three classes, twelve held out", (*_held(12, 3, 3, 90, 6, 4, 12),)),
        Case("two classes, seven held out", (*_held(10, 2, 2, 100, 10, 5, 7),)),
        Case("one training step", (*_held(9, 4, 4, 110, 1, 6, 9),)),
    ),
    slips=(
        Slip("the training is right, but an answer depends on which others stand in its batch", _in_training_mode),
        Slip(
            "all held-out examples in one batch: an answer depends on the others all the same",
            _validated(_of_the_batch, at_once=True),
        ),
        Slip(
            "now the training uses the running statistics, too, and they never learn what the data are like",
            _all_frozen,
        ),
        Slip(
            "the held-out examples are judged with the statistics of the very last batch of training alone",
            _validated(_with_running, momentum=1.0),
        ),
        Slip("the held-out examples were not normalized at all", _validated(lambda h, mean, var: h)),
    ),
    hints=(
        "Give the validation a single example by itself, and the same one among others. Should the logits differ?",
        "Batch norm has two modes. The training gathers running statistics: which argument makes it use them?",
    ),
)

EXERCISES = (MEND_SIZE, MEND_FLOOR, MEND_HEAD, MEND_SUMS, MEND_VALIDATION, MEND_PAIRS)

# The loops as they stand on the page, broken: what a mended one is compared with there.
AS_IT_WAS: dict[str, Callable[..., Any]] = {one.name: one.slips[0].answer for one in EXERCISES}
