"""Which colour a number of a heatmap gets: the mean's from one colour map, the spread's from another."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.colors import Colormap, LogNorm, Normalize

SINGLE = "#EFEFEF"  # where there is no number
_LEVELS = 40  # shades of a colour map: both maps, and the ink, fit a picture's palette
_FAR = 30.0  # the largest over the smallest number, from which on the colours are logarithmic
_DECADES = 2.5  # that logarithmic colours reach over at most
_MAPS = ("viridis", "cividis")  # mean, spread: perceptually uniform, legible with every kind of colour blindness


def colours(values: np.ndarray) -> Normalize:
    """From a number to its place on a colour map: logarithmic where they are far apart.

    Logarithmic colours begin near the smallest numbers and end 2.5 decades above: what trains well is told apart, and
    what is hundreds of times as bad is all the same.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return Normalize(0.0, 1.0)
    low, high = float(finite.min()), float(finite.max())
    positive = finite[finite > 0]
    if low >= 0 and len(positive) and high > _FAR * positive.min():
        low = float(np.percentile(positive, 5))
        return LogNorm(low, min(high, low * 10**_DECADES), clip=True)
    pad = 0.0 if high > low else 0.5 * abs(low) or 0.5
    return Normalize(low - pad, high + pad, clip=True)


def beyond(values: np.ndarray, norm: Normalize) -> tuple[bool, bool]:
    """Whether there are numbers below and above what the colours reach over."""
    finite = values[np.isfinite(values)]
    return bool((finite < (norm.vmin or 0.0)).any()), bool((finite > (norm.vmax or 0.0)).any())


def shades_of(which: int, falls: bool) -> Colormap:
    """The colours of the mean (0) or the spread (1), the brightest being the best; ``falls``: less is better."""
    shades = matplotlib.colormaps[_MAPS[which]].resampled(_LEVELS)
    return (shades.reversed() if which or falls else shades).with_extremes(bad=SINGLE)
