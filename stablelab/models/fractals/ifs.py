"""Pictures made from formulas: iterated function systems, drawn by the chaos game. The class is the formula.

Source:
    Kataoka, Okayasu, Matsumoto, Yamagata, Yamada, Inoue, Nakamura and Satoh, "Pre-training without natural images",
    ACCV 2020 and IJCV 2022, Section 3; the chaos game: Barnsley, "Fractals everywhere", 1988, Chapter 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor

from ..._validation import whole
from ...data.tasks import generator_for

MOST_MAPS = 8  # a system has 2 to 8 maps, as in the paper
STRETCH = 0.95  # no map keeps distances above this share: so every orbit comes to the attractor, at a known rate
WARM_UP = 16  # 0.95^16 < 1/2 is the worst case; the typical map shrinks to a half and forgets its start in ten steps
STEPS = 32  # points of an orbit; many orbits are drawn side by side
POINTS = 2  # for each pixel
FILLING = (0.1, 0.4)  # share of a picture's pixels that a formula is kept for
LUMP = 256  # candidates, or pictures, that are made at once
PATIENCE = 4  # lumps after which it must be clear that such systems are not too rare


@dataclass(frozen=True)
class Systems:
    """Iterated function systems, one for each class or picture.

    Attributes:
        maps: (N, 8, 6) the numbers (a, b, c, d, e, f) of x' = a x + b y + e, y' = c x + d y + f.
        chances: (N, 8) with which probability each map is chosen; 0 for a map that the system does not have.
    """

    maps: Tensor
    chances: Tensor

    def __len__(self) -> int:
        return len(self.maps)

    def __getitem__(self, which: Tensor | slice) -> Systems:
        return Systems(self.maps[which], self.chances[which])


def systems(classes: int, seed: int = 0, filling: tuple[float, float] = FILLING, size: int = 32) -> Systems:
    """Random systems whose pictures are neither nearly empty nor a blot that says little of its formula.

    The number of maps is drawn from 2 to 8 and each number of a map from -1 to 1; a map that does not contract is
    drawn again; a map's chance is proportional to the share of the area, |a d - b c|, that it fills.

    Args:
        classes: how many.
        seed: of the randomness; the first systems of a seed are the same however many are asked for.
        filling: a system is refused unless the share of pixels that its picture touches lies between these two, in
            [0, 1]; the paper has the lower bound alone.
        size: pixels of the side of that picture.

    Raises:
        ValueError: fewer than one class, or a filling rate that hardly any system has.

    Source:
        Kataoka and others, Section 3.1 and 3.2.
    """
    whole("classes", classes, 1)
    least, most = filling
    if not 0 <= least < most <= 1:
        raise ValueError(f"filling is {filling!r}; it must be two rising numbers from 0 to 1")
    kept: list[Systems] = []
    for lump in count():
        generator = generator_for(seed, 0, lump)
        found = _candidates(LUMP, generator)
        touched = (counts(framed(orbits(found, size, generator)), size) > 0).float().mean((1, 2))
        kept.append(found[(touched >= least) & (touched <= most)])
        number = sum(map(len, kept))
        if number >= classes:
            return Systems(torch.cat([s.maps for s in kept]), torch.cat([s.chances for s in kept]))[:classes]
        if lump >= PATIENCE and number <= lump:  # one in 256, or fewer
            break
    pixels = f"{size}x{size} pixels"
    raise ValueError(f"hardly any system fills {least:.0%} to {most:.0%} of {pixels}; ask for another range")


def _candidates(n: int, generator: torch.Generator) -> Systems:
    pool = 2 * torch.rand(n * MOST_MAPS * 8, 6, generator=generator) - 1
    pool = pool[torch.linalg.matrix_norm(pool[:, :4].view(-1, 2, 2), 2) < STRETCH]
    maps = pool[: n * MOST_MAPS].view(n, MOST_MAPS, 6)
    number = torch.randint(2, MOST_MAPS + 1, (n, 1), generator=generator)
    area = (maps[..., 0] * maps[..., 3] - maps[..., 1] * maps[..., 2]).abs().clamp(min=0.01)
    area = area * (torch.arange(MOST_MAPS) < number)
    return Systems(maps, area / area.sum(1, keepdim=True))


def varied(formulas: Systems, variations: int, seed: int = 0, spread: float = 0.2) -> Systems:
    """Variations of each formula: its numbers weighted by random factors. They share the formula's class.

    Args:
        formulas: (C) systems.
        variations: how many of each, V.
        seed: of the factors.
        spread: the factors lie between 1 - spread and 1 + spread; the paper's between 0.8 and 1.2.

    Returns:
        C V systems, those of the first formula first; the first variation of each is the formula itself.

    Source:
        Kataoka and others, Section 3.2 ("augmentation with weights").
    """
    whole("variations", variations, 1)
    shape = (variations, len(formulas), MOST_MAPS, 6)
    factors = 1 + spread * (2 * torch.rand(shape, generator=generator_for(seed, 1)) - 1)
    factors[0] = 1
    maps = (formulas.maps * factors).transpose(0, 1).reshape(-1, MOST_MAPS, 6)
    norm = torch.linalg.matrix_norm(maps[..., :4].unflatten(-1, (2, 2)), 2)
    maps[..., :4] *= (STRETCH / norm.clamp(min=STRETCH)).unsqueeze(-1)
    return Systems(maps, formulas.chances.repeat_interleave(variations, 0))


def orbits(which: Systems, size: int, generator: torch.Generator) -> Tensor:
    """The chaos game: from a point on, apply one of the maps, chosen by chance, again and again.

    Args:
        which: (B) systems.
        size: pixels of a side of the picture to be drawn; there are two points for each pixel of it.
        generator: all randomness comes from here, on the CPU.

    Returns:
        (B, P, 2) points x, y of the attractors; the way there is left out.
    """
    chains = -(-POINTS * size * size // STEPS)
    shape = (len(which), chains * (WARM_UP + STEPS))
    bounds = which.chances.cumsum(1)[:, :-1].contiguous()
    chosen = torch.searchsorted(bounds, torch.rand(shape, generator=generator))  # (B, (warm-up + steps) chains)
    rows = chosen + MOST_MAPS * torch.arange(len(which)).unsqueeze(1)
    table = which.maps.reshape(-1, 6)
    x = y = torch.zeros(len(which) * chains)
    points = []
    for step, now in enumerate(rows.view(len(which), -1, chains).transpose(0, 1).flatten(1)):
        a, b, c, d, e, f = table[now].unbind(1)  # each (B chains)
        x, y = a * x + b * y + e, c * x + d * y + f
        if step >= WARM_UP:
            points.append(torch.stack((x, y), 1).view(len(which), chains, 2))
    return torch.cat(points, 1)


def framed(points: Tensor) -> Tensor:
    """The points moved and scaled, without distortion, so that they just fill the square from -1 to 1. (B, P, 2)."""
    low, high = points.amin(1, keepdim=True), points.amax(1, keepdim=True)
    half = (high - low).amax(2, keepdim=True).clamp(min=1e-6) / 2
    return (points - (low + high) / 2) / half


def counts(points: Tensor, size: int) -> Tensor:
    """How many points fall into each pixel of the square from -1 to 1; those outside are left out. (B, size, size)."""
    place = ((points + 1) * (size / 2 * (1 - 1e-6))).floor()
    inside = ((place >= 0) & (place < size)).all(2)
    first = torch.arange(len(points)).unsqueeze(1) * size * size
    pixels = (first + place[..., 1].long() * size + place[..., 0].long())[inside]
    return torch.bincount(pixels, minlength=len(points) * size * size).view(-1, size, size)


def grey(counted: Tensor) -> Tensor:
    """Counts as brightness in [0, 1): dense places are bright, and a picture's typical pixel is clearly seen."""
    number = counted.float()
    typical = number.sum((1, 2)) / (number > 0).sum((1, 2)).clamp(min=1)
    return 1 - torch.exp(-2 * number / typical.clamp(min=1e-6).view(-1, 1, 1))


def fractal_images(classes: int = 10, variations: int = 10, size: int = 32, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pictures of fractals and their classes, white on black.

    Args:
        classes: number of formulas.
        variations: pictures of each.
        size: pixels of a side, at least 8.
        seed: the same seed gives the same pictures.

    Returns:
        (N, 3, size, size) uint8 pictures, N = classes x variations, those of the first class first; (N,) int64 classes.

    Raises:
        ValueError: a number that is not whole or too small.
    """
    whole("size", size, 8)
    every = varied(systems(classes, seed), variations, seed)
    pictures = []
    for lump, which in enumerate(torch.arange(len(every)).split(LUMP)):
        drawn = grey(counts(framed(orbits(every[which], size, generator_for(seed, 2, lump))), size))
        pictures.append((255 * drawn).round().to(torch.uint8).unsqueeze(1).expand(-1, 3, -1, -1))
    return torch.cat(pictures), torch.arange(classes).repeat_interleave(variations)
