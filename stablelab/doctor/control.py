"""A quick control: what a kernel method without the model makes of the inputs, with every example left out once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

PIXELS = 16  # a side that pictures are reduced to
RIDGE = 0.3


def together(first: Any, second: Any) -> tuple[Tensor, Tensor]:
    """(N, D) and (M, D) features of inputs, in one space: numbers, pictures reduced, weighted bags of tokens.

    Tokens count once per text, weighted by ln(N / texts that have it) (Spärck Jones 1972), each text of length 1.
    """
    if isinstance(first, Mapping) and "input_ids" in first:
        width = int(max(first["input_ids"].max(), second["input_ids"].max())) + 1
        bags = torch.cat([_bag(first, width), _bag(second, width)])
        bags = bags[:, bags.sum(dim=0) > 0]
        weights = (len(bags) / bags.sum(dim=0).clamp(min=1)).log()
        rows = F.normalize(bags * weights, dim=1)
    else:
        rows = torch.cat([_numbers(first), _numbers(second)])
    n = len(_column(first))
    return rows[:n], rows[n:]


def _column(inputs: Any) -> Tensor:
    found: Tensor = next(iter(inputs.values())) if isinstance(inputs, Mapping) else inputs
    return found


def _bag(inputs: Any, width: int) -> Tensor:
    """(N, width) 1 where a token stands in a text, padding left out."""
    ids = inputs["input_ids"].cpu()
    mask = inputs["attention_mask"].cpu() > 0 if "attention_mask" in inputs else torch.ones_like(ids, dtype=torch.bool)
    bag = torch.zeros(len(ids), width + 1)
    bag.scatter_(1, torch.where(mask, ids, width), 1.0)
    return bag[:, :width]


def _numbers(inputs: Any) -> Tensor:
    columns = list(inputs.values()) if isinstance(inputs, Mapping) else [inputs]
    rows = []
    for x in columns:
        x = x.detach().float().cpu().nan_to_num(0.0, 0.0, 0.0)
        if x.dim() == 4 and max(x.shape[2:]) > PIXELS:
            x = F.adaptive_avg_pool2d(x, PIXELS)
        rows.append(x.reshape(len(x), -1))
    return torch.cat(rows, dim=1)


@dataclass(frozen=True, eq=False)
class Control:
    """Kernel ridge regression on one-hot labels; every example is judged by all others.

    Ridge regression's prediction for an example that was left out needs no second fit: it is y − α / diag(G⁻¹) with
    G = K + λI and α = G⁻¹ y (Rasmussen & Williams 2006, eq. 5.12). Tokens have the cosine as kernel, numbers a Gaussian
    as wide as the median distance.

    Args:
        inverse: (N, N) of G.
        across: (M, N) kernel of the judged to the learnt examples.
    """

    inverse: Tensor
    across: Tensor

    @staticmethod
    def of(learnt: Any, judged: Any) -> Control:
        """Of inputs as a model takes them."""
        a, b = together(learnt, judged)
        a, b = a.double(), b.double()
        if isinstance(learnt, Mapping) and "input_ids" in learnt:
            own, across = a @ a.T, b @ a.T
        else:
            centre = a.mean(dim=0)
            scale = (a - centre).std(dim=0).clamp(min=1e-6) if a.shape[1] <= 64 else (a - centre).std().clamp(min=1e-6)
            a, b = (a - centre) / scale, (b - centre) / scale
            squares = torch.cdist(a, a).square()
            width = float(squares[squares > 0].median()) if bool((squares > 0).any()) else 1.0
            own, across = (-squares / width).exp(), (-torch.cdist(b, a).square() / width).exp()
        return Control(torch.linalg.inv(own + RIDGE * torch.eye(len(own), dtype=own.dtype)), across)

    def left_out(self, targets: Tensor, classes: int) -> Tensor:
        """(N,) the class that all other examples give to each."""
        y, shares = _one_hot(targets, classes)
        scores = y - (self.inverse @ y) / self.inverse.diagonal()[:, None]
        return (scores + shares).argmax(dim=1)

    def answers(self, targets: Tensor, classes: int) -> Tensor:
        """(M,) the class of each judged example, learnt from ``targets`` (N,)."""
        y, shares = _one_hot(targets, classes)
        return (self.across @ (self.inverse @ y) + shares).argmax(dim=1)


def _one_hot(targets: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    y = F.one_hot(targets, classes).double()
    shares = y.mean(dim=0)
    return y - shares, shares


def above_chance(guesses: Tensor, targets: Tensor, classes: int) -> float:
    """How many standard deviations guesses agree more with targets than the same guesses in another order would."""
    n = len(targets)
    p = torch.bincount(guesses, minlength=classes).double() / n
    q = torch.bincount(targets, minlength=classes).double() / n
    expected = float((p * q).sum())
    agreement = float((guesses == targets).double().mean())
    deviation = math.sqrt(max(expected * (1 - expected), 1e-12) / n)
    return (agreement - expected) / deviation if 0 < expected < 1 else 0.0
