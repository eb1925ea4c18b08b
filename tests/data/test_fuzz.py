"""Any table and any folder of pictures is read as it was meant, or refused in one line; nothing else ever comes out."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from hypothesis import strategies as st
from PIL import Image
from support.fuzz import refused, search

from stablelab import data
from stablelab.data.picture_files import read_pictures
from stablelab.data.tables import read_table

Report = Callable[[str, object], None]
NASTY = [*"\"',;\t\n\r\\ {}[]:\ufeff\u2028\x85\x1a", "\r\n", '""', '"\n', "é", "e\u0301", "🙂", "مرحبا", "NA", "1e9"]
pieces = st.one_of(
    st.sampled_from(NASTY), st.sampled_from("abcxyz "), st.text(st.characters(codec="utf-8"), max_size=4)
)
long = st.integers(0, 5).map(lambda n: "long " * 1000 * n)
words = st.one_of(st.lists(pieces, min_size=1, max_size=8).map("".join), st.sampled_from("ab"), long)
labels = st.one_of(st.sampled_from(["good", "bad", "1", "1.0", "Good "]), st.sampled_from(["good", "bad"]), words)
rows = st.lists(st.tuples(words, labels), min_size=1, max_size=12)
sane = st.lists(
    st.tuples(words.map("a {}".format), st.sampled_from(["good", "bad", "1", "Good "])), min_size=1, max_size=12
)
hostile = st.lists(st.tuples(st.text(max_size=4), st.sampled_from(["good", "", "\0", "\ud800", "bad"])), max_size=4)


def as_csv(table: list[tuple[str, str]], kind: str, quoting: Any, end: str) -> bytes:
    out = io.StringIO()
    if any("\r" in part for row in table for part in row):
        quoting = csv.QUOTE_ALL  # Python leaves a bare \r unquoted, and nobody could read that back
    writer = csv.writer(out, delimiter="\t" if kind == "tsv" else ",", quoting=quoting, lineterminator=end)
    writer.writerows([("text", "label"), *table])
    return out.getvalue().encode("utf-8", "surrogatepass")


def as_parquet(table: list[tuple[str, str]]) -> bytes:
    out = io.BytesIO()
    pandas.DataFrame(table, columns=["text", "label"]).to_parquet(out)
    return out.getvalue()


def as_jsonl(table: list[tuple[str, str]], ascii_only: bool, end: str) -> bytes:
    lines = [json.dumps({"text": text, "label": label}, ensure_ascii=ascii_only) for text, label in table]
    return end.join(lines).encode("utf-8", "surrogatepass")


@st.composite
def tables(
    draw: st.DrawFn, content: st.SearchStrategy[list[tuple[str, str]]] = sane | sane | rows | hostile
) -> tuple[str, bytes, list[Any]]:
    """An extension, the bytes of a table, and what its owner means."""
    meant, kind = draw(content), draw(st.sampled_from(["csv", "csv", "tsv", "jsonl", "parquet"]))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    if kind == "parquet":
        clean = [tuple(part.encode("utf-8", "replace").decode() for part in row) for row in meant]
        return kind, as_parquet(clean), clean  # type: ignore[arg-type]
    if kind == "jsonl":
        written = as_jsonl(meant, draw(st.booleans()), end)
    else:
        written = as_csv(meant, kind, draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])), end)
    return kind, draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + written, meant


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Bytes flipped, put in, cut out, or cut off."""
    content = bytearray(draw(whole))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        how = draw(st.sampled_from(["flip", "insert", "cut", "end", "zero"]))
        if how == "flip" and content:
            content[at] ^= draw(st.integers(1, 255))
        elif how == "insert":
            content[at:at] = draw(
                st.one_of(st.sampled_from([b'"', b",", b"\t", b"\n", b"\0", b"\xff\xfe"]), st.binary(max_size=4))
            )
        elif how == "cut":
            del content[at : at + draw(st.integers(1, 40))]
        elif how == "zero":
            content[at : at + 8] = bytes(len(content[at : at + 8]))
        else:
            del content[at:]
    return bytes(content)


@pytest.mark.slow
def test_tables_are_read_as_they_were_written(tmp_path: Path, record_property: Report) -> None:
    def attempt(table: tuple[str, bytes, list[Any]]) -> bool:
        kind, content, meant = table
        file = tmp_path / f"table.{kind}"
        file.write_bytes(content)
        found: list[Any] = []
        if refused(lambda: found.extend(zip(*read_table(file, "text", "label"), strict=True))):
            return True
        assert found == meant
        return False

    search("tables as written", tables(), attempt, 250, record_property)


@pytest.mark.slow
def test_tables_that_are_damaged(tmp_path: Path, record_property: Report) -> None:
    hurt = tables(sane).flatmap(lambda table: st.tuples(st.just(table[0]), damaged(st.just(table[1]))))

    def attempt(table: tuple[str, bytes]) -> bool:
        file = tmp_path / f"table.{table[0]}"
        file.write_bytes(table[1])
        return refused(lambda: read_table(file, "text", "label"))

    search("damaged tables", hurt, attempt, 250, record_property)
    noise = st.tuples(st.sampled_from(["csv", "tsv", "jsonl", "parquet"]), st.binary(max_size=200))
    search("tables of noise", noise, attempt, 50, record_property)


@st.composite
def slips(draw: st.DrawFn) -> tuple[str, int]:
    """A plain table of alternating labels with one to three quotes or commas too many, and how many rows it has."""
    first, n = draw(st.sampled_from(["text,label", "label,text"])), draw(st.integers(6, 14))
    lines = [f"film {i},{'good' if i % 2 else 'bad'}" for i in range(n)]
    if first == "label,text":
        lines = [",".join(reversed(line.split(","))) for line in lines]
    content = "\n".join(lines) + "\n"
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(content)))
        content = content[:at] + draw(st.sampled_from(['"', '"', ","])) + content[at:]
    return f"{first}\n{content}", n


