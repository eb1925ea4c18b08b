"""Connectionist temporal classification: the probability of a short sequence of labels, given one for each frame."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .._validation import shown, whole


def ctc_loss(log_probs: Tensor, labels: Sequence[int] | Tensor, blank: int = 0) -> Tensor:
    """-log p(labels | frames), summed over all paths that collapse to the labels, by the forward algorithm.

    l' is the labels with a blank before, between and behind them, 2 S + 1 symbols. α_t(s) is the probability of all
    paths of t frames that end at l'_s:

        α_t(s) = y_t(l'_s) [α_{t-1}(s) + α_{t-1}(s-1) + α_{t-1}(s-2)],

    the last term only where l'_s is no blank and differs from l'_{s-2}. Everything is kept as logarithms.

    Args:
        log_probs: (T, C), log-probabilities of the C symbols at each frame, floating point.
        labels: S classes, none of them the blank; S may be 0.
        blank: the class that stands for no label.

    Returns:
        The loss in nats, a 0-dim tensor; ∞ where T frames are too few for the labels.

    Raises:
        ValueError: in one line: other shapes, or labels or a blank that are no classes.

    Source:
        Graves, Fernández, Gomez and Schmidhuber 2006, "Connectionist temporal classification", Section 4.1.
    """
    if log_probs.dim() != 2 or not log_probs.numel():
        raise ValueError(f"log_probs must be (T, C) of at least one frame, not {tuple(log_probs.shape)}")
    T, C = log_probs.shape
    blank = whole("blank", blank, 0, at_most=C - 1)
    wanted = torch.as_tensor(labels, dtype=torch.int64)
    if wanted.dim() != 1 or bool(((wanted < 0) | (wanted >= C) | (wanted == blank)).any()):
        raise ValueError(f"labels are {shown(labels)}; they must be classes from 0 to {C - 1} other than the blank")
    path = torch.full((2 * len(wanted) + 1,), blank)  # l'
    path[1::2] = wanted
    skip = torch.zeros(len(path), dtype=torch.bool)
    skip[2:] = (path[2:] != blank) & (path[2:] != path[:-2])
    y = log_probs[:, path]  # (T, 2 S + 1)
    nothing = log_probs.new_full((2,), -torch.inf)
    alpha = torch.cat([y[0, :2], log_probs.new_full((len(path) - y[0, :2].numel(),), -torch.inf)])
    for t in range(1, T):
        before = torch.cat([nothing, alpha])  # α_{t-1} with two impossible places in front
        jump = torch.where(skip, before[:-2], -torch.inf)
        alpha = y[t] + _log_sum(torch.stack([before[2:], before[1:-1], jump]))
    return -_log_sum(alpha[-2:])


def _log_sum(x: Tensor) -> Tensor:
    """log Σ exp over the first dimension, with a gradient of 0, not nan, where all are -∞."""
    impossible = (x == -torch.inf).all(dim=0)
    return torch.where(impossible, -torch.inf, x.masked_fill(impossible, 0).logsumexp(dim=0))


def collapse(path: Sequence[int] | Tensor, blank: int = 0) -> list[int]:
    """B of the paper: merge symbols that repeat from frame to frame, then drop the blanks.

    Args:
        path: a class for each frame, such as ``log_probs.argmax(1)``.
        blank: the class that stands for no label.
    """
    symbols = torch.as_tensor(path, dtype=torch.int64).tolist()
    return [s for i, s in enumerate(symbols) if s != blank and (i == 0 or s != symbols[i - 1])]
