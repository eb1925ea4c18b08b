from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module

import pytest
import torch
from torch import Tensor

from stablelab import data
from stablelab.data.images import MEAN, STD


@dataclass
class Knobs:
    noise: float = 0.0
    crop: float = 0.0
    rotation: float = 0.0
    flip: float = 0.0


def normalized(pixels: Tensor) -> Tensor:
    return (pixels - MEAN) / STD


def augmented(pixels: Tensor, seed: int = 0, **knobs: float) -> Tensor:
    """Pixels, from 0 to 1, of pictures that went through ``augment`` as the loop hands them over."""
    before = torch.get_rng_state()
    torch.manual_seed(seed)
    inputs = normalized(pixels)
    kept = inputs.clone()
    changed = data.augment(inputs, Knobs(**knobs))
    torch.set_rng_state(before)
    assert changed.shape == pixels.shape and changed.dtype == pixels.dtype and torch.equal(inputs, kept)
    return changed * STD + MEAN


@pytest.fixture
def pictures() -> Tensor:
    return torch.rand(24, 3, 16, 12, generator=torch.Generator().manual_seed(3))  # (B, 3, H, W), not square


def close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, atol=1e-4)


def test_nothing_asked_is_nothing_done(pictures: Tensor) -> None:
    before = torch.get_rng_state()
    assert data.augment(pictures, Knobs()) is pictures
    assert torch.equal(torch.get_rng_state(), before)


def test_the_numbers_come_from_the_global_generator(pictures: Tensor) -> None:
    for knobs in ({"noise": 0.1}, {"crop": 0.2}, {"rotation": 20.0}, {"flip": 0.5}):
        assert torch.equal(augmented(pictures, seed=1, **knobs), augmented(pictures, seed=1, **knobs))
        assert not close(augmented(pictures, seed=1, **knobs), augmented(pictures, seed=2, **knobs))


def test_flip_mirrors_as_many_as_asked(pictures: Tensor) -> None:
    assert close(augmented(pictures, flip=1.0), pictures.flip(-1))
    many = pictures[:1].expand(400, -1, -1, -1)
    mirrored = [close(picture, many[0].flip(-1)) for picture in augmented(many, flip=0.25)]
    as_before = [close(picture, many[0]) for picture in augmented(many, flip=0.25)]
    assert 70 < sum(mirrored) < 130 and sum(mirrored) + sum(as_before) == 400


def test_crop_shifts_each_picture_by_whole_pixels_within_its_share(pictures: Tensor) -> None:
    dots = torch.zeros(300, 3, 16, 12)
    dots[:, :, 8, 6] = 1.0
    found = [tuple(index.tolist()) for index in augmented(dots, crop=0.25)[:, 0].gt(0.5).nonzero()]
    rows, columns = {row for _, row, _ in found}, {column for _, _, column in found}
    assert len(found) == 300 and rows == set(range(4, 13)) and columns == set(range(3, 10))  # 4 of 16, 3 of 12
    assert close(augmented(dots, crop=0.25).flatten(1).amax(1), torch.ones(300))  # as sharp as it was


def test_rotation_turns_each_picture_by_an_angle_of_its_own() -> None:
    bars = torch.zeros(200, 3, 33, 33)
    bars[:, :, 16, 17:] = 1.0  # from the middle to the right
    turned = augmented(bars, rotation=60.0)[:, 0]
    y, x = torch.meshgrid(torch.arange(33.0) - 16, torch.arange(33.0) - 16, indexing="ij")
    mass = turned.sum((1, 2))
    angles = torch.atan2((turned * y).sum((1, 2)) / mass, (turned * x).sum((1, 2)) / mass).rad2deg()
    assert angles.abs().max() < 62 and angles.min() < -50 and angles.max() > 50 and angles.unique().numel() > 150


@pytest.mark.parametrize("knobs", [{"crop": 0.5}, {"rotation": 180.0}])
def test_what_comes_in_from_outside_is_black(knobs: dict[str, float]) -> None:
    white = torch.ones(50, 3, 16, 16)
    changed = augmented(white, **knobs)
    assert close(changed.amin((1, 2, 3)).min(), torch.zeros(())) and changed.min() > -1e-5 and changed.max() < 1 + 1e-5
    assert close(changed[:, 0], changed[:, 2])  # black in every channel, not the mean of each


def test_noise_has_the_asked_deviation_in_pixels_and_stays_in_their_range() -> None:
    grey = torch.full((8, 3, 32, 32), 0.5)
    noise = augmented(grey, noise=0.1) - grey
    torch.testing.assert_close(noise.std((0, 2, 3)), torch.full((3,), 0.1), rtol=0.05, atol=0.0)
    assert not close(noise[0], noise[1]) and not close(noise[:, 0], noise[:, 1])
    loud = augmented(grey, noise=2.0)
    assert close(loud.min(), torch.zeros(())) and close(loud.max(), torch.ones(()))


def test_one_slider_leaves_what_another_does(pictures: Tensor) -> None:
    flipped = [close(a, b) for a, b in zip(augmented(pictures, flip=0.5), pictures, strict=True)]
    noisy = augmented(pictures, flip=0.5, noise=1e-5)
    assert [close(a, b) for a, b in zip(noisy, pictures, strict=True)] == flipped and len(set(flipped)) == 2


def test_a_tasks_own_pictures(digits: data.Task) -> None:
    inputs, _ = digits.collate(torch.arange(8))
    changed = data.augment(inputs, Knobs(noise=0.05, crop=0.1, rotation=10.0, flip=0.5))
    assert isinstance(changed, Tensor) and changed.shape == inputs.shape and changed.isfinite().all()
    assert not torch.equal(changed, inputs)


def test_sentences_features_and_grey_pictures_are_refused_in_one_line(movies: data.Task) -> None:
    sentences, _ = movies.collate(torch.arange(2))
    assert data.augment(sentences, Knobs()) is sentences
    with pytest.raises(
        ValueError, match=r"^noise and flip change pictures \(B, 3, H, W\), but the inputs are sentences; "
    ):
        data.augment(sentences, Knobs(noise=0.1, flip=0.5))
    with pytest.raises(
        ValueError, match=r"^crop changes pictures .* but the inputs are of shape \(4, 512\); set it to 0$"
    ):
        data.augment(torch.zeros(4, 512), Knobs(crop=0.1))
    with pytest.raises(ValueError, match=r"but the inputs are of shape \(4, 1, 8, 8\); set it to 0$"):
        data.augment(torch.zeros(4, 1, 8, 8), Knobs(rotation=5.0))


def test_torchvision_is_loaded_when_first_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.v2"):
        monkeypatch.setitem(sys.modules, name, None)  # so that importing it fails
    monkeypatch.delitem(sys.modules, "stablelab.data.augmentation")
    fresh = import_module("stablelab.data.augmentation")
    fresh.augment(torch.zeros(1, 3, 8, 8), Knobs())
    with pytest.raises(ImportError):
        fresh.augment(torch.zeros(1, 3, 8, 8), Knobs(flip=1.0))
