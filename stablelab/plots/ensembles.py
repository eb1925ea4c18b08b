"""What an ensemble is worth, looked at: members beside combinations, and how the spread shrinks as it grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..stability import EnsembleComparison
from .display import BLUE, GOLD, GREEN, GREY, PURPLE, SKY, VERMILLION, show, styled, to_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

# Told apart without colour, too.
_LOOKS = tuple(zip((VERMILLION, GREEN, PURPLE, GOLD, SKY, GREY), "Ds^vPX", strict=True))


def show_ensembles(comparison: EnsembleComparison, sizes: DataFrame | None = None) -> None:
    """Show accuracy and calibration error of the members and of their combinations, and accuracy by ensemble size.

    Args:
        comparison: from ``compare_ensembles``.
        sizes: from ``spread_by_size``, for a second picture beside the first; not drawn if not given.
    """
    show(ensembles_words(comparison, sizes), png=to_png(ensembles_figure(comparison, sizes)))


@styled
def ensembles_figure(comparison: EnsembleComparison, sizes: DataFrame | None = None) -> Figure:
    """Members as dots, combinations as marks; on the right, where it is given, accuracy over the number of members."""
    from matplotlib.figure import Figure

    panels = 1 if sizes is None else 2
    figure = Figure(figsize=(4.6 * panels, 3.7), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    _members_and_combinations(axes[0], comparison)
    if sizes is not None:
        _by_size(axes[1], sizes)
    return figure


def ensembles_words(comparison: EnsembleComparison, sizes: DataFrame | None = None) -> str:
    """The picture in words: every number that is drawn, the members as mean and standard deviation."""
    mean, std = comparison.members.mean(axis=0), comparison.members.std(axis=0, ddof=1)
    words = (
        f"{len(comparison.members)} members: accuracy {mean[0]:.3f} (standard deviation {std[0]:.3f}), calibration "
        f"error {mean[2]:.3f} ({std[2]:.3f})"
    )
    for name, (accuracy, _, error) in zip(comparison.names, comparison.combined, strict=True):
        words += f"; {name}: accuracy {accuracy:.3f}" + ("" if np.isnan(error) else f", calibration error {error:.3f}")
    if sizes is None:
        return words + "."
    told = (f"{int(row.size)}: {row.accuracy:.3f}{_plus_minus(row.std)}" for row in sizes.itertuples(index=False))
    return f"{words}. Accuracy by number of members (± standard deviation): {', '.join(told)}."


def _members_and_combinations(axes: Axes, comparison: EnsembleComparison) -> None:
    accuracy, _, error = comparison.members.T
    axes.plot(accuracy, error, "o", color=BLUE, ms=6, alpha=0.85, mec="none", label=f"member ({len(accuracy)})")
    for i, (name, (right, _, gap)) in enumerate(zip(comparison.names, comparison.combined, strict=True)):
        colour, mark = _LOOKS[i % len(_LOOKS)]
        if np.isnan(gap):  # an answer with no probabilities has no height
            axes.axvline(right, color=colour, lw=1.4, ls=(0, (4, 2)), label=f"{name} (no probabilities)")
        else:
            axes.plot(right, gap, mark, color=colour, ms=8.5, mec="none", label=name, ls="none")
    axes.set_xlabel("accuracy")
    axes.set_ylabel("expected calibration error")
    axes.set_ylim(bottom=0)
    axes.margins(0.08)
    handles, labels = axes.get_legend_handles_labels()
    axes.figure.legend(handles, labels, loc="outside lower center", ncols=3)


def _by_size(axes: Axes, sizes: DataFrame) -> None:
    from matplotlib.ticker import MaxNLocator

    known = sizes[sizes["std"].notna()]
    low, high = known["accuracy"] - known["std"], known["accuracy"] + known["std"]
    axes.fill_between(known["size"], low, high, color=BLUE, alpha=0.3, lw=0, label="± one standard deviation")
    axes.plot(sizes["size"], sizes["accuracy"], "o-", color=BLUE, lw=1.8, ms=5, label="mean accuracy")
    axes.set_xlabel("members in the ensemble")
    axes.set_ylabel("accuracy of the averaged ensemble")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower right")


def _plus_minus(std: float) -> str:
    return "" if np.isnan(std) else f" ± {std:.3f}"
