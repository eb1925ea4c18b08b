"""Emoji: small pictures with names in English and Chinese, held out by concept.

The pictures are OpenMoji's (https://openmoji.org), under CC BY-SA 4.0, whose text lies beside them; ``README.md`` there
says what was done to them.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..._validation import checked_arguments, whole
from ..images import Pictures
from ..pairs import Pairs, pair_split
from ..tasks import SPLITS, Task, make_task

FOLDER = Path(__file__).parent
PICTURES, CAPTIONS = "pictures.png", "captions.csv"
SIZE = 32  # pixels
COLUMNS = 40  # pictures side by side on the sheet
FOLDS = 5
ATTRIBUTION = "All emojis designed by OpenMoji – the open-source emoji and icon project. License: CC BY-SA 4.0"


@checked_arguments
def emoji(language: str = "en", fold: int = 0) -> Pairs:
    """1,644 emoji of 32 × 32 pixels with their names as captions, about 987 to learn from and 329 each to judge by.

    No skin tones, no flags. They are held out by concept: "man running" and "woman running", or all 34 hearts, stand in
    one split.

    Args:
        language: "en" or "zh". The pictures of every language are the same, in the same order.
        fold: 0 to 4: which fifth of the concepts is the test split; the next fifth is for validation.

    Raises:
        ValueError: in one line, no such fold, or a language that there are no captions in: it lists those there are.
    """
    places = emoji_places(fold)
    table, pixels = emoji_table(), emoji_pixels()
    languages = list(table[0])[4:]
    if language not in languages:
        raise ValueError(
            f"there are no captions in {language!r}; there are {', '.join(languages)}, and more by "
            "python -m stablelab.data.emoji --languages"
        )
    splits = [pair_split(pixels[places[s]], [table[i][language] for i in places[s].tolist()]) for s in SPLITS]
    train, validation, test = splits
    return Pairs(f"emoji ({language})", train, validation, test)


@checked_arguments
def emoji_groups(fold: int = 0) -> Task:
    """The same pictures in the same order, with Unicode's eight groups as classes ("Food & Drink", …).

    Args:
        fold: as for ``emoji``.

    Raises:
        ValueError: in one line, no such fold.
    """
    places, pixels = emoji_places(fold), emoji_pixels()
    groups = [row["group"] for row in emoji_table()]
    classes = tuple(dict.fromkeys(groups))
    targets = torch.tensor([classes.index(group) for group in groups])
    stores = {split: Pictures(pixels[where]) for split, where in places.items()}
    return make_task("emoji by group", "image", classes, stores, {s: targets[where] for s, where in places.items()})


def emoji_places(fold: int) -> dict[str, Tensor]:
    """Of train, validation and test the rows of ``emoji_table`` in each ((N,) int64, ascending)."""
    whole("fold", fold, 0)
    if fold >= FOLDS:
        raise ValueError(f"fold is {fold}; there are {FOLDS}, from 0 to {FOLDS - 1}")
    part = _parts()
    test, validation = part == fold, part == (fold + 1) % FOLDS
    return {"train": (~test & ~validation).nonzero()[:, 0], "validation": validation.nonzero()[:, 0],
            "test": test.nonzero()[:, 0]}  # fmt: skip


@lru_cache(maxsize=1)
def _parts() -> Tensor:
    """(N,) which fifth each picture belongs to: the largest concepts first, each to the smallest fifth so far."""
    concepts = [row["concept"] for row in emoji_table()]
    # Which of concepts of one size goes first is chance, but the same on every machine.
    count = Counter(concepts)
    order = sorted(count, key=lambda name: (-count[name], hashlib.sha256(name.encode()).digest()))
    sizes, fold_of = [0] * FOLDS, {}
    for name in order:
        fold_of[name] = sizes.index(min(sizes))
        sizes[fold_of[name]] += count[name]
    return torch.tensor([fold_of[name] for name in concepts])


@lru_cache(maxsize=1)
def emoji_table() -> tuple[dict[str, str], ...]:
    """A row for each picture: emoji, group, subgroup, concept, and its name in each language."""
    with (FOLDER / CAPTIONS).open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


@lru_cache(maxsize=1)
def emoji_pixels() -> Tensor:
    """(1644, 3, 32, 32) uint8, in the order of ``emoji_table``; not to be written to."""
    from PIL import Image

    with Image.open(FOLDER / PICTURES) as sheet:
        pictures = pictures_of(np.array(sheet), len(emoji_table()))
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()


def sheet_of(pictures: np.ndarray) -> np.ndarray:
    """(rows · size, COLUMNS · size, 3): pictures (N, size, size, 3) side by side, row by row, then white."""
    n, size = pictures.shape[:2]
    rows = -(-n // COLUMNS)
    full: Any = np.full((rows * COLUMNS, size, size, 3), 255, dtype=np.uint8)
    full[:n] = pictures
    return full.reshape(rows, COLUMNS, size, size, 3).swapaxes(1, 2).reshape(rows * size, COLUMNS * size, 3)


def pictures_of(sheet: np.ndarray, n: int, size: int = SIZE) -> np.ndarray:
    """(n, size, size, 3): the first n pictures of a sheet, what ``sheet_of`` put together."""
    rows = len(sheet) // size
    cut = sheet.reshape(rows, size, COLUMNS, size, 3).swapaxes(1, 2)
    return cut.reshape(-1, size, size, 3)[:n]
