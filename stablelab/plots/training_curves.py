"""Still pictures of a run (matplotlib), drawn without pyplot so that any thread may draw them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure
from PIL import Image

from .._formatting import format_number
from ..training.history import History
from .curve_data import COLUMNS, Feed
from .decimate import keep

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .earlier_runs import Ghost

# Okabe & Ito (2008), "Color Universal Design": apart for all common kinds of colour blindness.
BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
COLORS = 128  # of a stored picture
DPI = 144  # shown at 100: crisp on dense screens too
INK, GRID = "#333333", "#E4E4E4"
GHOSTS = tuple((colour, dash) for dash in ("-", (0, (4, 2))) for colour in (PURPLE, GREEN, ORANGE, SKY))
_AT = {name: i for i, name in enumerate(COLUMNS)}


def curves(
    history: History,
    *,
    total_steps: int | None = None,
    title: str | None = None,
    ghosts: Sequence[Ghost] = (),
    born: int = 0,
) -> Figure:
    """Training and validation loss, gradient norm before and after clipping, learning rate, over the optimizer steps.

    The same curves, colours and marks as the live chart, on a white ground that is legible in a dark notebook too.

    Arguments:
        history: of a run, of any length.
        total_steps: planned length; sets how far the strong curve looks back.
        title: set above the curves.
        ghosts: earlier runs, drawn faintly; the parent of a branch less so.
        born: the step after which a branch parted from its parent; 0 for none.
    """
    feed = Feed(history, total_steps, born)
    feed.update()
    figure = Figure(figsize=(8.0, 5.4), dpi=DPI, layout="constrained", facecolor="white")
    loss, norm, rate = figure.subplots(3, 1, sharex=True, height_ratios=(2.2, 1.3, 0.8))
    rows = feed.rows[keep(feed.rows)].astype(np.float64)
    _ghosts(figure, (loss, norm, rate), ghosts)
    _loss(loss, rows, feed.evaluations)
    _norm(norm, rows, feed.clipped / max(1, len(feed)))
    _rate(rate, rows)
    for axes, name in ((loss, "loss (nats)"), (norm, "gradient norm ‖g‖"), (rate, "learning rate")):
        axes.set_title(name, loc="left", fontsize=9, fontweight="bold", color=INK)
        _marks(axes, feed)
        _tidy(axes)
    if born:
        side = "right" if born > 0.2 * len(history) else "left"
        place = {"ha": side, "va": "top", "transform": loss.get_xaxis_transform()}
        loss.text(born, 0.97, f" branched at {born} ", fontsize=7.5, color=INK, **place)
    rate.margins(x=0.01)
    rate.set_xlabel("optimizer step")
    rate.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold", color=INK)
    return figure


def to_png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file."""
    drawn, out = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    # Lines on a white ground need few colours, and a palette makes a notebook's pictures a third of the size.
    palette = Image.open(drawn).convert("RGB").quantize(COLORS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    palette.save(out, format="png", optimize=True)
    return out.getvalue()


def summary(feed: Feed) -> str:
    """The curves in words, for those who cannot see them."""
    if feed.last is None:
        return "training curves: no step yet"
    parts = [f"training curves: {len(feed)} steps", f"training loss {feed.rows[-1, _AT['smooth']]:.3g}"]
    if len(feed.evaluations):
        _, loss, accuracy = feed.evaluations[-1]
        parts.append(f"validation loss {loss:.3g}, accuracy {accuracy:.3g}")
    parts.append(f"learning rate {feed.last['learning_rate']:.3g}")
    parts.append(f"{feed.clipped / len(feed):.0%} of the steps clipped")
    return ", ".join(parts)


def _loss(axes: Axes, rows: np.ndarray, evaluations: np.ndarray) -> None:
    step = rows[:, _AT["step"]]
    axes.plot(step, rows[:, _AT["smooth"]], color=BLUE, lw=2.0, label="training")
    if len(evaluations):
        label = f"validation (accuracy {evaluations[-1, 2]:.3f})"
        axes.plot(*evaluations[:, :2].T, color=VERMILLION, lw=1.5, marker="o", ms=4, mfc="white", mew=1.4, label=label)
    axes.plot(step, rows[:, _AT["loss"]], color=BLUE, alpha=0.3, lw=0.9, zorder=1.5, label="each batch")


def _norm(axes: Axes, rows: np.ndarray, clipped: float) -> None:
    step = rows[:, _AT["step"]]
    axes.plot(step, rows[:, _AT["norm_before"]], color=GREEN, lw=1.1, label="before clipping")
    if np.isfinite(rows[:, _AT["max_norm"]]).any():
        label = f"after ({clipped:.0%} of steps clipped)"
        axes.plot(step, rows[:, _AT["norm_after"]], color=PURPLE, lw=1.1, ls=(0, (4, 2)), label=label)
        axes.plot(step, rows[:, _AT["max_norm"]], color=INK, lw=1.2, ls=(0, (8, 3)), label="threshold")


def _rate(axes: Axes, rows: np.ndarray) -> None:
    axes.plot(rows[:, _AT["step"]], rows[:, _AT["learning_rate"]], color=BLUE, lw=1.7, drawstyle="steps-post")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: format_number(value)))
    axes.yaxis.set_major_locator(ticker.MaxNLocator(3))


def _ghosts(figure: Figure, panels: Sequence[Axes], ghosts: Sequence[Ghost]) -> None:
    lines = []
    for i, ghost in enumerate(ghosts):
        colour, dash = GHOSTS[i % len(GHOSTS)]
        look: dict[str, Any] = {"color": colour, "alpha": 0.45, "lw": 1.0, "ls": dash, "zorder": 1.4}
        if ghost.parent:
            look = {"color": INK, "alpha": 0.55, "lw": 1.5, "zorder": 1.6}
        for axes, name in zip(panels, ("smooth", "norm_before", "learning_rate"), strict=True):
            x, y = ghost.rows[:, 0], ghost.rows[:, _AT[name]]
            (line,) = axes.plot(x, y, **look, drawstyle="steps-post" if name == "learning_rate" else "default")
            if axes is panels[0]:
                lines.append(line)
                tag = " parent" if ghost.parent else f" {ghost.id}"
                axes.annotate(tag, (x[-1], y[-1]), fontsize=7, va="center", color=INK)
    if lines:
        labels = [ghost.label for ghost in ghosts]
        figure.legend(lines, labels, loc="outside lower left", ncols=2, fontsize=7.5, frameon=False, labelcolor=INK)


def _marks(axes: Axes, feed: Feed) -> None:
    if feed.born:
        axes.axvline(feed.born, color=BLUE, lw=1.2, alpha=0.7)
    for mark in feed.marks:
        diverged = mark["kind"] == "diverged"
        axes.axvline(mark["step"], color=VERMILLION if diverged else INK, lw=1.2 if diverged else 0.7, ls=":")


def _tidy(axes: Axes) -> None:
    axes.grid(color=GRID, lw=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=8, colors=INK)
    axes.xaxis.label.set(size=8.5, color=INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#999999")
    if axes.get_legend_handles_labels()[0]:
        beside_title = {"loc": "lower right", "bbox_to_anchor": (1.0, 0.98), "ncols": 3, "borderaxespad": 0.0}
        axes.legend(**beside_title, fontsize=8, frameon=False, labelcolor=INK, columnspacing=1.4)
