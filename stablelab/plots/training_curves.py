"""The curves of a run as a still picture: the columns and panels of the live chart, drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._formatting import format_number, format_percent
from ..training.history import History
from .curve_data import INDEX, PANELS, CurveData, Panel, decimate
from .display import BLUE, GOLD, GREEN, GREY, PURPLE, SKY, VERMILLION, label_powers, styled
from .earlier_runs import EarlierRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEIGHTS = {"loss": 2.2, "norm": 1.3, "rate": 0.8}  # of the panels, relative to each other
_LOOKS: dict[str, dict[str, Any]] = {
    "loss": {"color": BLUE, "alpha": 0.55, "ls": "-", "lw": 0.9, "zorder": 1.5, "label": "each batch"},
    "smooth": {"color": BLUE, "ls": "-", "lw": 2.0, "label": "training"},
    "norm_before": {"color": GREEN, "ls": "-", "lw": 1.1, "label": "before clipping"},
    "norm_after": {"color": PURPLE, "lw": 1.1, "ls": (0, (4, 2))},
    "max_norm": {"color": GREY, "lw": 1.3, "ls": (0, (8, 3)), "label": "threshold"},
    "learning_rate": {"color": BLUE, "ls": "-", "lw": 1.7},
}
_EARLIER = tuple((colour, dash) for dash in ("-", (0, (4, 2))) for colour in (PURPLE, GREEN, GOLD, SKY))
_APART = 9.0  # points between the names of two earlier runs


@styled
def training_figure(
    history: History,
    *,
    total_steps: int | None = None,
    title: str | None = None,
    earlier_runs: Sequence[EarlierRun] = (),
    branched_at: int = 0,
) -> Figure:
    """Training and validation loss, gradient norm before and after clipping, learning rate, over the optimizer steps.

    Args:
        history: of a run, of any length.
        total_steps: planned length; sets how far the strong curve looks back.
        title: set above the curves.
        earlier_runs: drawn faintly; the parent of a branch less so.
        branched_at: the step after which a branch left its parent; 0 for none.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    data = CurveData(history, total_steps, branched_at)
    data.update()
    figure = Figure(figsize=(8.0, 5.4), layout="constrained")
    heights = [_HEIGHTS[panel.name] for panel in PANELS]
    every = figure.subplots(len(PANELS), 1, sharex=True, height_ratios=heights)
    rows = data.rows[decimate(data.rows)].astype(np.float64)
    for axes, panel in zip(every, PANELS, strict=True):
        axes.margins(y=0.1)
        _earlier(axes, panel, earlier_runs)
        _panel(axes, panel, rows, data)
        _marks(axes, data)
    loss, lowest = every[0], every[-1]
    if branched_at:
        side = "right" if branched_at > 0.2 * len(history) else "left"
        place: dict[str, Any] = {"ha": side, "va": "top", "transform": loss.get_xaxis_transform()}
        loss.text(branched_at, 0.97, f" branched at {branched_at} ", fontsize=7.5, **place)
    lowest.margins(x=0.01)
    lowest.set_xlabel("optimizer step")
    lowest.xaxis.set_major_locator(MaxNLocator(integer=True))
    if earlier_runs:
        lines = loss.lines[: len(earlier_runs)]
        labels = [earlier.label for earlier in earlier_runs]
        figure.legend(lines, labels, loc="outside lower left", ncols=2, fontsize=7.5)
        _name_ends(loss, earlier_runs)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    return figure


def training_words(data: CurveData) -> str:
    """The curves in words, for those who cannot see them."""
    if data.last is None:
        return "training curves: no step yet"
    parts = [
        f"training curves: {len(data)} steps",
        f"training loss {format_number(float(data.rows[-1, INDEX['smooth']]))}",
    ]
    if len(data.evaluations):
        _, loss, accuracy = data.evaluations[-1].tolist()
        parts.append(f"validation loss {format_number(loss)}, accuracy {format_number(accuracy)}")
    if data.last["learning_rate"] is not None:
        parts.append(f"learning rate {format_number(data.last['learning_rate'])}")
    parts.append(f"{format_percent(data.clipped / len(data))} of the steps clipped")
    return ", ".join(parts)


