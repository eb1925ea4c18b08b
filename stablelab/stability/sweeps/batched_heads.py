"""Hundreds of linear heads at once: the loop of ``training.loop`` on frozen features, in one batched computation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from ... import formulas
from ..._validation import whole
from ...formulas.optimizers import adam_, adamw_, gradient_descent_, momentum_
from ...training.settings import AUGMENTATIONS, Settings

Order: TypeAlias = Callable[[int], Tensor]  # k, from 0 -> (B,) positions of batch k

# Numbers in the weights, and in the batches, of a block: a few megabytes, as measured. Larger blocks wait for
# memory, smaller ones for Python.
MAX_WEIGHTS, MAX_INPUTS = 1_400_000, 1_500_000
PIECE = 60_000  # weights that are updated together: the tensors that a formula makes stay in the core's cache
MAX_LOGITS = 2_000_000  # logits that are judged together
ALIGNED = 16  # columns to a multiple of which features are filled up: a cache line, without which products are slower
SMALLEST = -35.0  # ln p of 6e-16: the squares of such errors are still normal numbers in single precision
STATES = {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2, "adamw": 2}  # tensors that an optimizer remembers
WITHOUT_LAYERS = {"layer_decay": 1.0, "unfrozen": None, "unfreeze_every": 0}


@dataclass(frozen=True, eq=False)
class Heads:
    """R trained heads, and how they came about over T steps.

    A run diverges at the first loss or gradient norm that is not finite: it ends there, before the update.

    Attributes:
        weights, biases: (R, C, D) and (R, C), after the last step; of a run that diverged, before the step at which it
            did.
        losses: (R, T) training loss of each step, before its update (nats); nan after a divergence.
        norms: (R, T) norm of the gradient of each step, before clipping; nan after a divergence.
        clipped: (R, T) whether it was clipped.
        diverged: for each run the step, from 1, at which it diverged, or None.
    """

    weights: Tensor
    biases: Tensor
    losses: Tensor
    norms: Tensor
    clipped: Tensor
    diverged: tuple[int | None, ...]

    def __len__(self) -> int:
        return len(self.weights)

    def logits(self, features: Tensor, runs: slice = slice(None)) -> Tensor:
        """(R, N, C): what each head, or each of a slice of them, says of the features (N, D)."""
        return batched_logits(self.weights[runs], self.biases[runs], features)


def batched_logits(weights: Tensor, biases: Tensor, features: Tensor) -> Tensor:
    """(R, N, C): what heads (R, C, D) with biases (R, C) say of the features (N, D)."""
    products = weights.flatten(0, 1) @ features.T  # (R · C, N): one product for all heads
    return (products.view(*biases.shape, -1) + biases[..., None]).transpose(1, 2)


def evaluation_slices(runs: int, examples: int, classes: int) -> Iterator[slice]:
    """The runs, a few at a time, so that their logits on these examples take a few megabytes."""
    most = max(1, MAX_LOGITS // (examples * classes))
    return (slice(i, i + most) for i in range(0, runs, most))


def mean_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """(R,): mean cross-entropy of each run (nats), from logits (R, N, C) and class numbers (N,)."""
    each = cross_entropy(logits.transpose(1, 2), targets.expand(len(logits), -1), reduction="none")  # (R, N)
    return each.mean(dim=1)


def new_heads(dimensions: int, classes: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Weights (R, C, D) and biases (R, C) of new heads, as ``nn.Linear`` draws them after ``torch.manual_seed(seed)``.

    Args:
        dimensions: D, of the features.
        classes: C.
        seeds: R of them, one for each head.
    """
    weights = torch.empty(len(seeds), classes, dimensions, dtype=torch.float32)
    biases = torch.empty(len(seeds), classes, dtype=torch.float32)
    for seed, weight, bias in zip(seeds, weights, biases, strict=True):
        generator = torch.Generator().manual_seed(seed)
        nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
        nn.init.uniform_(bias, -1 / math.sqrt(dimensions), 1 / math.sqrt(dimensions), generator=generator)
    return weights, biases


