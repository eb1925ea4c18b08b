"""Tables as their owners bring them: each read as meant, or refused in one line that names the line or row."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from stablelab.data.tables import read_table

ROWS = [(f"a film worth seeing, number {i}", "good" if i % 2 else "bad") for i in range(40)]
HEADER = "text,label"


def written(tmp_path: Path, content: str | bytes, name: str = "films.csv") -> Path:
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def read(file: Path) -> list[tuple[str, str]]:
    return list(zip(*read_table(file, "text", "label"), strict=True))


def csv_of(*lines: str) -> str:
    return "\n".join([HEADER, *lines]) + "\n"


def plain(i: int) -> str:
    return f"film {i},{'good' if i % 2 else 'bad'}"


@pytest.mark.parametrize(("lines", "message"), [
    (["fine,good", "a film, and what a film,good"], "line 3 has 3 fields, but the header has 2; a text with ',' in it"),
    (["fine,good,", "bad,bad,"], r"line 2 has 3 fields \(and 1 more\), but the header has 2"),
    (["fine,good", "no label"], "line 3 has 1 fields, but the header has 2"),
    ([plain(0), '"never closed,good', plain(1)], "a quote opens in line 3 and is never closed"),
    ([plain(0), '"so" he said,good'], r"line 3: .*a quote inside of quotes is written twice"),
    ([plain(0), '"opens,good', plain(1), 'he said "so",bad', plain(2)], r"lines 3 to 5: .*written twice"),
    ([plain(0), '"opens,good', *map(plain, range(5)), 'closes",bad', plain(1)],
     "a quote makes one row of lines 3 to 9, but line 3 looks like a row of its own"),
    ([plain(0), 'film,"good', "more", 'film,"'], "'label' of films.csv has a line break in row 2; is a quote missing"),
])  # fmt: skip
def test_what_shifts_columns_or_swallows_rows_is_refused(lines: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        read(written(tmp_path, csv_of(*lines)))
    assert "\n" not in str(refused.value)


def test_a_lone_quote_is_found_where_the_label_comes_first(tmp_path: Path) -> None:
    rows = ["label,text", "good,fine", 'bad,"opens', "good,swallowed", 'good,closes"', 'bad,"two\nlines"']
    with pytest.raises(ValueError, match="one row of lines 3 to 5, but line 4 looks like a row"):
        read(written(tmp_path, "\n".join(rows)))
    assert ("two\nlines", "bad") in read(written(tmp_path, "\n".join([*rows[:2], rows[5]])))


def test_texts_of_several_lines_with_commas_and_quotes_are_read_as_meant(tmp_path: Path) -> None:
    meant = [
        ("Dear sir,\nthank you, and\r\ngoodbye", "good"),
        ('5" wide', "bad"),
        ('she said ""no""'.replace('""', '"'), "bad"),
    ]
    content = csv_of('"Dear sir,\nthank you, and\r\ngoodbye",good', '5" wide,bad', '"she said ""no""",bad', "", "  ")
    assert read(written(tmp_path, content)) == meant
    assert read(written(tmp_path, b"\xef\xbb\xbf" + content.encode())) == meant
    assert read(written(tmp_path, csv_of("x" * 200_000 + ",good"))) == [("x" * 200_000, "good")]
    assert read(written(tmp_path, "text,label\rone,good\rtwo,bad")) == [("one", "good"), ("two", "bad")]


def test_quotes_in_tab_separated_tables_may_stand_for_themselves(tmp_path: Path) -> None:
    rows = ["text\tlabel", 'a "good" film\tgood', '"opens\tbad', '" inch\tgood', '"so" she said\tbad']
    assert read(written(tmp_path, "\n".join(rows), "films.tsv")) == [tuple(row.split("\t")) for row in rows[1:]]
    with pytest.raises(ValueError, match=r"quote"):  # here some stand around a text, and one is not closed
        read(written(tmp_path, "\n".join([*rows, '"a\tb"\tgood', '"closed"\tbad']), "films.tsv"))