@pytest.mark.slow
def test_a_slip_of_the_fingers_never_loses_a_row(tmp_path: Path, record_property: Report) -> None:
    def attempt(table: tuple[str, int]) -> bool:
        (tmp_path / "table.csv").write_text(table[0])
        texts: list[str] = []
        if refused(lambda: texts.extend(read_table(tmp_path / "table.csv", "text", "label")[0])):
            return True
        assert len(texts) == table[1]
        return False

    search("tables with slips", slips(), attempt, 250, record_property)


@pytest.mark.slow
def test_whole_tasks_of_texts(tmp_path: Path, record_property: Report) -> None:
    several = st.lists(
        st.tuples(words.map("a {}".format), st.sampled_from(["good", "bad", "Bad"])), min_size=12, max_size=30
    )

    def attempt(table: tuple[str, bytes, list[Any]]) -> bool:
        file = tmp_path / f"table.{table[0]}"
        file.write_bytes(table[1])

        def make() -> None:
            task = data.texts(file, merge_labels=True)
            parts = (task.train, task.validation, task.test)
            seen = [{" ".join(part.raw(i).casefold().split()) for i in range(len(part))} for part in parts]
            assert all(seen) and not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]
            assert task.report is not None and sum(map(len, parts)) <= len(table[2])

        return refused(make)

    search("tasks of texts", tables(several), attempt, 25, record_property)


# -- pictures ----------------------------------------------------------------------------------------------------------


def encoded() -> dict[str, bytes]:
    """A small picture in every format that is read, and of every depth."""
    numbers = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    colour = Image.fromarray(numbers)
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "a.png": (colour, {}),
        "palette.png": (colour.quantize(16), {"transparency": 3}),
        "deep.png": (Image.fromarray(numbers[..., 0].astype(np.uint16) * 257), {}),
        "a.jpg": (colour, {"exif": exif}),
        "cmyk.jpg": (colour.convert("CMYK"), {}),
        "a.bmp": (colour, {}),
        "a.ppm": (colour, {}),
        "a.tiff": (colour, {"compression": "tiff_lzw", "exif": exif}),
        "float.tif": (Image.fromarray(numbers[..., 0].astype(np.float32) / 255), {}),
        "a.webp": (colour, {"exif": exif}),
    }
    found = {}
    for name, (picture, options) in kinds.items():
        out = io.BytesIO()
        picture.save(out, Image.registered_extensions()[Path(name).suffix], **options)
        found[name] = out.getvalue()
    return found


@pytest.mark.filterwarnings("ignore")  # Pillow warns of much that is damaged
@pytest.mark.slow
def test_pictures_with_flipped_bytes(tmp_path: Path, record_property: Report) -> None:
    whole = encoded()
    for name, content in whole.items():
        (tmp_path / name).write_bytes(content)
        assert read_pictures([str(tmp_path / name)], 8)[0].shape == (3, 8, 8)
    hurt = st.sampled_from(sorted(whole)).flatmap(lambda name: st.tuples(st.just(name), damaged(st.just(whole[name]))))

    def attempt(picture: tuple[str, bytes]) -> bool:
        file = tmp_path / picture[0]
        file.write_bytes(picture[1])
        found: list[Any] = []
        if refused(lambda: found.extend(read_pictures([str(file)], 8))):
            return True
        assert found[0].shape == (3, 8, 8)
        return False

    search("pictures", hurt, attempt, 300, record_property)


names = st.one_of(
    st.sampled_from([".hidden", "._0.png", "__MACOSX", "Cat", "cat", "cat ", "train", "a\nb", "x.PNG", "x.gif", "y"]),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8),
    st.just(os.fsdecode(b"caf\xe9")) if os.name == "posix" else st.just("café"),
)
above = st.one_of(st.sampled_from(["cats", "dogs"]), st.sampled_from(["cats/in", "dogs", "birds"]), names)
entries = st.lists(
    st.tuples(above, names, st.sampled_from(["picture", "picture", "loop", "folder", "junk"])), max_size=9
)


def lay_out(folder: Path, plan: list[tuple[str, str, str]], kinds: dict[str, bytes]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for c in ("cats", "dogs"):
        (folder / c).mkdir()
        for name, content in kinds.items():
            (folder / c / name).write_bytes(content)
    for i, (above, name, what) in enumerate(plan):
        try:
            (folder / above).mkdir(parents=True, exist_ok=True)
            if what == "folder":
                (folder / above / name).mkdir()
            elif what == "loop":
                (folder / above / name).symlink_to(folder, target_is_directory=True)
            else:
                content = list(kinds.values())[i % len(kinds)] if what == "picture" else b"junk"
                (folder / above / f"{name}.png").write_bytes(content)
        except OSError:
            continue  # a name that the file system does not take


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_folders_of_any_names(tmp_path: Path, record_property: Report) -> None:
    kinds = encoded()

    def attempt(plan: list[tuple[str, str, str]]) -> bool:
        lay_out(tmp_path / "pictures", plan, kinds)

        def make() -> None:
            task = data.images(tmp_path / "pictures", size=8)
            total = sum(len(part) for part in (task.train, task.validation, task.test))
            assert total <= 2 * len(kinds) + len(plan) and task.report is not None
            str(task.report).encode()

        return refused(make, FileNotFoundError)

    search("folders of pictures", entries, attempt, 40, record_property)
