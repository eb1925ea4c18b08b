"""Pictures to classify, from any folder of images: kept as bytes, normalized batch by batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .splits import Size, split_sizes, stratified_split
from .tasks import Task, make_task

# Means and standard deviations of ImageNet's channels: what torchvision's pre-trained weights expect.
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
SPLIT_FOLDERS = {"train", "val", "valid", "validation", "test"}


class Pictures:
    """Pictures of one size, kept as bytes and normalized when a batch is made.

    Args:
        pixels: (N, 3, H, W) uint8.
    """

    lengths = None

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, positions: Tensor) -> Tensor:
        return self.pixels[positions].float().div_(255).sub_(MEAN).div_(STD)  # (B, 3, H, W)

    def raw(self, i: int) -> np.ndarray:
        return self.pixels[i].permute(1, 2, 0).numpy()  # (H, W, 3)

    def digest(self) -> bytes:
        return hashlib.sha256(repr(tuple(self.pixels.shape)).encode() + self.pixels.numpy().tobytes()).digest()


def check_picture_size(size: int) -> None:
    """Raise a one-line ``ValueError`` unless pictures can have this height and width in pixels."""
    if isinstance(size, bool) or not isinstance(size, int) or not 8 <= size <= 1024:
        raise ValueError(f"size is {size!r}; it must be a whole number of pixels from 8 to 1024")


def images(
    folder: str | Path,
    size: int = 64,
    train: Size = None,
    validation: Size = 0.2,
    test: Size = 0.2,
    seed: int = 0,
    balanced: bool = False,
) -> Task:
    """Any folder of images with one sub-folder per class (the layout of torchvision's ``ImageFolder``).

    Args:
        folder: the folder; its sub-folders name the classes.
        size: pixels; the shorter side is scaled to it and the middle square is kept.
        train: number of pictures, or share; None takes all that is left.
        validation: number of pictures, or share.
        test: number of pictures, or share.
        seed: seed of the split.
        balanced: equal numbers of every class.

    Raises:
        FileNotFoundError: no such folder, no sub-folders, or a sub-folder without images.
        ValueError: one class only, images that cannot be read (the first is named), or a size that cannot be had.
    """
    check_picture_size(size)
    files, targets, classes = _listing(Path(folder))
    splits = stratified_split(targets, split_sizes(len(files), train, validation, test), classes, seed, balanced)
    used = torch.cat(list(splits.values())).tolist()
    pixels = dict(zip(used, _read([files[i] for i in used], size), strict=True))
    stores = {split: Pictures(torch.stack([pixels[i] for i in where.tolist()])) for split, where in splits.items()}
    chosen = {split: targets[where] for split, where in splits.items()}
    return make_task(Path(folder).resolve().name, "image", classes, stores, chosen)


def _listing(folder: Path) -> tuple[list[str], Tensor, tuple[str, ...]]:
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    from torchvision.datasets import ImageFolder

    try:
        found = ImageFolder(str(folder))
    except FileNotFoundError as error:
        reason = str(error).splitlines()[0]
        raise FileNotFoundError(f"{folder} is not one sub-folder of images per class: {reason}") from error
    if set(found.classes) <= SPLIT_FOLDERS:
        raise ValueError(
            f"{folder} has {' and '.join(found.classes)} in it, not classes; give the folder of one of them"
        )
    files, targets = zip(*found.samples, strict=True)
    return list(files), torch.tensor(targets), tuple(found.classes)


def _read(files: Sequence[str], size: int) -> list[Tensor]:
    from PIL import Image, ImageOps

    pixels, unreadable = [], []
    for file in files:
        try:
            with Image.open(file) as image:
                square = ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BILINEAR)
            pixels.append(torch.from_numpy(np.array(square)).permute(2, 0, 1))  # (3, size, size)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # damage, as Pillow reports it
            unreadable.append(file)
    if unreadable:
        raise ValueError(f"{len(unreadable)} of {len(files)} images cannot be read, the first is {unreadable[0]}")
    return pixels
