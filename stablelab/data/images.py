"""Pictures to classify, from any folder of images: kept as bytes, normalized batch by batch."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .._validation import checked_arguments, plain, shown, switch
from .picture_files import find_pictures, read_pictures, remarks_on_pictures, split_files
from .report import DataReport, balance
from .splits import Size, check_draw
from .tasks import Task, make_task

# Means and standard deviations of ImageNet's channels: what torchvision's pre-trained weights expect.
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


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
    given = plain(size)
    if isinstance(given, bool) or not isinstance(given, int) or not 8 <= given <= 1024:
        raise ValueError(f"size is {shown(size)}; it must be a whole number of pixels from 8 to 1024")


@checked_arguments
def images(
    folder: str | Path,
    size: int = 64,
    train: Size = None,
    validation: Size = 0.2,
    test: Size = 0.2,
    seed: int = 0,
    balanced: bool = False,
    merge_labels: bool = False,
    group_duplicates: bool = True,
) -> Task:
    """Any folder of images with one sub-folder per class (the layout of torchvision's ``ImageFolder``).

    Says what it read and what it left out, and keeps that as ``task.report``.

    Args:
        folder: the folder; its sub-folders name the classes.
        size: pixels; the shorter side is scaled to it and the middle square is kept.
        train: number of pictures, or share; None takes all that is left.
        validation: number of pictures, or share.
        test: number of pictures, or share.
        seed: seed of the split.
        balanced: equal numbers of every class.
        merge_labels: sub-folders whose names differ by case or blanks only are one class, called as the fullest.
        group_duplicates: files of the same content stand in one split, so that none is learned from and judged by. The
            splits are then as large as that allows.

    Raises:
        FileNotFoundError: no such folder, no sub-folders, or a sub-folder without images.
        ValueError: in one line: one class only, images that cannot be read (the first is named), pictures of 32 bits
            that do not say what is white, or a size that cannot be had.
    """
    check_picture_size(size)
    switch("merge_labels", merge_labels)
    switch("group_duplicates", group_duplicates)
    check_draw(seed, balanced)
    sizes = (train, validation, test)
    found = find_pictures(Path(folder))
    found, splits, remarks = split_files(found, sizes, seed, balanced, merge_labels, group_duplicates, "pictures")
    used = torch.cat(list(splits.values())).tolist()
    read = read_pictures([found.files[i] for i in used], size)
    pixels = dict(zip(used, read, strict=True))
    stores = {split: Pictures(torch.stack([pixels[i] for i in where.tolist()])) for split, where in splits.items()}
    targets = {split: found.targets[where] for split, where in splits.items()}
    task = make_task(Path(folder).resolve().name, "image", found.classes, stores, targets)
    summary = f"{len(found.files)} pictures: {balance(found.classes, found.counts())}"
    seen = remarks_on_pictures(read, [found.name(i) for i in used])
    report = DataReport(summary, (*found.remarks, *seen, *remarks))
    report.log()
    return replace(task, report=report)