def _panel(axes: Axes, panel: Panel, rows: np.ndarray, data: CurveData) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    clips = bool(np.isfinite(rows[:, INDEX["max_norm"]]).any())
    share = format_percent(data.clipped / max(1, len(data)))
    labels = {"norm_after": f"after ({share} of steps clipped)"}
    for name in panel.columns:
        if clips or name not in ("norm_after", "max_norm"):
            how = "steps-post" if panel.stepped else "default"
            look = _LOOKS[name] | ({"label": labels[name]} if name in labels else {})
            axes.plot(rows[:, INDEX["step"]], rows[:, INDEX[name]], drawstyle=how, **look)
    if panel.evaluations and len(data.evaluations):
        steps, losses, accuracies = data.evaluations.T
        label = f"validation (accuracy {format_number(float(accuracies[-1]))})"
        axes.plot(steps, losses, color=VERMILLION, ls="-", lw=1.5, marker="o", ms=4, mfc="none", mew=1.4, label=label)
    if panel.log and (rows[:, INDEX[panel.earlier]] > 0).any():
        axes.set_yscale("log", nonpositive="mask")
        label_powers(axes)
    else:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_number(value)))
    if panel.from_zero:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.set_title(panel.title, fontsize=9)
    handles, names = axes.get_legend_handles_labels()
    if handles:
        order = sorted(range(len(names)), key=lambda i: names[i] == "each batch")
        beside_title = {"loc": "lower right", "bbox_to_anchor": (1.0, 0.98), "ncols": 3, "borderaxespad": 0.0}
        axes.legend([handles[i] for i in order], [names[i] for i in order], **beside_title, columnspacing=1.4)


def _earlier(axes: Axes, panel: Panel, earlier_runs: Sequence[EarlierRun]) -> None:
    for i, earlier in enumerate(earlier_runs):
        colour, dash = _EARLIER[i % len(_EARLIER)]
        look: dict[str, Any] = {"color": colour, "alpha": 0.75, "lw": 1.0, "ls": dash, "zorder": 1.4}
        if earlier.parent:
            look = {"color": GREY, "alpha": 0.8, "lw": 1.5, "ls": "-", "zorder": 1.6}
        x, y = earlier.rows[:, INDEX["step"]], earlier.rows[:, INDEX[panel.earlier]]
        axes.plot(x, y, **look, drawstyle="steps-post" if panel.stepped else "default")


def _name_ends(axes: Axes, earlier_runs: Sequence[EarlierRun]) -> None:
    """Name each earlier run where its curve ends; names at one place are pushed apart."""
    ends = [(earlier, earlier.rows[-1, INDEX["step"]], earlier.rows[-1, INDEX["smooth"]]) for earlier in earlier_runs]
    up = 72.0 / axes.figure.dpi  # points per pixel
    taken: list[tuple[float, float]] = []
    for earlier, x, y in sorted((end for end in ends if np.isfinite(end[2])), key=lambda end: end[2]):
        across, height = (float(each) * up for each in axes.transData.transform((x, y)))
        lifted = height
        for other, where in taken:
            if abs(other - across) < 2 * _APART:
                lifted = max(lifted, where + _APART)
        taken.append((across, lifted))
        name = " parent" if earlier.parent else f" {earlier.id}"
        place: dict[str, Any] = {"xytext": (0, lifted - height), "textcoords": "offset points", "va": "center"}
        axes.annotate(name, (x, y), fontsize=7, **place)


def _marks(axes: Axes, data: CurveData) -> None:
    if data.branched_at:
        axes.axvline(data.branched_at, color=BLUE, ls="-", lw=1.2, alpha=0.7)
    for mark in data.marks:
        diverged = mark["kind"] == "diverged"
        axes.axvline(mark["step"], color=VERMILLION if diverged else GREY, lw=1.2 if diverged else 0.8, ls=":")