def why_not_batched(settings: Settings) -> str:
    """Why ``train_heads`` cannot do a run with these settings, in a few words; empty if it can."""
    if settings.optimizer not in STATES:
        return f"optimizer={settings.optimizer!r} is not one of {', '.join(STATES)}"
    if settings.schedule == "plateau" or settings.early_stopping:
        name = "schedule" if settings.schedule == "plateau" else "early_stopping"
        return f"{name}={getattr(settings, name)!r} needs validations on the way"
    for name, usual in WITHOUT_LAYERS.items():
        if getattr(settings, name) != usual:
            return f"{name}={getattr(settings, name)!r} needs layers under the head"
    for name in ("precision", "accumulation"):
        if getattr(settings, name) != getattr(Settings(), name):
            return f"{name}={getattr(settings, name)!r} needs passes of its own through the model"
    used = [name for name in AUGMENTATIONS if getattr(settings, name)]
    return f"{used[0]}={getattr(settings, used[0])!r} changes pictures, not features" if used else ""


@torch.no_grad()
def train_heads(
    features: Tensor,
    targets: Tensor,
    weights: Tensor,
    biases: Tensor,
    positions: Sequence[Order],
    settings: Sequence[Settings],
    steps: int,
    progress: Callable[[int, int], object] | None = None,
) -> Heads:
    """Train R linear heads on frozen features: for each the numbers of ``Trainer`` on an ``nn.Linear``, up to rounding.

    The loss is the mean cross-entropy of a batch. Runs with the same order share the work on its batches; runs whose
    optimizer, momentum, betas, eps, bias correction and kind of clip are the same are updated together. Learning rate,
    threshold, schedule and weight decay (of the weights; biases do not decay) may differ from run to run at no cost.

    Args:
        features: (N, D) float32, every number finite.
        targets: (N,) class numbers in 0..C-1.
        weights: (R, C, D) float32, what each run starts from; not changed.
        biases: (R, C) float32, what each run starts from; not changed.
        positions: of each run, the batch k (from 0) as positions (B,) int64 into the features, as
            ``task.batches(seed, batch_size).positions``. Runs share an order if theirs are equal (the same object, or
            the same method of the same object). A training subset is an order that keeps to it.
        settings: of each run, the same throughout.
        steps: T ≥ 1; schedules end there.
        progress: called with (steps done by all runs together, R · T) after every step of each group of runs that is
            trained together; what it raises ends the training.

    Raises:
        ValueError: shapes that do not fit, targets that are no classes, features that are not finite, positions outside
            of the features, or settings that need more than a head (``why_not_batched``), naming the run.
    """
    _check(features, targets, weights, biases, positions, settings, steps)
    R, C, D = weights.shape
    inputs = features.new_zeros(len(features), -(-(D + 1) // ALIGNED) * ALIGNED)
    inputs[:, :D], inputs[:, D] = features, 1  # the bias is the weight of a feature that is always 1
    theta = weights.new_zeros(R, C, inputs.shape[1])
    theta[..., :D], theta[..., D] = weights, biases
    losses, norms = features.new_empty(2, R, steps)
    clipped = torch.empty(R, steps, dtype=torch.bool, device=features.device)
    diverged = torch.empty(R, dtype=torch.int64)
    done = 0
    for members, orders in _blocks(settings, positions, theta[0].numel(), len(positions[0](0)) * inputs.shape[1]):
        runs = torch.tensor(members)
        own = [settings[run] for run in members]
        block = _Block(inputs, targets, theta[runs], D, orders, own, steps)
        for step in block.train():
            if progress is not None:
                progress(done + step * len(own), R * steps)
        done += steps * len(own)
        theta[runs], losses[runs], norms[runs] = block.theta, block.losses.T, block.norms.T
        clipped[runs], diverged[runs] = block.clipped.T, block.diverged.cpu()
    ends = tuple(step or None for step in diverged.tolist())
    return Heads(theta[..., :D].clone(), theta[..., D].clone(), losses, norms, clipped, ends)


def _blocks(
    settings: Sequence[Settings], orders: Sequence[Order], weights: int, inputs: int
) -> Iterator[tuple[list[int], list[Order]]]:
    """Put every run into one block, whose runs are trained together.

    Args:
        settings: of each run.
        orders: of each run.
        weights: numbers in one head.
        inputs: numbers in one batch.

    Yields:
        The runs of a block, those of each order one after another and equally many for each, and these orders.
    """
    most = max(1, MAX_WEIGHTS // weights)
    groups: dict[tuple[Any, ...], dict[Order, list[int]]] = {}
    for run, (own, order) in enumerate(zip(settings, orders, strict=True)):
        groups.setdefault(_in_common(own), {}).setdefault(order, []).append(run)
    for group in groups.values():
        alike: dict[int, list[tuple[Order, list[int]]]] = {}  # number of runs -> orders that have so many
        for order, runs in group.items():
            for i in range(0, len(runs), most):
                alike.setdefault(len(runs[i : i + most]), []).append((order, runs[i : i + most]))
        for size, pieces in alike.items():
            wide = max(1, min(most // size, MAX_INPUTS // inputs))
            for i in range(0, len(pieces), wide):
                block = pieces[i : i + wide]
                yield [run for _, runs in block for run in runs], [order for order, _ in block]


def _in_common(settings: Settings) -> tuple[Any, ...]:
    """What runs must have in common to be updated together; learning rate, threshold and decay may differ."""
    common = (settings.optimizer, settings.clip)
    if settings.optimizer in ("adam", "adamw"):
        return (*common, settings.beta1, settings.beta2, settings.eps, settings.bias_correction)
    return common if settings.optimizer == "sgd" else (*common, settings.momentum)


class _Block:
    """R = G · M heads alike ``_in_common``: G orders, each with M heads, whose batch is fetched and multiplied once.

    Args:
        inputs: (N, P) features, a column of ones (its weight is the bias), zeros to fill up.
        targets: (N,) class numbers.
        theta: (R, C, P) the weights, trained in place.
        matrix: D, the number of columns that are features.
        orders: G of them.
        settings: R of them.
        steps: T.

    Attributes:
        losses, norms: (T, R) of each step, nan after the one at which a run diverged.
        clipped: (T, R).
        diverged: (R,) the step, from 1, at which a run diverged; 0 if it did not.
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        theta: Tensor,
        matrix: int,
        orders: Sequence[Order],
        settings: Sequence[Settings],
        steps: int,
    ) -> None:
        self.inputs, self.targets, self.theta, self.matrix, self.orders = inputs, targets, theta, matrix, orders
        runs = len(settings)
        bounds = [torch.inf if own.max_norm is None else own.max_norm for own in settings]
        self.clip, self.bounds = settings[0].clip, theta.new_tensor(bounds)  # (R,)
        self.clips = bool(self.bounds.isfinite().any())
        self.learning_rates = _learning_rates(settings, steps).to(theta.device)  # (T, R)
        self.update = Update(settings[0], theta, _weight_decay(settings, theta, matrix))
        self.g = torch.empty_like(theta)
        self._gathered = inputs.new_empty(0, inputs.shape[1])
        self.losses, self.norms = theta.new_full((2, steps, runs), torch.nan)
        self.clipped = torch.zeros(steps, runs, dtype=torch.bool, device=theta.device)
        self.diverged = torch.zeros(runs, dtype=torch.int64, device=theta.device)

    def train(self) -> Iterator[int]:
        """All steps; yields the number of steps done after each."""
        last = self.theta.clone()  # of a run that diverged: its weights before that step
        for k in range(len(self.losses)):
            self.losses[k] = self._gradients(k)
            self.norms[k], self.clipped[k] = self._clip()
            if not (self.losses[k] + self.norms[k]).isfinite().all():
                fine = self.losses[k].isfinite() & self.norms[k].isfinite()
                ended = ~fine & (self.diverged == 0)
                last[ended], self.diverged[ended] = self.theta[ended], k + 1
                if (self.diverged > 0).all():
                    break
            # A run that has ended goes on with numbers that mean nothing: they never meet another run's.
            self.update(self.g, k + 1, self.learning_rates[k, :, None, None])
            yield k + 1
        over = self.diverged > 0
        self.theta[over] = last[over]
        steps = torch.arange(1, len(self.losses) + 1, device=over.device)[:, None]  # (T, 1)
        for record in (self.losses, self.norms):
            record[over & (steps > self.diverged)] = torch.nan
        self.clipped[over & (steps >= self.diverged)] = False

    def _gradients(self, k: int) -> Tensor:
        """Fill g with the gradients of the mean cross-entropy of batch k; returns the losses (R,).

        The gradient by the logits is (p - onehot(target)) times the weight of the example in the mean, 1 / B.
        """
        x, y, share = self._batch(k)  # (G, B, P), (G, 1, 1, B), (G or 1, 1, 1, B)
        G, B, P = x.shape
        R, C, _ = self.theta.shape
        shape = (G, R // G, C, B)
        logits = torch.bmm(self.theta.view(G, -1, P), x.transpose(1, 2)).view(shape)
        log_p = torch.log_softmax(logits, dim=2)
        right = y.expand(G, R // G, 1, B)
        losses = log_p.gather(2, right).mul_(share).sum(dim=3).neg_().view(R)
        # Probabilities too small to matter become 0: as denormal numbers they would slow all products down sevenfold.
        torch.threshold_(log_p, SMALLEST, -torch.inf)
        error = log_p.exp_().mul_(share).scatter_add_(2, right, -share.expand(right.shape))
        torch.bmm(error.view(G, -1, B), x, out=self.g.view(G, -1, P))
        return losses

    def _batch(self, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """Batch k of every order: inputs (G, B, P), targets (G, 1, 1, B), and the weight of each example in the mean.

        Batches that are shorter than others are filled up with examples of weight 0.
        """
        pieces = [order(k) for order in self.orders]
        sizes = [len(piece) for piece in pieces]
        if not all(sizes):
            raise ValueError(f"batch {k} of one of the runs is empty; every batch needs an example")
        positions = pad_sequence(pieces, batch_first=True)  # (G, B)
        share = self.inputs.new_full((1, 1, 1, sizes[0]), 1 / sizes[0])
        if min(sizes) < max(sizes):
            lengths = torch.tensor(sizes)[:, None]  # (G, 1)
            real = torch.arange(max(sizes)) < lengths
            # Filled up with their own first example: another's logits might overflow where theirs do not.
            positions = torch.where(real, positions, positions[:, :1])
            share = (real.to(self.inputs.dtype) / lengths)[:, None, None].to(self.inputs.device)
        if len(self._gathered) != positions.numel():
            self._gathered = self.inputs.new_empty(positions.numel(), self.inputs.shape[1])
        most = len(self.inputs) - 1
        try:
            if self.inputs.is_cuda:  # where an index that is outside breaks the GPU for the whole process
                if positions.min() < 0 or positions.max() > most:
                    raise IndexError
                positions = positions.to(self.inputs.device)
            torch.index_select(self.inputs, 0, positions.view(-1), out=self._gathered)
        except IndexError:
            raise ValueError(f"positions of batch {k} lie outside 0..{most}, the examples that there are") from None
        return self._gathered.view(*positions.shape, -1), self.targets[positions][:, None, None], share

    def _clip(self) -> tuple[Tensor, Tensor]:
        """Clip g as ``formulas.clip_`` does, each run by itself; returns norms before (R,) and who was clipped (R,)."""
        norms = formulas.global_norm([self.g], batch_dims=1)
        if not self.clips:
            return norms, torch.zeros_like(norms, dtype=torch.bool)
        if self.clip == "value":
            clipped = torch.linalg.vector_norm(self.g, torch.inf, dim=(1, 2)) > self.bounds
            if clipped.any():
                bounds = self.bounds[:, None, None]
                self.g.clamp_(-bounds, bounds)
            return norms, clipped
        parts = [self.g] if self.clip == "norm" else [self.g[..., : self.matrix], self.g[..., self.matrix :]]
        clipped = torch.zeros_like(norms, dtype=torch.bool)
        for part in parts:
            own = norms if part is self.g else formulas.global_norm([part], batch_dims=1)
            coefficients = formulas.clip_coefficient(own, self.bounds)  # (R,)
            if (coefficients != 1).any():
                part.mul_(coefficients[:, None, None])
                clipped |= coefficients != 1
        return norms, clipped


class Update:
    """One optimizer's formula, applied to the weights of R runs in place, a few runs at a time.

    Args:
        settings: of any of the runs, which agree in what ``_in_common`` names.
        theta: (R, C, P) the weights; updated in place.
        weight_decay: λ, 0 for all or (R, 1, P).
    """

    def __init__(self, settings: Settings, theta: Tensor, weight_decay: float | Tensor) -> None:
        self.settings = settings
        self.runs = max(1, PIECE // theta[0].numel())
        self.theta = theta.split(self.runs)
        self.weight_decay: Sequence[float | Tensor] = (
            weight_decay.split(self.runs) if isinstance(weight_decay, Tensor) else [weight_decay] * len(self.theta)
        )
        self.state = [[torch.zeros_like(piece) for _ in range(STATES[settings.optimizer])] for piece in self.theta]

    def __call__(self, g: Tensor, t: int, learning_rates: Tensor) -> None:
        """Step t (from 1) along the gradients g (R, C, P); ``learning_rates`` is (R, 1, 1)."""
        columns = self.theta, g.split(self.runs), self.state, learning_rates.split(self.runs), self.weight_decay
        for theta, gradient, state, rates, decay in zip(*columns, strict=True):
            self._step(t, theta, gradient, state, rates, decay)

    def _step(
        self, t: int, theta: Tensor, g: Tensor, state: list[Tensor], learning_rate: Tensor, weight_decay: float | Tensor
    ) -> None:
        own = self.settings
        if own.optimizer == "sgd":
            gradient_descent_(theta, g, learning_rate, weight_decay)
        elif own.optimizer in ("momentum", "nesterov"):
            nesterov = own.optimizer == "nesterov"
            momentum_(theta, g, state[0], learning_rate, own.momentum, nesterov, weight_decay)
        else:
            formula = adam_ if own.optimizer == "adam" else adamw_
            numbers = learning_rate, own.beta1, own.beta2, own.eps, weight_decay, own.bias_correction
            formula(theta, g, state[0], state[1], t, *numbers)


def _weight_decay(settings: Sequence[Settings], theta: Tensor, matrix: int) -> float | Tensor:
    """λ of each run, (R, 1, P): of the first columns, which are the weight matrix, and 0 for the rest.

    Just 0 if no run has any.
    """
    decay = theta.new_tensor([own.weight_decay for own in settings])
    if not decay.any():
        return 0.0
    found = theta.new_zeros(len(settings), 1, theta.shape[2])
    found[..., :matrix] = decay[:, None, None]
    return found


def _learning_rates(settings: Sequence[Settings], steps: int) -> Tensor:
    """(T, R): the learning rate of each step and run, by its schedule."""
    curves: dict[tuple[str, int, float], Tensor] = {}
    for own in settings:
        key = own.schedule, own.warmup_steps, own.gamma
        if key not in curves:
            each = (formulas.multiplier(own.schedule, k, steps, own.warmup_steps, own.gamma) for k in range(steps))
            curves[key] = torch.tensor(list(each), dtype=torch.float64)
    rows = [own.learning_rate * curves[own.schedule, own.warmup_steps, own.gamma] for own in settings]
    return torch.stack(rows, dim=1).float()


def _check(
    features: Tensor,
    targets: Tensor,
    weights: Tensor,
    biases: Tensor,
    positions: Sequence[Order],
    settings: Sequence[Settings],
    steps: int,
) -> None:
    whole("steps", steps, at_least=1)
    if features.dim() != 2 or features.dtype != torch.float32 or len(features) != len(targets):
        shapes = f"{tuple(features.shape)} {features.dtype} and {tuple(targets.shape)}"
        raise ValueError(f"features must be (N, D) torch.float32 and targets (N,), not {shapes}")
    if weights.dim() != 3 or weights.shape[2] != features.shape[1] or biases.shape != weights.shape[:2]:
        shapes = f"{tuple(weights.shape)} and {tuple(biases.shape)}"
        raise ValueError(f"weights must be (R, C, {features.shape[1]}) and biases (R, C), not {shapes}")
    if not len(weights) == len(positions) == len(settings) or not len(weights):
        counts = f"{len(weights)}, {len(positions)} and {len(settings)}"
        raise ValueError(f"weights, positions and settings must be of the same runs, at least one, not {counts}")
    if not features.isfinite().all():
        raise ValueError("features hold nan or inf; every number must be finite")
    low, high = torch.stack(torch.aminmax(targets)).tolist()
    if low < 0 or high >= weights.shape[1]:
        classes = weights.shape[1]
        raise ValueError(f"targets must lie in 0..{classes - 1} for {classes} classes, but they span {low}..{high}")
    for run, own in enumerate(settings):
        reason = why_not_batched(own)
        if reason:
            raise ValueError(f"run {run} cannot be trained with the others: {reason}; train it by itself")