def test_encodings_that_are_not_utf_8(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"line 3 is of another encoding; save the file as UTF-8$"):
        read(written(tmp_path, "text,label\nfine,good\nnaïve,bad\n".encode("latin-1")))
    with pytest.raises(ValueError, match=r"line 1 holds a NUL character; save the file as UTF-8$"):
        read(written(tmp_path, csv_of("fine,good").encode("utf-16-le")))
    with pytest.raises(ValueError, match=r"line 1 is of another encoding"):
        read(written(tmp_path, csv_of("fine,good").encode("utf-16")))


def test_columns_that_occur_twice_or_are_one(tmp_path: Path) -> None:
    file = written(tmp_path, "text,label,text\na,b,c\n")
    with pytest.raises(ValueError, match=r"films\.csv has 2 columns 'text'; it has text, label, text$"):
        read(file)
    with pytest.raises(ValueError, match="text and label are both the column 'text'"):
        read_table(file, "text", "text")
    with pytest.raises(ValueError, match=r"has no column 'label'; it has text, ' label'$"):
        read(written(tmp_path, "text, label\na,b\n"))


def test_json_lines(tmp_path: Path) -> None:
    lines = [json.dumps({"text": text, "label": label}) for text, label in ROWS]
    assert read(written(tmp_path, b"\xef\xbb\xbf" + "\r\n".join(lines).encode(), "films.jsonl")) == ROWS
    separators = '{"text": "one\u2028line", "label": 1}\n\n{"text": "two", "label": 1.0}\n'
    assert read(written(tmp_path, separators, "films.jsonl")) == [("one\u2028line", "1"), ("two", "1")]


@pytest.mark.parametrize(("line", "message"), [
    ('{"text": "a", "label": ', "cannot be read as JSONL in UTF-8: line 2: "),
    ('["a", "good"]', "line 2 is no object such as"),
    ('{"text": "a", "text": "b", "label": "good"}', "line 2: 'text' stands there twice"),
    ("[" * 100_000, "line 2: "),
    ('{"text": ["a", "b"], "label": "good"}', "column 'text' of .* holds something else than text .* in row 2: list"),
    ('{"text": "a", "label": {"name": "good"}}', "column 'label' of .* row 2: dict"),
    ('{"text": "a"}', "column 'label' of .* is empty in 1 of 3 rows: row 2"),
    (r'{"text": "\ud800", "label": "good"}', "column 'text' of .* holds half a character or a NUL in row 2"),
    (r'{"text": "a\u0000b", "label": "good"}', "column 'text' of .* holds half a character or a NUL in row 2"),
])  # fmt: skip
def test_lines_that_are_no_rows_are_named(line: str, message: str, tmp_path: Path) -> None:
    good = '{"text": "fine", "label": "good"}'
    with pytest.raises(ValueError, match=message) as refused:
        read(written(tmp_path, "\n".join([good, line, good]), "films.jsonl"))
    assert "\n" not in str(refused.value)


def parquet(tmp_path: Path, texts: object, labels: object) -> Path:
    pyarrow.parquet.write_table(pyarrow.table({"text": texts, "label": labels}), tmp_path / "films.parquet")
    return tmp_path / "films.parquet"


def test_bytes_and_categories_in_parquet_are_texts(tmp_path: Path) -> None:
    texts, labels = zip(*ROWS, strict=True)
    binary = pyarrow.array([text.encode() for text in texts], pyarrow.binary())
    assert read(parquet(tmp_path, binary, pyarrow.array(labels).dictionary_encode())) == ROWS
    with pytest.raises(ValueError, match=r"'text' of films.parquet holds something else .* in row 1: bytes"):
        read(parquet(tmp_path, pyarrow.array([b"\xff\xfe"], pyarrow.binary()), ["good"]))


def test_damaged_parquet_is_one_line(tmp_path: Path) -> None:
    whole = parquet(tmp_path, *map(list, zip(*ROWS, strict=True))).read_bytes()
    for at in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        try:
            read(written(tmp_path, bytes(damaged), "films.parquet"))
        except ValueError as error:
            assert "films.parquet" in str(error) and "\n" not in str(error)
