"""The curves of a run as a still picture: the columns and panels of the live chart, drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._formatting import format_number, format_percent
from ..training.history import History
from .curve_data import INDEX, CurveData, Panel
from .display import BLUE, GOLD, GREEN, GREY, PURPLE, SKY, VERMILLION, label_powers, styled
from .earlier_runs import Band, EarlierRun, bands, single

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEIGHTS = {"loss": 2.2, "norm": 1.3}  # of the panels, relative to each other
_HEIGHT = 0.8  # of any other panel
_INCHES = 1.256  # of a panel of height 1, title included
_LOOKS: dict[str, dict[str, Any]] = {
    "loss": {"color": BLUE, "alpha": 0.55, "ls": "-", "lw": 0.9, "zorder": 1.5, "label": "each batch"},
    "smooth": {"color": BLUE, "ls": "-", "lw": 2.0, "label": "training"},
    "norm_before": {"color": GREEN, "ls": "-", "lw": 1.1, "label": "before clipping"},
    "norm_after": {"color": PURPLE, "lw": 1.1, "ls": (0, (4, 2))},
    "max_norm": {"color": GREY, "lw": 1.3, "ls": (0, (8, 3)), "label": "threshold"},
    "learning_rate": {"color": BLUE, "ls": "-", "lw": 1.7},
}
_SCALAR = {"color": BLUE, "ls": "-", "lw": 1.3}
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
    """Training and validation loss, gradient norm before and after clipping, learning rate, further scalars.

    Over the optimizer steps; what was never recorded has no panel.

    Args:
        history: of a run, of any length.
        total_steps: planned length; sets how far the strong curve looks back.
        title: set above the curves.
        earlier_runs: drawn faintly; the parent of a branch less so; those that differ only in the seed as one band.
        branched_at: the step after which a branch left its parent; 0 for none.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    data = CurveData(history, total_steps, branched_at)
    data.update()
    heights = [_HEIGHTS.get(panel.name, _HEIGHT) for panel in data.panels]
    figure = Figure(figsize=(8.0, _INCHES * sum(heights)), layout="constrained")
    every = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    rows = data.rows[data.thinned_out()].astype(np.float64)
    beside: list[EarlierRun | Band] = [*single(earlier_runs), *bands(earlier_runs)]
    for axes, panel in zip(every, data.panels, strict=True):
        axes.margins(y=0.1)
        for each in beside:
            _earlier(axes, panel, each)
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
    if beside:
        lines = loss.lines[: len(beside)]
        figure.legend(lines, [each.label for each in beside], loc="outside lower left", ncols=2, fontsize=7.5)
        _name_ends(loss, beside)
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
        scores = zip(("validation loss", "accuracy"), data.evaluations[-1].tolist()[1:], strict=True)
        said = [f"{name} {format_number(score)}" for name, score in scores if not np.isnan(score)]
        parts += [", ".join(said)] if said else []
    if data.last["learning_rate"] is not None:
        parts.append(f"learning rate {format_number(data.last['learning_rate'])}")
    if any(panel.name == "norm" for panel in data.panels):
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
            look = _LOOKS.get(name, _SCALAR) | ({"label": labels[name]} if name in labels else {})
            values = rows[:, [column.name for column in data.columns].index(name)]
            there = slice(None) if panel.gaps else ~np.isnan(values)
            axes.plot(rows[there, INDEX["step"]], values[there], drawstyle=how, **look)
    if panel.evaluations and len(data.evaluations):
        steps, losses, accuracies = data.evaluations.T
        label = "validation"
        if not np.isnan(accuracies[-1]):
            label += f" (accuracy {format_number(float(accuracies[-1]))})"
        axes.plot(steps, losses, color=VERMILLION, ls="-", lw=1.5, marker="o", ms=4, mfc="none", mew=1.4, label=label)
    if panel.log and any((np.asarray(line.get_ydata()) > 0).any() for line in axes.lines):
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


def _earlier(axes: Axes, panel: Panel, earlier: EarlierRun | Band) -> None:
    """One line; around that of a band, one standard deviation."""
    colour, dash = _EARLIER[earlier.look % len(_EARLIER)]
    look: dict[str, Any] = {"color": colour, "alpha": 0.75, "lw": 1.0, "ls": dash, "zorder": 1.4}
    if isinstance(earlier, Band):
        x, y, spread = earlier.column(panel.earlier)
        low = y - spread
        if panel.log:
            low = np.maximum(low, y / 100)  # what is below 0 has no place on a logarithmic axis
        axes.fill_between(
            x, low, y + spread, color=colour, alpha=0.2, lw=0, step="post" if panel.stepped else None, zorder=1.2
        )
        look["lw"] = 1.5
    else:
        x, y = earlier.column("step"), earlier.column(panel.earlier)
        if earlier.parent:
            look = {"color": GREY, "alpha": 0.8, "lw": 1.5, "ls": "-", "zorder": 1.6}
    there = slice(None) if panel.gaps else ~np.isnan(y)
    axes.plot(x[there], y[there], **look, drawstyle="steps-post" if panel.stepped else "default")


def _name_ends(axes: Axes, beside: Sequence[EarlierRun | Band]) -> None:
    """Name each earlier run where its curve ends; names at one place are pushed apart."""
    lines = [(np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in axes.lines[: len(beside)]]
    ends = [(each.short, x[-1], y[-1]) for each, (x, y) in zip(beside, lines, strict=True)]
    up = 72.0 / axes.figure.dpi  # points per pixel
    taken: list[tuple[float, float]] = []
    for short, x, y in sorted((end for end in ends if np.isfinite(end[2])), key=lambda end: end[2]):
        across, height = (float(pixels) * up for pixels in axes.transData.transform((x, y)))
        lifted = height
        for other, where in taken:
            if abs(other - across) < 4 * _APART:
                lifted = max(lifted, where + _APART)
        taken.append((across, lifted))
        place: dict[str, Any] = {"xytext": (0, lifted - height), "textcoords": "offset points", "va": "center"}
        axes.annotate(f" {short}", (x, y), fontsize=7, **place)


def _marks(axes: Axes, data: CurveData) -> None:
    if data.branched_at:
        axes.axvline(data.branched_at, color=BLUE, ls="-", lw=1.2, alpha=0.7)
    for mark in data.marks:
        diverged = mark["kind"] == "diverged"
        axes.axvline(mark["step"], color=VERMILLION if diverged else GREY, lw=1.2 if diverged else 0.8, ls=":")
