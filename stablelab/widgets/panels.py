"""Small plots as data: what a moving picture is sent and what its still picture is drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

STYLES = ("line", "points", "path", "arrows", "faint")
COLORS = 6
_PAD = 0.04  # of the range, left free around the data
_FAR = 1e30  # float32 holds it, and no screen reaches it


@dataclass(frozen=True, eq=False)
class Curve:
    """One curve of a panel.

    Arguments:
        x, y: (N,) numbers; a NaN breaks the line.
        label: its name in the legend; none, no entry.
        style: ``"line"``, ``"points"`` (markers), ``"path"`` (thin line and markers), ``"arrows"`` (from each point to
            the next) or ``"faint"`` (thin, of the axes' own colour, such as a contour; it does not widen the axes).
        color: number of an Okabe-Ito colour, 0 to 5; each comes with a dash pattern and a marker of its own.

    Raises:
        ValueError: x and y differ in length, or there is no such style or colour.
    """

    x: ArrayLike
    y: ArrayLike
    label: str = ""
    style: str = "line"
    color: int = 0

    def __post_init__(self) -> None:
        x, y = _numbers(self.x, "x"), _numbers(self.y, "y")
        if len(x) != len(y):
            raise ValueError(f"a curve needs as many y as x; there are {len(x)} x and {len(y)} y")
        if self.style not in STYLES:
            raise ValueError(f"style is {self.style!r}; it must be one of {', '.join(STYLES)}")
        if self.color not in range(COLORS):
            raise ValueError(f"color is {self.color!r}; it must be a number from 0 to {COLORS - 1}")
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "y", y)


@dataclass(frozen=True)
class Rule:
    """A straight line across the panel at one value of x (``axis="x"``) or of y, with its name beside it."""

    at: float
    label: str = ""
    axis: str = "x"

    def __post_init__(self) -> None:
        if self.axis not in ("x", "y"):
            raise ValueError(f'axis is {self.axis!r}; it must be "x" or "y"')


@dataclass(frozen=True, eq=False)
class Heat:
    """Shades under the curves: values (H, W) between 0 (clear) and 1, the first row at the bottom.

    ``extent`` is (left, right, bottom, top) in the units of the axes.
    """

    values: ArrayLike
    extent: tuple[float, float, float, float]

    def __post_init__(self) -> None:
        values = np.clip(np.asarray(self.values, dtype=np.float64), 0.0, 1.0)
        if values.ndim != 2 or not values.size:
            raise ValueError(f"heat needs values (H, W); these have shape {values.shape}")
        object.__setattr__(self, "values", values)


@dataclass(frozen=True, eq=False)
class Panel:
    """One plot: curves, labelled axes, and in words what it shows.

    Arguments:
        curves: drawn in this order.
        x, y: names of the axes, with units.
        title: above the plot.
        summary: one sentence with the numbers that matter; shown under the plot and read out by screen readers.
        xlim, ylim: (low, high); the range of the data if not given.
        log_x, log_y: logarithmic axes; what is not positive is left out.
        equal: one unit is equally long on both axes, so that right angles look right.
        rules: straight lines across the panel.
        heat: shades under everything else.

    Raises:
        ValueError: a range that is empty, not finite, or not positive on a logarithmic axis.
    """

    curves: Sequence[Curve]
    x: str = ""
    y: str = ""
    title: str = ""
    summary: str = ""
    xlim: tuple[float, float] | None = None
    ylim: tuple[float, float] | None = None
    log_x: bool = False
    log_y: bool = False
    equal: bool = False
    rules: Sequence[Rule] = ()
    heat: Heat | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "curves", tuple(self.curves))
        object.__setattr__(self, "rules", tuple(self.rules))
        for name, limits, log in (("xlim", self.xlim, self.log_x), ("ylim", self.ylim, self.log_y)):
            if limits is not None and not _fit(limits, log):
                above = " above 0" if log else ""
                raise ValueError(f"{name} is {limits!r}; it must be two finite numbers{above}, the smaller one first")

    def limits(self, axis: str) -> tuple[float, float]:
        """(low, high) of an axis in the units it is drawn in: powers of ten where it is logarithmic."""
        given, log = (self.xlim, self.log_x) if axis == "x" else (self.ylim, self.log_y)
        if given is not None:
            low, high = drawn(np.array(given), log).tolist()
            return low, high
        values = [drawn(getattr(curve, axis), log) for curve in self.curves if curve.style != "faint"]
        values.append(drawn(np.array([rule.at for rule in self.rules if rule.axis == axis]), log))
        data = np.concatenate(values)
        data = data[np.isfinite(data) & (np.abs(data) < _FAR)]
        if not data.size:
            return 0.0, 1.0
        low, high = float(data.min()), float(data.max())
        pad = _PAD * (high - low) or 0.5 * (abs(low) or 1.0)
        return low - pad, high + pad


def drawn(values: Any, log: bool) -> np.ndarray:
    """Values in the units they are drawn in: as they are, or their powers of ten (NaN where not positive)."""
    values = np.asarray(values, dtype=np.float64)
    if log:
        values = np.log10(np.where(values > 0, values, np.nan))
    return np.clip(values, -_FAR, _FAR)


def as_panels(drawn: Panel | Sequence[Panel]) -> tuple[Panel, ...]:
    """What a drawing function returned, one panel or several, as several."""
    return (drawn,) if isinstance(drawn, Panel) else tuple(drawn)


def in_words(panels: Sequence[Panel]) -> str:
    """What panels show, for those who cannot see them."""
    return "; ".join(f"{panel.title}: {panel.summary}" for panel in panels)


def message(panels: Sequence[Panel]) -> tuple[dict[str, Any], list[bytes]]:
    """The panels as a header (JSON) and float32 buffers: of each panel the heat, if any, then x and y of each curve."""
    header, buffers = [], []
    for panel in panels:
        entry: dict[str, Any] = {name: getattr(panel, name) for name in ("x", "y", "title", "summary", "equal")}
        entry |= {"logX": panel.log_x, "logY": panel.log_y, "xlim": panel.limits("x"), "ylim": panel.limits("y")}
        entry["rules"] = [
            {"at": float(drawn(r.at, panel.log_x if r.axis == "x" else panel.log_y)), "label": r.label, "axis": r.axis}
            for r in panel.rules
        ]
        if panel.heat is not None:
            values = np.asarray(panel.heat.values)
            entry["heat"] = {"shape": values.shape, "extent": panel.heat.extent}
            buffers.append(_bytes(values))
        entry["curves"] = [{"label": c.label, "style": c.style, "color": c.color} for c in panel.curves]
        for curve in panel.curves:
            buffers += [_bytes(drawn(curve.x, panel.log_x)), _bytes(drawn(curve.y, panel.log_y))]
        header.append(entry)
    return {"panels": header}, buffers


def _numbers(values: ArrayLike, name: str) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} of a curve must have shape (N,); it has shape {array.shape}")
    return array


def _fit(limits: tuple[float, float], log: bool) -> bool:
    if len(limits) != 2:
        return False
    low, high = limits
    return bool(np.isfinite(low) and np.isfinite(high) and low < high and (low > 0 or not log))


def _bytes(values: np.ndarray) -> bytes:
    return np.ascontiguousarray(values, dtype="<f4").tobytes()
