"""A table of texts and labels from CSV, TSV, JSONL or Parquet: read as its owner meant it, or refused in one line."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from .._formatting import printable

Take: TypeAlias = Callable[[str, str], tuple[Sequence[Any], Sequence[Any]]]  # (text, label) -> their values
LINE_END = re.compile(r"\r\n|\r|\n")


def read_table(file: Path, text: str, label: str, allow_empty: bool = False) -> tuple[list[str], list[str]]:
    """The texts and the labels of a table, row by row.

    Args:
        file: its extension says what it is; in UTF-8, with or without a byte order mark.
        text: the column of the texts.
        label: the column of the labels.
        allow_empty: values may be empty, and come back as "".

    Raises:
        FileNotFoundError: no such file.
        ValueError: in one line with the line or row: an unknown extension, a file that cannot be read, no such column,
            or one that occurs twice, rows of another width than the header, a quote that is not closed, values that
            are empty or no text.
    """
    if text == label:
        raise ValueError(f"text and label are both the column {text!r}; a model would read the answer")
    kind = file.suffix.lower()
    if kind not in READERS:
        raise ValueError(f"{file.name} ends in {kind or 'nothing'!r}; texts are read from {', '.join(READERS)}")
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    with _reading(file):
        names, take = READERS[kind](file)
    for name in (text, label):
        if names.count(name) != 1:
            there = ", ".join(map(printable, names))
            problem = f"has {names.count(name)} columns" if name in names else "has no column"
            raise ValueError(f"{file.name} {problem} {name!r}; it has {there}")
    with _reading(file):
        texts, labels = take(text, label)
    if not texts:
        raise ValueError(f"{file.name} has no rows")
    texts, labels = (_as_text(column, name, file, allow_empty) for column, name in ((texts, text), (labels, label)))
    broken = [row for row, value in enumerate(labels, start=1) if LINE_END.search(value)]
    if broken:
        raise ValueError(f"column {label!r} of {file.name} has a line break in row {_few(broken)}; is a quote missing?")
    return texts, labels


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a damaged Parquet file makes pyarrow raise nearly anything, KeyError and OSError too
        reason = printable(next(iter(str(error).splitlines()), "") or type(error).__name__)
        raise ValueError(f"{file.name} cannot be read as {file.suffix[1:].upper()} in UTF-8: {reason}") from error


def _decoded(file: Path) -> str:
    raw = file.read_bytes()
    try:
        content = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is of another encoding; save the file as UTF-8") from error
    if "\0" in content:
        line = content.count("\n", 0, content.index("\0")) + 1
        raise ValueError(f"line {line} holds a NUL character; save the file as UTF-8")
    return content


# -- CSV and TSV -------------------------------------------------------------------------------------------------------

Row: TypeAlias = tuple[int, int, list[str]]  # the lines that it begins and ends in, and its fields


def _read_csv(file: Path) -> tuple[list[str], Take]:
    return _delimited(_decoded(file), ",")


def _read_tsv(file: Path) -> tuple[list[str], Take]:
    """Quotes as in CSV; or, where they make no sense as such and none stands around a field, as they are written."""
    content = _decoded(file)
    try:
        return _delimited(content, "\t")
    except ValueError:
        if re.search(r'(?m)(?:^|\t)"[^\t\r\n]*"(?:$|[\t\r])', content):
            raise
        return _delimited(content, "\t", csv.QUOTE_NONE)


def _delimited(content: str, delimiter: str, quoting: Any = csv.QUOTE_MINIMAL) -> tuple[list[str], Take]:
    rows = _rows(content, delimiter, quoting)
    if not rows:
        raise ValueError("it is empty; its first line must name the columns")
    (_, _, names), *rows = rows
    bent = [(begin, len(fields)) for begin, _, fields in rows if len(fields) != len(names)]
    if bent:
        line, width = bent[0]
        others = f" (and {len(bent) - 1} more)" if len(bent) > 1 else ""
        raise ValueError(
            f"line {line} has {width} fields{others}, but the header has {len(names)}; "
            f"a text with {delimiter!r} in it needs quotes around it"
        )

    def take(text: str, label: str) -> tuple[list[str], list[str]]:
        t, c = names.index(text), names.index(label)
        if quoting != csv.QUOTE_NONE:
            _refuse_swallowed(content, rows, delimiter, t, c, len(names))
        return [fields[t] for _, _, fields in rows], [fields[c] for _, _, fields in rows]

    return names, take


def _rows(content: str, delimiter: str, quoting: Any) -> list[Row]:
    rows, begin = [], 1
    usual = csv.field_size_limit(max(len(content), 1))  # 128 KiB by default, and a text may be longer
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    try:
        for fields in reader:
            if len(fields) > 1 or "".join(fields).strip():  # not a blank line
                rows.append((begin, reader.line_num, fields))
            begin = reader.line_num + 1
    except csv.Error as error:
        if "end of data" in str(error):
            raise ValueError(f"a quote opens in line {begin} and is never closed") from error
        where = f"line {begin}" if reader.line_num == begin else f"lines {begin} to {reader.line_num}"
        raise ValueError(f'{where}: {error}; a quote inside of quotes is written twice ("")') from error
    finally:
        csv.field_size_limit(usual)
    return rows


def _refuse_swallowed(content: str, rows: Sequence[Row], delimiter: str, text: int, label: int, width: int) -> None:
    """A row of several lines is legal; but not if a line of it is a row: then a lone quote has swallowed rows."""
    several = [(begin, end) for begin, end, _ in rows if end > begin]
    if not several:
        return
    lines = LINE_END.split(content)
    labels = {fields[label] for begin, end, fields in rows if begin == end} or {fields[label] for *_, fields in rows}
    for begin, end in several:
        # Where the label comes last every such row ends like one, and where it comes first it begins like one.
        suspects = range(begin, end) if label > text else range(begin + 1, end + 1)
        for line in suspects:
            fields = lines[line - 1].replace('"', "").split(delimiter)
            if len(fields) == width and fields[label] in labels:
                raise ValueError(
                    f"a quote makes one row of lines {begin} to {end}, but line {line} looks like a row of its own; "
                    "close the quote, or save the table as JSONL if it is meant so"
                )


# -- JSONL and Parquet -------------------------------------------------------------------------------------------------


def _read_jsonl(file: Path) -> tuple[list[str], Take]:
    rows = []
    for number, line in enumerate(_decoded(file).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number}: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f'line {number} is no object such as {{"text": "…", "label": "…"}}')
        rows.append(row)
    if not rows:
        raise ValueError("it is empty")
    names = list(dict.fromkeys(name for row in rows for name in row))
    return names, lambda text, label: ([row.get(text) for row in rows], [row.get(label) for row in rows])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"{name!r} stands there twice")
    return found


def _read_parquet(file: Path) -> tuple[list[str], Take]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(file) as opened:
        names = list(opened.schema_arrow.names)

    def take(text: str, label: str) -> tuple[list[Any], list[Any]]:
        with ParquetFile(file, page_checksum_verification=True) as opened:
            table = opened.read(columns=[text, label])
        table.validate(full=True)
        return table.column(text).to_pylist(), table.column(label).to_pylist()

    return names, take


READERS: dict[str, Callable[[Path], tuple[list[str], Take]]] = {
    ".csv": _read_csv, ".tsv": _read_tsv, ".jsonl": _read_jsonl, ".parquet": _read_parquet
}  # fmt: skip


# -- values ------------------------------------------------------------------------------------------------------------


def _as_text(values: Sequence[Any], name: str, file: Path, allow_empty: bool = False) -> list[str]:
    """Every value as a text; none is empty (unless it may be), a list, or of characters that are none."""
    column = f"column {name!r} of {file.name}"
    texts = [value if isinstance(value, str) else _plain(value) for value in values]
    wrong = [row for row, value in enumerate(texts, start=1) if value is None]
    if wrong:
        what = type(values[wrong[0] - 1]).__name__
        raise ValueError(f"{column} holds something else than text or numbers in row {_few(wrong)}: {what}")
    known = [value for value in texts if value is not None]
    empty = [row for row, value in enumerate(known, start=1) if not value.strip()]
    if empty and not allow_empty:
        raise ValueError(f"{column} is empty in {len(empty)} of {len(known)} rows: row {_few(empty)}")
    broken = [row for row, value in enumerate(known, start=1) if "\0" in value or not _encodable(value)]
    if broken:
        raise ValueError(f"{column} holds half a character or a NUL in row {_few(broken)}")
    return known


def _plain(value: object) -> str | None:
    """As text; 1.0 and 1 (a column turns float when one value is missing) are one label. None for what is no text."""
    if value is None or value != value:
        return ""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, (int, float)) else None


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _few(rows: Sequence[int]) -> str:
    return ", ".join(map(str, rows[:5])) + (", …" if len(rows) > 5 else "")
