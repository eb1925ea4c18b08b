"""What a model gets wrong, looked at: the confusion matrix, and the examples it is furthest off on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .._formatting import format_percent, one_line
from ..training.error_analysis import Diagnosis
from .display import ink_on, pictures_figure, show, styled, table, to_png, white_to_blue

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NUMBERED = 20  # classes whose cells have room for a number
_NAMED = 40  # classes whose names have room along an axis
_ACROSS = 4  # pictures in a row


class Readable(Protocol):
    """A split whose examples can be looked at, such as those of ``data``."""

    def __len__(self) -> int: ...

    def raw(self, i: int) -> Any:
        """Example i: a sentence, or a uint8 picture (H, W, 3)."""


def show_confusion(diagnosis: Diagnosis) -> None:
    """Show the confusion matrix: a row per true class, a column per predicted class, the counts in the cells.

    Args:
        diagnosis: of a model on a split, from ``diagnose``.
    """
    show(confusion_words(diagnosis), png=to_png(confusion_figure(diagnosis)))


def show_mistakes(diagnosis: Diagnosis, split: Readable, n: int = 8) -> None:
    """Show the examples with the largest cross-entropy among those that were answered wrong.

    Args:
        diagnosis: of a model on this very split.
        split: where the examples are; sentences become a table, pictures a figure.
        n: how many at most, 1 or more.

    Raises:
        ValueError: in one line: `n` is no such number, or the split is not the one that was diagnosed.
    """
    positions = diagnosis.most_wrong(n)
    examples = _examples(diagnosis, split, positions)
    words = mistakes_words(diagnosis, positions)
    if not positions:
        show(words)
    elif isinstance(examples[0], str):
        show(words, markup=mistakes_table(diagnosis, positions, examples))
    else:
        show(words, png=to_png(mistakes_figure(diagnosis, positions, examples)))


@styled
def confusion_figure(diagnosis: Diagnosis) -> Figure:
    """The confusion matrix as a figure; shades are shares of the row, so that rare classes show as well."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    counts = diagnosis.confusion.numpy()  # (C, C)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    C, names = len(counts), [one_line(name, 18) for name in diagnosis.classes]
    side = min(8.0, max(3.4, 1.6 + 0.42 * C))
    figure = Figure(figsize=(side + 0.9, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap=white_to_blue(), vmin=0, vmax=1)
    for i, j in np.ndindex(C, C) if C <= _NUMBERED else ():
        color = ink_on(white_to_blue()(shares[i, j]))
        axes.text(j, i, f"{counts[i, j]}", ha="center", va="center", fontsize=9 if C <= 10 else 7, color=color)
    axes.grid(False)
    upright = C <= 10 and max(map(len, names)) * C <= 60
    if C <= _NAMED:
        axes.set_xticks(range(C), names, rotation=0 if upright else 90)
        axes.set_yticks(range(C), names)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.spines[:].set_visible(False)
    percent = FuncFormatter(lambda share, _: format_percent(share))
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02, ticks=(0, 0.5, 1), format=percent)
    bar.set_label("share of the true class", fontsize=8)
    bar.outline.set_visible(False)
    return figure


def confusion_words(diagnosis: Diagnosis) -> str:
    """The confusion matrix in words: how many of each class were right, and the most frequent mistakes."""
    counts = diagnosis.confusion
    rows = zip(diagnosis.classes, counts.diag().tolist(), counts.sum(dim=1).tolist(), strict=True)
    right = ", ".join(f"{one_line(name, 40)} {hits} of {support}" for name, hits, support in rows)
    return f"confusion matrix: {diagnosis}. Right of each class: {right}."


def mistakes_figure(diagnosis: Diagnosis, positions: Sequence[int], pictures: Sequence[Any]) -> Figure:
    """Pictures with the true and the predicted class, and how probable the model found both."""
    titles = ["true {}\npredicted {}".format(*_answer(diagnosis, i)) for i in positions]
    return pictures_figure(pictures, titles, _ACROSS)


def mistakes_table(diagnosis: Diagnosis, positions: Sequence[int], sentences: Sequence[str]) -> str:
    """Sentences with the true and the predicted class, and how probable the model found both, as HTML."""
    rows = [
        (
            one_line(text, 240),
            *(each.replace(" %", "\N{NO-BREAK SPACE}%") for each in _answer(diagnosis, i, longest=40)),
        )
        for i, text in zip(positions, sentences, strict=True)
    ]
    return table(("sentence", "true class", "predicted class"), rows)


def mistakes_words(diagnosis: Diagnosis, positions: Sequence[int]) -> str:
    """Which examples are shown, and what the model answered."""
    wrong = len(diagnosis) - int(diagnosis.confusion.trace())
    if not positions:
        return f"none of the {len(diagnosis)} examples is wrong"
    answers = ((i, *_answer(diagnosis, i, longest=40)) for i in positions)
    told = "; ".join(f"{i}: true {true}, predicted {predicted}" for i, true, predicted in answers)
    return f"the most wrong {len(positions)} of {wrong} wrong answers, by position in the split: {told}."


def _examples(diagnosis: Diagnosis, split: Readable, positions: Sequence[int]) -> list[Any]:
    raw = getattr(split, "raw", None)
    if raw is None:
        raise ValueError(
            f"split is {type(split).__name__} and has no raw(i), the example to look at; give a task's split"
        )
    targets = getattr(split, "targets", diagnosis.targets)
    if len(split) != len(diagnosis) or not bool((targets.cpu() == diagnosis.targets).all()):
        raise ValueError("split is not the one that was diagnosed: give the same one to both")
    return [raw(i) for i in positions]


def _answer(diagnosis: Diagnosis, i: int, longest: int = 14) -> tuple[str, str]:
    """The true class and the one it was taken for, each with the probability that the model gave it."""
    pair = (int(diagnosis.targets[i]), int(diagnosis.predicted[i]))
    shares = (format_percent(float(diagnosis.probabilities[i, c])) for c in pair)
    true, predicted = (
        f"{one_line(diagnosis.classes[c], longest)} ({share})" for c, share in zip(pair, shares, strict=True)
    )
    return true, predicted
