"""Pictures with captions: any table of picture paths and texts, each picture scaled to one size."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .._formatting import printable
from .._validation import checked_arguments
from .images import Pictures, check_picture_size
from .picture_files import read_pictures, remarks_on_pictures
from .report import DataReport, first_of_equals, folded
from .splits import Size, check_draw, split_sizes
from .tables import read_table
from .tasks import SPLITS, Split, generator_for

FEWEST = 6  # pairs: two in each split


@dataclass(frozen=True, eq=False, repr=False)
class Pairs:
    """Pictures and their captions.

    The classes of a split are its captions, and the target of a picture is the place of its own among them. So what
    takes a split takes these too: a model that gives (B, N) similarities is judged as a classifier with N classes.

    Attributes:
        name: what the learner calls them.
        train, validation, test: the splits.
        report: what was read and what was left out, of a table of one's own; None for others.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    report: DataReport | None = None

    def __repr__(self) -> str:
        sizes = " · ".join(f"{len(getattr(self, split))} {split}" for split in SPLITS)
        return f"{self.name}: {sizes} pictures with captions"


def pair_split(pixels: Tensor, captions: Sequence[str]) -> Split:
    """A split of pictures ((N, 3, H, W) uint8) with their N captions."""
    return Split(Pictures(pixels), torch.arange(len(captions)), tuple(captions))


@checked_arguments
def pairs(
    file: str | Path,
    image: str = "image",
    text: str = "text",
    folder: str | Path | None = None,
    size: int = 64,
    train: Size = None,
    validation: Size = 0.2,
    test: Size = 0.2,
    seed: int = 0,
) -> Pairs:
    """Pictures with captions, from a table (CSV, TSV, JSONL or Parquet, in UTF-8) of paths and texts.

    Pictures that cannot be read and rows without a caption are left out, named and counted in one line, and kept in
    ``pairs.report``. Rows of one picture, or of one caption, stand in one split.

    Args:
        file: the table.
        image: the column of the paths, relative to ``folder``.
        text: the column of the captions.
        folder: where the paths begin; the folder of the table if not given.
        size: pixels; the shorter side is scaled to it and the middle square is kept.
        train: number of pairs, or share; None takes all that is left.
        validation: number of pairs, or share.
        test: number of pairs, or share.
        seed: seed of the split.

    Raises:
        FileNotFoundError: no such table.
        ValueError: in one line: a table that cannot be read, no such column, fewer than six pairs that are whole, or
            sizes that cannot be had.
    """
    check_picture_size(size)
    check_draw(seed, False)
    file = Path(file)
    names, captions = read_table(file, image, text, allow_empty=True)
    base = file.parent if folder is None else Path(folder)
    bare = [i for i, (name, caption) in enumerate(zip(names, captions, strict=True)) if not (name and caption.strip())]
    pixels: dict[int, Tensor] = {}
    unread: list[int] = []
    for i in sorted(set(range(len(names))) - set(bare)):
        try:
            (pixels[i],) = read_pictures([os.path.join(base, names[i])], size)
        except ValueError:
            unread.append(i)
    left_out = []
    if unread:
        left_out.append(
            f"{_counted(len(unread), 'picture')} that cannot be read, the first is {printable(names[unread[0]])}"
        )
    if bare:
        left_out.append(f"{_counted(len(bare), 'row')} without a picture or a caption, the first is row {bare[0] + 1}")
    kept = sorted(pixels)
    if len(kept) < FEWEST:
        problem = f" ({'; '.join(left_out)})" if left_out else ""
        raise ValueError(
            f"{file.name} has {len(kept)} of {len(names)} pairs to learn from{problem}; {FEWEST} are needed"
        )
    groups = _joined([names[i] for i in kept], [folded(captions[i]) for i in kept])
    places = _split(groups, split_sizes(len(kept), train, validation, test), seed)
    splits = {
        split: pair_split(
            torch.stack([pixels[kept[p]] for p in where.tolist()]), [captions[kept[p]] for p in where.tolist()]
        )
        for split, where in places.items()
    }
    remarks = [f"left out: {'; '.join(left_out)}"] if left_out else []
    remarks += remarks_on_pictures([pixels[i] for i in kept], [names[i] for i in kept])
    counts = " · ".join(f"{len(splits[split])} {split}" for split in SPLITS)
    report = DataReport(f"{len(kept)} pictures with captions: {counts}", tuple(remarks))
    report.log()
    return Pairs(file.stem, splits["train"], splits["validation"], splits["test"], report)


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _split(groups: Tensor, sizes: dict[str, int], seed: int) -> dict[str, Tensor]:
    """Positions of each split, as many as asked for or a few more, since whole groups are drawn: test first."""
    names = groups.unique()
    drawn = names[torch.randperm(len(names), generator=generator_for(seed))].tolist()
    splits = {}
    for split in sorted(sizes, key=("test", "validation", "train").index):
        taken: list[int] = []
        while drawn and len(taken) < sizes[split]:
            taken += (groups == drawn.pop()).nonzero()[:, 0].tolist()
        if not taken:
            raise ValueError(f"rows of one picture or caption stay in one split, and so none is left for {split}")
        splits[split] = torch.tensor(sorted(taken))
    return splits


def _joined(*keys: Sequence[str]) -> Tensor:
    """(N,) int64: of each row the first one that it is tied to, by an equal key of any kind, or through others."""
    first = [first_of_equals(each) for each in keys]
    root = torch.arange(len(keys[0]))
    while True:
        before = root.clone()
        for each in first:
            lowest = root.scatter_reduce(0, each, root, "amin")
            root = torch.minimum(root, lowest[each])
        if torch.equal(before, root):
            return root
