"""Loss surfaces over two weights: their contours, and the path that an update rule walks on them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import contourpy
import numpy as np
import torch
from torch import Tensor

from .panels import Curve, Heat

_GRID = 81  # points per side: contours look smooth, and it takes a few milliseconds

Range = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Quadratic:
    """The loss ½ θᵀHθ. Arguments: H (D, D), symmetric."""

    H: Tensor

    def loss(self, theta: Tensor) -> Tensor:
        """(...) for weights (..., D)."""
        return 0.5 * ((theta @ self.H) * theta).sum(-1)

    def gradient(self, theta: Tensor) -> Tensor:
        """Hθ, (..., D) for weights (..., D)."""
        return theta @ self.H


def valley(kappa: float, steepest: float = 10.0, angle: float = 0.5) -> Quadratic:
    """A quadratic of two weights, float64.

    Arguments:
        kappa: condition number λ_max / λ_min, at least 1.
        steepest: λ_max.
        angle: by which the steepest direction is turned away from the first weight, in radians.

    Raises:
        ValueError: kappa is below 1, or steepest not above 0.
    """
    if not kappa >= 1 or not steepest > 0:
        raise ValueError(f"a valley needs kappa ≥ 1 and steepest > 0; got {kappa} and {steepest}")
    steep = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    flat = torch.tensor([-math.sin(angle), math.cos(angle)], dtype=torch.float64)
    return Quadratic(steepest * torch.outer(steep, steep) + steepest / kappa * torch.outer(flat, flat))


def walk(
    step: Callable[..., tuple[Any, ...]], gradient: Callable[[Tensor], Tensor], theta: Tensor, steps: int, *memory: Any
) -> Tensor:
    """The weights before the first and after each step of an update rule.

    Arguments:
        step: called as ``step(theta, g, t, *memory)`` with t from 1; returns the new theta and memory as one tuple.
        gradient: of the loss, at any theta.
        theta: (D,) where to start.
        steps: how many, 0 or more.
        memory: what the rule remembers at first, such as Adam's m and v.

    Returns:
        (steps + 1, D).
    """
    path = [theta]
    for t in range(1, steps + 1):
        theta, *memory = step(theta, gradient(theta), t, *memory)  # type: ignore[assignment]
        path.append(theta)
    return torch.stack(path)


def contours(loss: Callable[[Tensor], Tensor], xlim: Range, ylim: Range, levels: int = 12) -> tuple[Curve, Heat]:
    """Contour lines of a loss of two weights, and its shades: light where the loss is low.

    Arguments:
        loss: takes weights (..., 2), returns losses (...).
        xlim, ylim: the window to cover.
        levels: how many lines. Their heights grow as squares, so on a quadratic they are equally spaced.

    Returns:
        One faint curve with all the lines, and the heat to put under it.
    """
    x, y = np.linspace(*xlim, _GRID), np.linspace(*ylim, _GRID)
    grid = torch.from_numpy(np.stack(np.meshgrid(x, y), axis=-1))  # (H, W, 2)
    height = loss(grid).numpy()  # (H, W)
    height = height - height.min()
    root = np.sqrt(height / height.max()) if height.max() > 0 else height
    generator = contourpy.contour_generator(x, y, root)
    gap = np.full((1, 2), np.nan)
    lines = [piece for level in np.arange(1, levels + 1) / (levels + 1) for piece in generator.lines(level)]
    points = np.concatenate([part for line in lines for part in (line, gap)] or [gap])
    return Curve(points[:, 0], points[:, 1], style="faint"), Heat(root, (*xlim, *ylim))
