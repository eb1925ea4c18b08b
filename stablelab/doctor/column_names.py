"""Which column of somebody's table is the training loss, which the validation, the rate, the norm: by their names."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from .._formatting import one_line

_VALIDATION = {"val", "valid", "validation", "eval", "evaluation", "dev", "test"}
_TRAINING = {"train", "training", "tr", "step", "batch", "running", "iter"}
_LOSS = {"loss", "nll", "xent", "crossentropy", "ce", "objective"}
_REGRESSION = {"mse", "mae", "rmse", "r2", "huber"}
_OTHER = {"reward", "return", "elbo", "kl", "perplexity", "ppl", "bleu", "rouge", "wer"}


@dataclass(frozen=True)
class Columns:
    """The columns that were found, None where there is none.

    Attributes:
        loss: of training.
        other_kind: why it is not a log of classification, as far as names tell; empty where they do not.
    """

    loss: str
    validation_loss: str | None
    accuracy: str | None
    learning_rate: str | None
    norm: str | None
    max_norm: str | None
    step: str | None
    epoch: str | None
    other_kind: str = ""


def words(name: str) -> frozenset[str]:
    """The words in a name, in lower case: ``trainLoss``, ``train/loss`` and ``Training loss`` hold ``loss``."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return frozenset(re.findall(r"[a-z0-9]+", apart.lower()))


def find_columns(names: Sequence[str], source: str, loss: str | None = None) -> Columns:
    """What each column is, by its name.

    Args:
        names: of the columns.
        source: what they are of, for the message.
        loss: the training loss, where that is said.

    Raises:
        ValueError: in one line that says which were found, where no one of them is the training loss.
    """
    said = ", ".join(repr(name) for name in names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    if loss is not None and loss not in names:
        raise ValueError(f"{source} has no column {loss!r}; found were {said}")
    of = {name: words(name) for name in names}
    losses = [name for name, each in of.items() if each & _LOSS or {"cross", "entropy"} <= each]
    training = [name for name in losses if not of[name] & _VALIDATION]
    chosen = loss or _the_loss(training, of)
    if chosen is None:
        if not training:
            raise ValueError(f"{source} has no column of a training loss; found were {said}: name it with loss=...")
        found = ", ".join(map(repr, training))
        raise ValueError(f"{source} has several columns that may be the training loss, {found}: name one with loss=...")

    def shortest(hits: list[str]) -> str | None:
        return min(hits, key=lambda n: (len(of[n]), names.index(n))) if hits else None

    def first(*wanted: set[str], without: Collection[str] = ()) -> str | None:
        """The shortest name that holds a word of each set, and none of the others."""
        return shortest([n for n, each in of.items() if all(each & some for some in wanted) and not each & {*without}])

    gradient = first(
        {"norm", "gradnorm"}, {"grad", "gradient", "gradients", "gradnorm"}, without=("max", "clip", "after")
    )
    judged = [name for name in losses if of[name] & _VALIDATION and name != chosen]
    accuracy = first({"acc", "accuracy"}, _VALIDATION) or first({"acc", "accuracy"}, without=_TRAINING)
    everything = frozenset().union(*of.values())
    classifies = bool(everything & {"f1", "acc", "accuracy"})
    other = [] if classifies else sorted(everything & (_REGRESSION | _OTHER))
    kind = (
        f"the column of {one_line(other[0])} says that this is no classification, so there is no ln C" if other else ""
    )
    return Columns(
        loss=chosen,
        validation_loss=shortest(judged),
        accuracy=accuracy,
        learning_rate=first({"lr"}) or first({"learning"}, {"rate", "rates"}),
        norm="norm_before" if "norm_before" in names else gradient,
        max_norm=first({"norm"}, {"max", "clip"}) or first({"clip"}, {"threshold", "value"}),
        step=first({"step", "steps", "iteration", "iterations", "iter", "it"}, without=_LOSS | {"seconds", "time"}),
        epoch=first({"epoch", "epochs"}, without=_LOSS | {"acc", "accuracy"}),
        other_kind=kind,
    )


def _the_loss(candidates: list[str], of: dict[str, frozenset[str]]) -> str | None:
    """The one training loss among several: the one of each step before that of an epoch, the whole before its parts."""
    if len(candidates) == 1:
        return candidates[0]
    plain = [name for name in candidates if of[name] <= _LOSS | _TRAINING | {"total", "cross", "entropy", "mean", "0"}]
    for narrower in ({"step", "batch"}, {"total"}):
        here = [name for name in plain if of[name] & narrower]
        if len(here) == 1:
            return here[0]
    return plain[0] if len(plain) == 1 else None
