"""A figure that is drawn anew again and again, as quickly as matplotlib can, under torch's first defaults."""

from __future__ import annotations

import struct
import textwrap
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..plots.display import figure_style, to_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Draw = Callable[..., str]

_DPI = 100  # on the page; what is stored in the notebook is finer
# In inches. Fixed margins are quicker than a layout engine, and a label at a fixed place does not look for the ticks.
_LEFT, _RIGHT, _BETWEEN, _TOP, _BOTTOM = 0.66, 0.2, 0.76, 0.34, 0.5
_Y_LABEL, _X_LABEL = 0.42, 0.26  # from the axes
_LINE = 0.17  # height of a line of words


class Drawing:
    """One figure that a function draws anew again and again; without pyplot, so in any thread.

    torch's default dtype and grad mode are, each time, what they were when the figure was made.

    Args:
        draw: called with the axes, or with a tuple of them where there are several panels, and with what the figure is
            called with; returns one line of words on what is shown.
        panels: how many axes stand side by side.
        figsize: (width, height) in inches.
    """

    def __init__(self, draw: Draw, panels: int = 1, figsize: tuple[float, float] | None = None) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.width, self.height = figsize or (max(6.4, 3.5 * panels), 3.6)
        self._panel = (self.width - _LEFT - _RIGHT - _BETWEEN * (panels - 1)) / panels, self.height - _TOP - _BOTTOM
        self._draw = draw
        self._dtype, self._grad = torch.get_default_dtype(), torch.is_grad_enabled()
        with figure_style():
            self._figure = Figure(dpi=_DPI)
            self._axes = tuple(self._figure.subplots(1, panels, squeeze=False)[0])
        for axes in self._axes:
            for axis in (axes.xaxis, axes.yaxis):  # clear() keeps the ticks: new ones take a third of a picture's time
                setattr(axis, "reset_ticks", lambda: None)  # noqa: B010
        self._canvas = FigureCanvasAgg(self._figure)  # kept, as it remembers how texts are laid out

    def __call__(self, *arguments: Any, **values: Any) -> tuple[bytes, str]:
        """The picture as the bytes of a PNG file, and its words."""
        with self._drawn(arguments, values) as words:
            self._fit()
            self._canvas.draw()
            return _quick_png(np.asarray(self._canvas.buffer_rgba())), words

    def stored(self, note: str, *arguments: Any, **values: Any) -> tuple[bytes, str]:
        """For a page where nothing moves: the same in print quality, with a note above it and its words below it."""
        with self._drawn(arguments, values) as words:
            lines = textwrap.wrap(words, round(15 * self.width))
            height = self._fit(1.5 * _LINE if note else 0.0, (len(lines) + 0.5) * _LINE)
            place: dict[str, Any] = {"x": 0.1 / self.width, "fontsize": 8.5}
            added = (
                self._figure.text(y=1 - 0.06 / height, s=note, va="top", **place),
                self._figure.text(y=0.06 / height, s="\n".join(lines), va="bottom", linespacing=1.4, **place),
            )
            png = to_png(self._figure)
            for text in added:
                text.remove()
        return png, words

    @contextmanager
    def _drawn(self, arguments: tuple[Any, ...], values: dict[str, Any]) -> Iterator[str]:
        """Draw, and hold on to style, dtype and grad mode while it becomes a file."""
        from matplotlib import rcParams

        with figure_style(), torch.set_grad_enabled(self._grad), _DefaultDtype(self._dtype):
            rcParams["axes.titley"] = 1.0  # for a title that does not look for ticks above it, a tenth of the time
            for axes in self._axes:
                for each in (*axes.images, *axes.collections):
                    if each.colorbar is not None:
                        each.colorbar.remove()  # which gives the panel its place back
            for axes in self._figure.axes:
                self._clear(axes) if axes in self._axes else axes.remove()
            words = self._draw(self._axes if self._axes[1:] else self._axes[0], *arguments, **values)
            if not isinstance(words, str):
                raise TypeError(f"draw returned {words!r}; it must return one line of words on what is shown")
            for axes in self._axes:
                _without_minor_ticks(axes)
            yield " ".join(words.split())

    def _clear(self, axes: Axes) -> None:
        axes.clear()
        axes.xaxis.set_label_coords(0.5, -_X_LABEL / self._panel[1])
        axes.yaxis.set_label_coords(-_Y_LABEL / self._panel[0], 0.5)
        if len(self._axes) > 1:
            axes.locator_params(nbins=5)  # where there is less room; and each tick costs a millisecond

    def _fit(self, above: float = 0.0, below: float = 0.0) -> float:
        """Put the panels into the figure, with so many inches more above and below them; returns its height."""
        height = self.height + above + below
        self._figure.set_size_inches(self.width, height)
        self._figure.subplots_adjust(
            left=_LEFT / self.width,
            right=1 - _RIGHT / self.width,
            bottom=(_BOTTOM + below) / height,
            top=1 - (_TOP + above) / height,
            wspace=_BETWEEN / self._panel[0],
        )
        return height


def _quick_png(pixels: np.ndarray) -> bytes:
    """Pixels (H, W, 4) uint8 as a PNG file, in half the time that Pillow takes, which tries five filters on each line.

    Source:
        W3C 2025, "Portable Network Graphics (PNG) Specification (Third Edition)", Sections 9.2 and 11.2.
    """
    height, width = pixels.shape[:2]
    lines = pixels.reshape(height, 4 * width)
    filtered = np.full((height, 1 + 4 * width), 2, dtype=np.uint8)  # each line less the one above it: filter type 2
    filtered[0, 1:] = lines[0]
    np.subtract(lines[1:], lines[:-1], out=filtered[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)  # eight bits of red, green, blue and opacity each
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes(), 1)), (b"IEND", b""))
    parts = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _without_minor_ticks(axes: Axes) -> None:
    """Across decades they are many, and each costs as much as one that can be seen."""
    from matplotlib.ticker import NullLocator

    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        if axis.get_scale() == "log" and high > 100 * low:
            axis.set_minor_locator(NullLocator())


# What makes floating-point numbers out of nothing, and what does so only where it is given such.
_ALWAYS = {torch.empty, torch.zeros, torch.ones, torch.eye, torch.linspace, torch.logspace, torch.rand, torch.randn}
_SOMETIMES = {torch.tensor, torch.as_tensor, torch.full, torch.arange}


class _DefaultDtype(TorchFunctionMode):
    """A context in which this thread makes tensors of ``dtype`` wherever a function would take torch's default.

    ``torch.set_default_dtype`` holds for every thread. A picture that sets it while something trains would have the
    training draw other random numbers.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called by torch in place of each of its functions."""
        kwargs = kwargs or {}
        default = torch.get_default_dtype()
        if default == self._dtype or kwargs.get("dtype") is not None:
            return func(*args, **kwargs)
        own = {**kwargs, "dtype": self._dtype}
        if func in _ALWAYS:
            return func(*args, **own)
        made = func(*args, **kwargs)
        if not isinstance(made, Tensor) or made.dtype != default:
            return made
        if func in _SOMETIMES:
            return made if isinstance(args[0] if args else None, np.ndarray | Tensor) else func(*args, **own)
        tensors = [each for each in args if isinstance(each, Tensor)]
        if not tensors or any(each.is_floating_point() for each in tensors):
            return made
        # Such as the quotient of two whole numbers.
        return func(*(each.to(self._dtype) if isinstance(each, Tensor) else each for each in args), **kwargs)
