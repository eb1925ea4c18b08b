"""Texts to classify: any table with a text and a label column, tokenized once, padded batch by batch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .._formatting import format_percent
from .._validation import checked_arguments, switch, whole
from .report import DataReport, balance, first_of_equals, folded, merge_variants, remarks_on
from .splits import Size, check_draw, split_sizes, stratified_split
from .tables import read_table
from .tasks import SPLITS, Task, make_task
from .tokenizers import token_ids, tokenizer_for

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Sentences:
    """Sentences as token ids.

    Args:
        texts: the sentences.
        tokenizer: a Hugging Face tokenizer with a padding token; a batch is padded on the side that it says (XLNet's
            classifier reads the last position, so its tokenizer pads on the left). It is kept, for ``like``.
        max_tokens: longer sentences are cut after this many tokens, special ones included.
    """

    def __init__(self, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> None:
        self.texts = tuple(texts)
        self.tokenizer, self.max_tokens = tokenizer, max_tokens
        tokens = token_ids(self.texts, tokenizer, max_tokens)
        self.lengths = torch.tensor([len(ids) for ids in tokens])  # (N,)
        self.left = tokenizer.padding_side == "left"
        real = torch.arange(int(self.lengths.max())) < self.lengths.unsqueeze(1)
        # torch's pad_sequence takes a tensor for every sentence, which takes longer than all else here.
        flat = np.fromiter(chain.from_iterable(tokens), dtype=np.int32, count=int(self.lengths.sum()))
        self.ids = torch.full(real.shape, tokenizer.pad_token_id, dtype=torch.int32)  # (N, T)
        self.ids[real.flip(1) if self.left else real] = torch.from_numpy(flat)

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, positions: Tensor) -> dict[str, Tensor]:
        lengths = self.lengths[positions]
        longest = int(lengths.max())
        kept = slice(-longest, None) if self.left else slice(longest)
        ids, real = self.ids[positions, kept], torch.arange(longest) < lengths.unsqueeze(1)
        return {
            "input_ids": ids.long(),  # (B, T)
            "attention_mask": (real.flip(1) if self.left else real).long(),  # (B, T)
        }

    def like(self, texts: Sequence[str]) -> Sentences:
        """Other sentences, tokenized and cut as these are."""
        return Sentences(texts, self.tokenizer, self.max_tokens)

    def raw(self, i: int) -> str:
        return self.texts[i]

    def digest(self) -> bytes:
        return hashlib.sha256("\0".join(self.texts).encode() + self.ids.numpy().tobytes()).digest()


def sentence_task(
    name: str,
    classes: Sequence[str],
    texts: Sequence[str],
    targets: Tensor,
    splits: Mapping[str, Tensor],
    tokenizer: PreTrainedTokenizerBase | str | None,
    max_tokens: int,
) -> Task:
    """A text task from all sentences, their targets and the positions of each split.

    Args:
        name: of the task.
        classes: C names.
        texts: N sentences.
        targets: (N,) class numbers.
        splits: of ``train``, ``validation`` and ``test`` the positions of their sentences.
        tokenizer: a tokenizer, the name or folder of one, or None for the bundled BERT's.
        max_tokens: at least 4.

    Raises:
        ValueError: ``max_tokens`` is below 4.
    """
    whole("max_tokens", max_tokens, 4)
    if tokenizer is None or isinstance(tokenizer, str):
        tokenizer = tokenizer_for(tokenizer)
    stores = {s: Sentences([texts[i] for i in where.tolist()], tokenizer, max_tokens) for s, where in splits.items()}
    return make_task(name, "text", classes, stores, {s: targets[where] for s, where in splits.items()})


@checked_arguments
def texts(
    file: str | Path,
    text: str = "text",
    label: str = "label",
    train: Size = None,
    validation: Size = 0.2,
    test: Size = 0.2,
    max_tokens: int = 64,
    balanced: bool = False,
    tokenizer: PreTrainedTokenizerBase | str | None = None,
    seed: int = 0,
    merge_labels: bool = False,
    group_duplicates: bool = True,
) -> Task:
    """Texts from a CSV, TSV, JSONL or Parquet file (UTF-8); says what it read, and keeps that as ``task.report``.

    Args:
        file: the file; its extension says what it is.
        text: the column of the texts.
        label: the column of the labels; every different value is a class.
        train: number of texts, or share; None takes all that is left.
        validation: number of texts, or share.
        test: number of texts, or share.
        max_tokens: longer texts are cut.
        balanced: equal numbers of every class.
        tokenizer: a tokenizer, the name or folder of one, or None for the bundled BERT's.
        seed: seed of the split.
        merge_labels: labels that differ by case or blanks only are one class, called as the most frequent of them.
        group_duplicates: texts that are equal but for case and blanks stand in one split, so that none is learned from
            and judged by. The splits are then as large as that allows.

    Raises:
        FileNotFoundError: no such file.
        ValueError: in one line: an unknown extension, no such column, a file that cannot be read, a row of another
            width than the header, a quote that is not closed, empty texts, missing labels, one class only, or sizes
            that cannot be had.
    """
    switch("merge_labels", merge_labels)
    switch("group_duplicates", group_duplicates)
    check_draw(seed, balanced)
    whole("max_tokens", max_tokens, 4)
    file = Path(file)
    sentences, labels = read_table(file, text, label)
    labels, remarks = merge_variants(labels, merge_labels)
    classes = _classes(labels)
    if len(classes) > len(labels) // 2:
        raise ValueError(
            f"column {label!r} has {len(classes)} different values in {len(labels)} rows; is it the label?"
        )
    index = {name: c for c, name in enumerate(classes)}
    targets = torch.tensor([index[value] for value in labels])
    first = first_of_equals([folded(sentence) for sentence in sentences])
    sizes = split_sizes(len(targets), train, validation, test)
    splits = stratified_split(targets, sizes, classes, seed, balanced, first if group_duplicates else None)
    task = sentence_task(file.stem, classes, sentences, targets, splits, tokenizer, max_tokens)
    remarks += remarks_on("texts", classes, targets, splits, first, group_duplicates, lambda i: f"row {i + 1}")
    report = DataReport(_summary(task, len(sentences), targets, max_tokens), tuple(remarks))
    report.log()
    return replace(task, report=report)


def _summary(task: Task, n: int, targets: Tensor, max_tokens: int) -> str:
    """The numbers of a table of texts in one line: how many, of which classes, how long."""
    counts = torch.bincount(targets, minlength=len(task.classes)).tolist()
    lengths = torch.cat([getattr(task, split).store.lengths for split in SPLITS])
    full = int((lengths >= max_tokens).sum())
    cut = f", {format_percent(full / len(lengths))} fill max_tokens={max_tokens} and may be cut" if full else ""
    tokens = f"half have at most {int(lengths.median())} tokens, the longest {int(lengths.max())}{cut}"
    return f"{n} texts: {balance(task.classes, counts)}; {tokens}"


def _classes(labels: Sequence[str]) -> tuple[str, ...]:
    """The different labels, sorted; numbers by value."""
    names = sorted(set(labels))
    try:
        return tuple(sorted(names, key=float))
    except ValueError:
        return tuple(names)
