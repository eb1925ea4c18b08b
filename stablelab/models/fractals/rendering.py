"""Fractals as a network is trained on them: never twice in the same place, size, stroke and colour."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .ifs import Systems, counts, framed, grey, orbits

LEAST_SCALE, MOST_SCALE = 0.5, 0.95  # share of the picture that a fractal takes
DEGREES, DISTORTION = 20.0, 0.25  # how far it is turned, and stretched along either axis
COLOURED = 0.1  # share of pictures with two random colours instead of white on black


def draw(which: Systems, size: int, generator: torch.Generator) -> Tensor:
    """Pictures of systems, each moved, turned, stretched, thickened and coloured by chance.

    Args:
        which: (B) systems.
        size: pixels of a side.
        generator: all randomness comes from here, on the CPU.

    Returns:
        (B, 3, size, size) with values in [0, 1].
    """
    n = len(which)
    points = moved(framed(orbits(which, size, generator)), generator)
    pictures = grey(counts(points, size)).unsqueeze(1)  # (B, 1, size, size)
    soft = F.avg_pool2d(pictures, 3, stride=1, padding=1)
    thick, blur = torch.rand(2, n, 1, 1, 1, generator=generator)
    thick = (2 * thick - 1).clamp(min=0)  # half of the pictures stay thin
    pictures = torch.maximum(pictures, 2 * thick * soft)
    pictures = pictures.lerp(soft, 0.7 * blur)
    pictures = (pictures / pictures.amax((2, 3), keepdim=True).clamp(min=1e-3)).clamp(max=1)
    bright = 0.6 + 0.4 * torch.rand(n, 1, 1, 1, generator=generator)
    ground, ink = torch.rand(2, n, 3, 1, 1, generator=generator)
    coloured = torch.rand(n, 1, 1, 1, generator=generator) < COLOURED
    return torch.where(coloured, ground.lerp(ink, pictures), bright * pictures)


def moved(points: Tensor, generator: torch.Generator) -> Tensor:
    """Points (B, P, 2) of the square from -1 to 1, turned, stretched, shrunk and shifted within it by chance."""
    angle, scale, wide, high, *shift = torch.rand(6, len(points), generator=generator)
    angle = (2 * angle - 1) * math.radians(DEGREES)
    scale = LEAST_SCALE + (MOST_SCALE - LEAST_SCALE) * scale
    wide, high = (scale * (1 + DISTORTION * (2 * side - 1)) for side in (wide, high))
    turn = torch.stack((wide * angle.cos(), high * angle.sin(), -wide * angle.sin(), high * angle.cos()), 1)
    room = (1 - scale).unsqueeze(1) * (2 * torch.stack(shift, 1) - 1)  # (B, 2)
    return points @ turn.view(-1, 2, 2) + room.unsqueeze(1)
