"""Texts to classify: any table with a text and a label column, tokenized once, padded batch by batch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .._validation import whole
from .splits import Size, split_sizes, stratified_split
from .tasks import Task, make_task
from .tokenizers import tokenizer_for

if TYPE_CHECKING:
    from pandas import DataFrame, Series
    from transformers import PreTrainedTokenizerBase

EXTENSIONS = (".csv", ".tsv", ".jsonl", ".parquet")


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
        tokens = tokenizer(list(texts), truncation=True, max_length=max_tokens, padding=False)["input_ids"]
        self.lengths = torch.tensor([len(ids) for ids in tokens])  # (N,)
        rows = [torch.tensor(ids, dtype=torch.int32) for ids in tokens]
        self.left = tokenizer.padding_side == "left"
        side = "left" if self.left else "right"
        self.ids = pad_sequence(rows, True, tokenizer.pad_token_id, side)  # (N, T)

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
) -> Task:
    """Texts from a CSV, TSV, JSONL or Parquet file (UTF-8).

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

    Raises:
        FileNotFoundError: no such file.
        ValueError: an unknown extension, no such column, a file that cannot be read, empty texts, missing labels,
            one class only, or sizes that cannot be had.
    """
    file = Path(file)
    frame = _read(file)
    sentences = _column(frame, text, file)
    labels = _column(frame, label, file)
    classes = _classes(labels)
    if len(classes) > len(labels) // 2:
        raise ValueError(
            f"column {label!r} has {len(classes)} different values in {len(labels)} rows; is it the label?"
        )
    index = {name: c for c, name in enumerate(classes)}
    targets = torch.tensor([index[value] for value in labels])
    splits = stratified_split(targets, split_sizes(len(targets), train, validation, test), classes, seed, balanced)
    return sentence_task(file.stem, classes, sentences, targets, splits, tokenizer, max_tokens)


def _read(file: Path) -> DataFrame:
    import pandas

    kind = file.suffix.lower()
    if kind not in EXTENSIONS:
        raise ValueError(f"{file.name} ends in {kind or 'nothing'!r}; texts are read from {', '.join(EXTENSIONS)}")
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    try:
        if kind == ".parquet":
            return pandas.read_parquet(file)
        if kind == ".jsonl":
            return pandas.read_json(file, lines=True, dtype=False)
        # As text throughout: "NA" may be a word and "01" a label.
        return pandas.read_csv(file, sep="\t" if kind == ".tsv" else ",", dtype=str, keep_default_na=False)
    except ImportError as error:
        raise ValueError(f"{file.name} needs a Parquet reader; run: python -m pip install pyarrow") from error
    except (ValueError, OSError) as error:  # pandas' own parser errors are ValueErrors, pyarrow's are both
        reason = str(error).splitlines()[0]
        raise ValueError(f"{file.name} cannot be read as {kind[1:].upper()} in UTF-8: {reason}") from error


def _column(frame: DataFrame, name: str, file: Path) -> list[str]:
    if name not in frame.columns:
        there = ", ".join(map(str, frame.columns))
        raise ValueError(f"{file.name} has no column {name!r}; it has {there}")
    if not len(frame):
        raise ValueError(f"{file.name} has no rows")
    values = _as_text(frame[name])
    empty = [row for row, value in enumerate(values, start=1) if not value.strip()]
    if empty:
        rows = ", ".join(map(str, empty[:5])) + (", …" if len(empty) > 5 else "")
        raise ValueError(f"column {name!r} of {file.name} is empty in {len(empty)} of {len(values)} rows: row {rows}")
    return values


def _as_text(column: Series) -> list[str]:
    """Missing values become empty; 1.0 and 1 (a whole column turns float when one value is missing) are one label."""
    present = column.notna().tolist()
    return [_plain(value) if there else "" for value, there in zip(column.tolist(), present, strict=True)]


def _plain(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _classes(labels: Sequence[str]) -> tuple[str, ...]:
    """The different labels, sorted; numbers by value."""
    names = sorted(set(labels))
    try:
        return tuple(sorted(names, key=float))
    except ValueError:
        return tuple(names)
