"""Still pictures of panels (matplotlib), without pyplot; on a white ground that is legible in a dark notebook too."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import ticker
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from ..plots.display import BLUE, GOLD, GREEN, PURPLE, SKY, VERMILLION
from ..plots.display import to_png as figure_to_png
from .panels import Curve, Panel, Rule, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, GRID = "#333333", "#E4E4E4"
_COLORS = (BLUE, VERMILLION, GREEN, PURPLE, SKY, GOLD)
_DASHES: tuple[Any, ...] = ("-", (0, (4, 2.2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)), (0, (7, 2.2)), (0, (2, 1)))
_LINE = 48  # characters of the summary that fit under a panel
_MARKERS = ("o", "s", "^", "o", "s", "^")
_SHADES = LinearSegmentedColormap.from_list("shades", ["#FFFFFF", "#B9D6E6"])


def to_png(panels: Sequence[Panel], note: str = "") -> bytes:
    """The panels side by side as the bytes of a PNG file, under one line of what they were drawn for."""
    size = (max(4.8, 3.6 * len(panels)), 3.7)
    figure = Figure(figsize=size, dpi=200, layout="constrained", facecolor="white")
    for axes, panel in zip(np.ravel(figure.subplots(1, len(panels))), panels, strict=True):
        _panel(axes, panel)
    if note:
        figure.suptitle(note, x=0.01, ha="left", fontsize=8.5, color=INK)
    return figure_to_png(figure)


def _panel(axes: Axes, panel: Panel) -> None:
    if panel.heat is not None:
        axes.imshow(panel.heat.values, extent=panel.heat.extent, origin="lower", cmap=_SHADES, aspect="auto", zorder=0)
    for curve in panel.curves:
        _curve(axes, curve, panel)
    for rule in panel.rules:
        _rule(axes, rule, panel)
    axes.set_xlim(*panel.limits("x"))
    axes.set_ylim(*panel.limits("y"))
    if panel.equal:
        axes.set_aspect("equal", adjustable="box")
    for axis, log in ((axes.xaxis, panel.log_x), (axes.yaxis, panel.log_y)):
        if log:
            axis.set_major_formatter(ticker.FuncFormatter(lambda at, _: _power(at)))
    axes.set_title(panel.title, loc="left", fontsize=9.5, fontweight="bold", color=INK)
    axes.set_xlabel("\n".join((panel.x, *textwrap.wrap(panel.summary, _LINE))), fontsize=8, color=INK)
    axes.set_ylabel(panel.y, fontsize=8.5, color=INK)
    axes.grid(color=GRID, lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=8, colors=INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    if any(curve.label for curve in panel.curves):
        axes.legend(fontsize=7.5, frameon=True, framealpha=0.85, edgecolor="none", labelcolor=INK)


def _power(at: float) -> str:
    return f"{10**at:.3g}" if -2 <= at <= 3 else f"$10^{{{at:.3g}}}$"


def _curve(axes: Axes, curve: Curve, panel: Panel) -> None:
    x, y = drawn(curve.x, panel.log_x), drawn(curve.y, panel.log_y)
    color, label = _COLORS[curve.color], curve.label or None
    if curve.style == "faint":
        axes.plot(x, y, color=INK, lw=0.5, alpha=0.45, zorder=1)
    elif curve.style == "line":
        axes.plot(x, y, color=color, ls=_DASHES[curve.color], lw=1.8, label=label)
    elif curve.style == "points":
        axes.plot(x, y, color=color, ls="none", marker=_MARKERS[curve.color], ms=4, label=label)
    else:
        every = [0] if curve.style == "arrows" else None  # arrows show the rest
        axes.plot(x, y, color=color, lw=1.1, marker=_MARKERS[curve.color], ms=4, markevery=every, label=label)
    if curve.style == "arrows" and len(x) > 1:
        steps = np.stack([np.diff(x), np.diff(y)])
        axes.quiver(x[:-1], y[:-1], *steps, color=color, angles="xy", scale_units="xy", scale=1, width=0.004, zorder=3)


def _rule(axes: Axes, rule: Rule, panel: Panel) -> None:
    look: dict[str, Any] = {"fontsize": 8, "color": INK, "ha": "right", "clip_on": True}
    if rule.axis == "x":
        at = float(drawn(rule.at, panel.log_x))
        axes.axvline(at, color=INK, lw=1.0, ls=":")
        axes.text(at, 0.98, f"{rule.label} ", va="top", transform=axes.get_xaxis_transform(), **look)
    else:
        at = float(drawn(rule.at, panel.log_y))
        axes.axhline(at, color=INK, lw=1.0, ls=":")
        axes.text(0.99, at, rule.label, va="bottom", transform=axes.get_yaxis_transform(), **look)
