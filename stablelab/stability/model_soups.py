"""Weight averaging: one model from several, for the price of one at prediction time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .._validation import number
from ._inputs import normalized_weights

StateDict = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Soup:
    """What a greedy soup is made of.

    Attributes:
        weights: the averaged state dict.
        members: positions of those that went in, the best one first.
        score: of the soup.
    """

    weights: dict[str, Tensor]
    members: tuple[int, ...]
    score: float


def average_weights(
    state_dicts: Sequence[StateDict], weights: Sequence[float] | np.ndarray | None = None
) -> dict[str, Tensor]:
    """The mean of the members' weights, θ = Σ_m w_m θ_m: a "uniform soup" where the weights are equal.

    The loss is not convex in the weights of a network, so this is no average of what the members say. It works where
    the members lie in one valley: fine-tuned from the same pre-trained weights (model soups) or taken from one run
    (SWA). Members from different random starts, or with differently drawn heads, usually average to nothing useful.

    Floating-point tensors are averaged; integer ones (batch norm's ``num_batches_tracked``) are taken from the first.
    Averaged batch-norm statistics are not those of the averaged model. Recompute them on training inputs afterwards:

        model.load_state_dict(average_weights(...))
        torch.optim.swa_utils.update_bn(task.train.batches(64), model)

    Args:
        state_dicts: of two models or more, with the same names and shapes.
        weights: (M,) at least 0, scaled here to sum to 1; equal ones if not given.

    Returns:
        A new state dict, with the types and devices of the first; the others are not changed.

    Raises:
        ValueError: in one line, naming the tensor: one that is missing, of another shape or not finite; or weights that
            cannot be.

    Source:
        Izmailov et al. 2018, "Averaging weights leads to wider optima and better generalization", Section 3.2 (the
        statistics, too); Wortsman et al. 2022, "Model soups", Section 2.
    """
    states = list(state_dicts)
    if len(states) < 2:
        raise ValueError(f"there are {len(states)} state dicts; an average needs two or more")
    for i, state in enumerate(states):
        _check(i, state, states[0])
    return _mean(states, normalized_weights(weights, len(states)))


def greedy_soup(state_dicts: Sequence[StateDict], score: Callable[[dict[str, Tensor]], float]) -> Soup:
    """A soup of those members that do not make it worse, tried from the best one down.

    Args:
        state_dicts: of one model or more, with the same names and shapes.
        score: of a state dict, higher is better, such as the validation accuracy; called at most 2 M - 1 times. It
            chooses, so it must not look at the test split. Where there is batch norm, it should call ``update_bn``.

    Returns:
        A ``Soup``; its score is at least that of the best member.

    Raises:
        ValueError: in one line: as ``average_weights``, or a score that is not a finite number.

    Source:
        Wortsman et al. 2022, "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
        increasing inference time", Recipe 1.
    """
    states = list(state_dicts)
    if not states:
        raise ValueError("there are no state dicts; a soup needs one or more")
    for i, state in enumerate(states):
        _check(i, state, states[0])
    alone = [number(f"score of member {i}", float(score(dict(state)))) for i, state in enumerate(states)]
    order = sorted(range(len(states)), key=lambda i: -alone[i])
    members, best = order[:1], alone[order[0]]
    soup = dict(states[order[0]])
    for i in order[1:]:
        tried = _mean([states[j] for j in (*members, i)], np.full(len(members) + 1, 1 / (len(members) + 1)))
        found = number(f"score with member {i}", float(score(tried)))
        if found >= best:
            members, best, soup = [*members, i], found, tried
    return Soup(soup, tuple(members), best)


def _mean(states: Sequence[StateDict], weights: np.ndarray) -> dict[str, Tensor]:
    return {
        name: _weighted([state[name] for state in states], weights) if tensor.is_floating_point() else tensor.clone()
        for name, tensor in states[0].items()
    }


def _weighted(tensors: Sequence[Tensor], weights: np.ndarray) -> Tensor:
    """In double precision, so that the mean of equal weights is these weights."""
    total = torch.zeros_like(tensors[0], dtype=torch.float64)
    for tensor, weight in zip(tensors, weights.tolist(), strict=True):
        total.add_(tensor.detach().to(total), alpha=weight)
    return total.to(tensors[0].dtype)


def _check(i: int, state: StateDict, first: StateDict) -> None:
    for one, other, a, b in ((first, state, 0, i), (state, first, i, 0)):
        for name in one:
            if name not in other:
                raise ValueError(f"{name!r} is in state dict {a}, but not in state dict {b}; average one kind of model")
    for name, tensor in state.items():
        if tensor.shape != first[name].shape:
            shapes = tuple(tensor.shape), tuple(first[name].shape)
            raise ValueError(f"{name!r} has shape {shapes[0]} in state dict {i}, but {shapes[1]} in state dict 0")
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"{name!r} is not finite in state dict {i}: it diverged, so leave it out")
