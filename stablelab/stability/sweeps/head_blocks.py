"""Linear heads that are trained in one computation: their gradients without autograd, clipped run by run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...formulas import multiplier
from ...formulas.clipping import SAFETY
from ...training.settings import Settings
from .head_rules import Rule, kind

Order: TypeAlias = Callable[[int], Tensor]  # k, from 0 -> (B,) positions of batch k

# Numbers in the weights, and in the batches, of a block: a few megabytes, as measured. Larger blocks wait for
# memory, smaller ones for Python.
MOST_WEIGHTS, MOST_INPUTS = 1_400_000, 1_500_000
SMALLEST = -35.0  # ln p of 6e-16: the squares of such errors are still normal numbers in single precision


@dataclass(frozen=True)
class Plan:
    """Which runs share a block: those of each order one after another, equally many for each order."""

    runs: tuple[int, ...]
    orders: tuple[Order, ...]


def plans(settings: Sequence[Settings], orders: Sequence[Order], weights: int, inputs: int) -> Iterator[Plan]:
    """Put every run into one block.

    Arguments:
        settings, orders: of each run.
        weights: numbers in one head.
        inputs: numbers in one batch.
    """
    most = max(1, MOST_WEIGHTS // weights)
    groups: dict[tuple, dict[Order, list[int]]] = {}
    for run, (own, order) in enumerate(zip(settings, orders, strict=True)):
        groups.setdefault(kind(own), {}).setdefault(order, []).append(run)
    for group in groups.values():
        alike: dict[int, list[tuple[Order, list[int]]]] = {}  # number of runs -> orders that have so many
        for order, runs in group.items():
            for i in range(0, len(runs), most):
                alike.setdefault(len(runs[i : i + most]), []).append((order, runs[i : i + most]))
        for size, pieces in alike.items():
            wide = max(1, min(most // size, MOST_INPUTS // inputs))
            for i in range(0, len(pieces), wide):
                block = pieces[i : i + wide]
                yield Plan(tuple(r for _, runs in block for r in runs), tuple(order for order, _ in block))


class Block:
    """R = G · M heads of one ``kind``: G orders, each with M heads, whose batch is fetched and multiplied once.

    Arguments:
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
        self.clip, self.bounds = settings[0].clip, torch.tensor(bounds)  # (R,)
        self.clips = bool(self.bounds.isfinite().any())
        decay = torch.tensor([own.weight_decay for own in settings])
        self.rule = Rule(settings[0], theta, matrix, decay[:, None, None])
        self.rates = learning_rates(settings, steps)  # (T, R)
        self.g = torch.empty_like(theta)
        self._gathered = inputs.new_empty(0, inputs.shape[1])
        self.losses, self.norms = torch.full((2, steps, runs), torch.nan)
        self.clipped = torch.zeros(steps, runs, dtype=torch.bool)
        self.diverged = torch.zeros(runs, dtype=torch.int64)

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
            self.rule.update(self.g, k + 1, self.rates[k, :, None, None])
            yield k + 1
        over = self.diverged > 0
        self.theta[over] = last[over]
        steps = torch.arange(1, len(self.losses) + 1)[:, None]  # (T, 1)
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
        share = torch.full((1, 1, 1, sizes[0]), 1 / sizes[0])
        if min(sizes) < max(sizes):
            lengths = torch.tensor(sizes)[:, None]  # (G, 1)
            real = torch.arange(max(sizes)) < lengths
            # Filled up with their own first example: another's logits might overflow where theirs do not.
            positions = torch.where(real, positions, positions[:, :1])
            share = (real / lengths)[:, None, None]
        if len(self._gathered) != positions.numel():
            self._gathered = self.inputs.new_empty(positions.numel(), self.inputs.shape[1])
        try:
            torch.index_select(self.inputs, 0, positions.view(-1), out=self._gathered)
        except IndexError:
            most = len(self.inputs) - 1
            raise ValueError(f"positions of batch {k} lie outside 0..{most}, the examples that there are") from None
        return self._gathered.view(*positions.shape, -1), self.targets[positions][:, None, None], share

    def _clip(self) -> tuple[Tensor, Tensor]:
        """Clip g as ``formulas.clip_`` does, each run by itself; returns norms before (R,) and who was clipped (R,)."""
        norms = torch.linalg.vector_norm(self.g.view(len(self.g), -1), dim=1)
        if not self.clips:
            return norms, torch.zeros_like(norms, dtype=torch.bool)
        if self.clip == "value":
            clipped = torch.linalg.vector_norm(self.g.view(len(self.g), -1), torch.inf, dim=1) > self.bounds
            if clipped.any():
                bounds = self.bounds[:, None, None]
                self.g.clamp_(-bounds, bounds)
            return norms, clipped
        parts = [self.g] if self.clip == "norm" else [self.g[..., : self.matrix], self.g[..., self.matrix :]]
        clipped = torch.zeros_like(norms, dtype=torch.bool)
        for part in parts:
            own = norms if part is self.g else torch.linalg.vector_norm(part, dim=(1, 2))
            factors = (self.bounds / (own + SAFETY)).clamp(max=1)  # (R,)
            if (factors != 1).any():
                part.mul_(factors[:, None, None])
                clipped |= factors != 1
        return norms, clipped


def learning_rates(settings: Sequence[Settings], steps: int) -> Tensor:
    """(T, R): the learning rate of each step and run, by its schedule."""
    curves: dict[tuple[str, int, float], Tensor] = {}
    for own in settings:
        key = own.schedule, own.warmup_steps, own.gamma
        if key not in curves:
            each = (multiplier(own.schedule, k, steps, own.warmup_steps, own.gamma) for k in range(steps))
            curves[key] = torch.tensor(list(each), dtype=torch.float64)
    rows = [own.learning_rate * curves[own.schedule, own.warmup_steps, own.gamma] for own in settings]
    return torch.stack(rows, dim=1).float()
