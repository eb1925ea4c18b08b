"""Any file of texts: a table with a text and a label column."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from .sentences import sentence_task
from .splits import Size, split_sizes, stratified_split
from .tasks import Task

if TYPE_CHECKING:
    from pandas import DataFrame, Series
    from transformers import PreTrainedTokenizerBase

EXTENSIONS = (".csv", ".tsv", ".jsonl", ".parquet")


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
        train, validation, test: number of texts, or share; ``train=None`` takes all that is left.
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
