"""Pictures side by side, each with a line or two above it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from . import training_curves as figures
from .display import show
from .training_curves import DPI, INK

_INCHES = 1.85  # of the width that a picture gets, as long as no more than four stand in a row
_WIDEST = 8.0


def show_pictures(pictures: Sequence[Any], titles: Sequence[str], across: int = 8) -> None:
    """Show pictures in rows, and print their titles.

    Args:
        pictures: each (H, W, 3) or (H, W) uint8, or a (3, H, W) uint8 tensor.
        titles: what stands above each.
        across: how many in a row.

    Raises:
        ValueError: not as many titles as pictures, or no picture at all.
    """
    if len(pictures) != len(titles) or not len(pictures):
        raise ValueError(f"there are {len(pictures)} pictures and {len(titles)} titles; give each picture a title")
    figure = pictures_figure([_upright(each) for each in pictures], titles, across)
    show(f"pictures: {'; '.join(' '.join(title.split()) for title in titles)}", png=figures.to_png(figure))


def pictures_figure(pictures: Sequence[Any], titles: Sequence[str], across: int) -> Figure:
    """Pictures in rows of so many, (H, W, 3) or (H, W) each, with their titles."""
    across = min(across, len(pictures))
    down = math.ceil(len(pictures) / across)
    side = min(_INCHES, _WIDEST / across)
    lines = max(title.count("\n") + 1 for title in titles)
    size = (side * across, (side + 0.14 * lines) * down)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained", facecolor="white")
    every = np.ravel(figure.subplots(down, across))
    for axes in every:
        axes.set_axis_off()
    for axes, picture, title in zip(every, pictures, titles, strict=False):
        axes.imshow(picture, cmap="gray", interpolation="nearest" if max(np.shape(picture)[:2]) <= 64 else "auto")
        axes.set_title(title, loc="left", fontsize=8, color=INK)
    return figure


def _upright(picture: Any) -> np.ndarray:
    array = np.asarray(picture)
    return array.transpose(1, 2, 0) if array.ndim == 3 and array.shape[0] == 3 else array
