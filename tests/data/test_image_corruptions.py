"""Pictures under each corruption: how much they change, that only the seed decides, and what is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from stablelab import data
from stablelab.data import corrupt_pictures
from stablelab.data.image_corruptions import IMAGE_CORRUPTIONS, SEVERITIES


def scenes(n: int = 12, height: int = 40, width: int = 60) -> Tensor:
    """Coloured discs on coloured grounds with a shade across, wider than high."""
    generator = torch.Generator().manual_seed(1)
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    ground, disc = torch.rand(2, n, 3, 1, 1, generator=generator)
    middle, radius = 0.3 + 0.4 * torch.rand(n, 2, 1, 1, generator=generator), 0.25
    inside = ((x - middle[:, 0]) ** 2 + (y - middle[:, 1]) ** 2 < radius**2).unsqueeze(1)
    return (torch.where(inside, disc, ground) * (0.6 + 0.4 * x) * 255).to(torch.uint8)


def _away(pixels: Tensor, name: str, severity: int) -> float:
    changed = corrupt_pictures(pixels, name, severity)
    assert changed.shape == pixels.shape and changed.dtype == torch.uint8
    return float((changed.float() - pixels.float()).abs().mean())


@pytest.mark.parametrize("name", IMAGE_CORRUPTIONS)
def test_each_severity_is_further_from_the_picture_than_the_one_before(name: str, digits: data.Task) -> None:
    for pixels in (digits.validation.store.pixels, scenes()):
        before = pixels.clone()
        away = [_away(pixels, name, severity) for severity in SEVERITIES]
        assert away[0] > 0 and all(one < other for one, other in pairwise(away)), away
        assert torch.equal(pixels, before)


@pytest.mark.parametrize("name", IMAGE_CORRUPTIONS)
def test_the_seed_decides_and_nothing_else(name: str) -> None:
    state = torch.get_rng_state()
    once = corrupt_pictures(scenes(), name, 4, seed=3)
    torch.rand(5)
    assert torch.equal(once, corrupt_pictures(scenes(), name, 4, seed=3))
    torch.set_rng_state(state)
    corrupt_pictures(scenes(), name, 4, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    random = name in ("noise", "rotation", "shift", "occlusion")
    assert torch.equal(once, corrupt_pictures(scenes(), name, 4, seed=5)) is not random


def test_noise_has_the_spread_it_is_said_to_have() -> None:
    grey = torch.full((20, 3, 16, 16), 128, dtype=torch.uint8)
    assert float(corrupt_pictures(grey, "noise", 1).double().std()) == pytest.approx(0.10 * 255, rel=0.02)


def test_a_shift_moves_and_a_patch_covers() -> None:
    dot = torch.zeros(16, 3, 32, 32, dtype=torch.uint8)
    dot[:, :, 16, 16] = 255
    moved = corrupt_pictures(dot, "shift", 5)[:, 0].nonzero()[:, 1:] - 16  # 22 % of 32 pixels
    assert {tuple(way) for way in moved.tolist()} == {(0, 7), (0, -7), (7, 0), (-7, 0)}
    covered = corrupt_pictures(torch.zeros_like(dot), "occlusion", 5)
    assert (covered == 128).sum(dim=(1, 2, 3)).tolist() == [3 * 19 * 19] * 16
    milder = corrupt_pictures(torch.zeros_like(dot), "occlusion", 2)
    assert bool((covered[milder > 0] > 0).all())  # a harsher patch lies over a milder one


def test_pictures_of_one_pixel_and_none_at_all() -> None:
    for name in IMAGE_CORRUPTIONS:
        assert corrupt_pictures(torch.zeros(2, 3, 1, 1, dtype=torch.uint8), name, 5).shape == (2, 3, 1, 1)
        assert corrupt_pictures(torch.zeros(0, 3, 8, 8, dtype=torch.uint8), name, 3).shape == (0, 3, 8, 8)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((scenes(1), "fog", 1), r"^there is no corruption 'fog' here; there are noise, blur, .*occlusion$"),
        ((scenes(1), "noise", 0), r"^severity is 0; it must be a whole number from 1 \(mild\) to 5 \(harsh\)$"),
        ((scenes(1), "noise", 6), r"^severity is 6"),
        ((scenes(1), "noise", 2.0), r"^severity is 2\.0"),
        ((scenes(1), "noise", True), r"^severity is True"),
        ((scenes(1), "noise", 1, -1), r"^seed is -1; it must be a whole number, 0 or more$"),
        ((scenes(1).float(), "noise", 1), r"^pixels is \(1, 3, 40, 60\) torch\.float32; .*\(N, 3, H, W\) of uint8$"),
        ((scenes(1)[0], "noise", 1), r"^pixels is \(3, 40, 60\)"),
        (("a picture", "noise", 1), r"^pixels is str"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(arguments: tuple, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        corrupt_pictures(*arguments)
