"""What is legal but suspicious is said, kept, and mended only where that was asked for."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from PIL import Image

from stablelab import data
from stablelab.data.report import first_of_equals, merge_variants
from stablelab.data.splits import stratified_split


def films(tmp_path: Path, rows: list[tuple[str, str]], **arguments: object) -> data.Task:
    pandas.DataFrame(rows, columns=["text", "label"]).to_csv(tmp_path / "films.csv", index=False)
    return data.texts(tmp_path / "films.csv", **arguments)  # type: ignore[arg-type]


def different(n: int, label: str = "good") -> list[tuple[str, str]]:
    return [(f"{label} film number {i}", label) for i in range(n)]


def said(task: data.Task) -> str:
    assert task.report is not None
    return " | ".join(task.report.remarks)


def test_where_nothing_is_suspicious_one_line_is_said_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = films(tmp_path, different(12) + different(8, "bad"))
    assert task.report is not None and not task.report.remarks
    assert str(task.report) == "20 texts: bad (8), good (12); half have at most 6 tokens, the longest 6"
    assert capsys.readouterr().out.splitlines() == [str(task.report)]


def test_texts_that_repeat_stand_in_one_split_and_are_counted(tmp_path: Path) -> None:
    rows = different(60) + different(60, "bad")
    rows += [(f" {text.upper()} ", label) for text, label in rows[::4]]
    task = films(tmp_path, rows)
    parts = (task.train, task.validation, task.test)
    sides = [{part.raw(i).strip().lower() for i in range(len(part))} for part in parts]
    assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]
    assert [len(task.train), len(task.validation), len(task.test)] == [90, 30, 30]
    assert said(task) == "30 texts repeat an earlier one; all copies of one are in the same split"
    loose = films(tmp_path, rows, group_duplicates=False)
    sides = [{part.raw(i).strip().lower() for i in range(len(part))} for part in (loose.train, loose.validation)]
    shared = len(sides[0] & sides[1])
    assert shared and f"{shared} in validation and " in said(loose) and "stand in train too" in said(loose)


def test_equal_texts_with_two_labels_are_named(tmp_path: Path) -> None:
    rows = [*different(20), *different(20, "bad"), ("bad film number 3", "good")]
    assert "1 texts have another label than an equal one: row 24 is 'bad' and row 41 is 'good'" in said(
        films(tmp_path, rows)
    )


def test_without_equals_the_split_is_the_same_bit_for_bit() -> None:
    targets = torch.arange(100) % 3
    sizes = {"test": 20, "validation": 20, "train": 40}
    plain = stratified_split(targets, sizes, "abc", seed=3)
    grouped = stratified_split(targets, sizes, "abc", seed=3, first=torch.arange(100))
    assert all(torch.equal(plain[split], grouped[split]) for split in sizes)


@pytest.mark.parametrize("copies", [2, 3, 7, 30])
@pytest.mark.parametrize("balanced", [False, True])
def test_equals_stay_together_however_many_there_are(copies: int, balanced: bool) -> None:
    keys = [i // copies for i in range(60 * copies)]
    targets = torch.tensor([key % 2 for key in keys])
    first = first_of_equals(keys)
    sizes = {"test": 12 * copies + 2, "validation": 12 * copies, "train": 36 * copies - 2}
    splits = stratified_split(targets, sizes, "ab", 0, balanced, first)
    groups = [set(first[where].tolist()) for where in splits.values()]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
    assert all(abs(len(splits[split]) - size) <= 2 * copies for split, size in sizes.items())
    chosen = torch.cat(list(splits.values()))
    assert len(chosen.unique()) == len(chosen) and (balanced or len(chosen) == len(keys))


def test_one_text_over_and_over_leaves_nothing_to_judge_by() -> None:
    with pytest.raises(ValueError, match="equal examples stay in one split, and so none is left for test"):
        stratified_split(
            torch.arange(40) % 2, {"test": 8, "validation": 8, "train": 24}, "ab", 0, first=torch.arange(40) % 2
        )


def test_labels_that_differ_by_case_or_blanks_are_said_and_merged_only_if_asked(tmp_path: Path) -> None:
    rows = [(f"film {i}", ("pos", "pos", "Pos", "pos ", "neg")[i % 5]) for i in range(100)]
    task = films(tmp_path, rows)
    assert task.classes == ("Pos", "neg", "pos", "pos ")
    assert "40 'pos', 20 'Pos', 20 'pos ' are 3 classes; merge_labels=True makes them one" in said(task)
    merged = films(tmp_path, rows, merge_labels=True)
    assert merged.classes == ("neg", "pos")
    assert "one class was made of the labels 40 'pos', 20 'Pos', 20 'pos '" in said(merged)
    assert merge_variants(["é", "é", "e\u0301"], True)[0] == ["é"] * 3
    with pytest.raises(ValueError, match="merge_labels is 'yes'; it must be True or False"):
        films(tmp_path, rows, merge_labels="yes")


def test_a_rare_class_that_validation_and_test_lack(tmp_path: Path) -> None:
    task = films(tmp_path, [*different(99, "common"), ("odd", "rare")])
    assert "validation and test have no example of 'rare' (1 in all)" in said(task)
    assert "always answering 'common' would be right in 99 %: look at F1, not at accuracy" in said(task)


def test_texts_that_are_cut_are_counted(tmp_path: Path) -> None:
    task = films(
        tmp_path, [*different(15, "bad"), *[(f"{i} very very very very long", "good") for i in range(5)]], max_tokens=8
    )
    assert task.report is not None
    assert task.report.summary.endswith("the longest 8, 25 % fill max_tokens=8 and may be cut")


# -- pictures ----------------------------------------------------------------------------------------------------------


def noise(seed: int, size: tuple[int, int] = (24, 24)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    for c, name in enumerate(("cat", "dog")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(12):
            noise(100 * c + i).save(tmp_path / "pets" / name / f"{i:02}.png")
    return tmp_path / "pets"


def test_pictures_of_which_nothing_is_suspicious(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = data.images(pets, size=16)
    assert str(task.report) == "24 pictures: cat (12), dog (12)"
    assert capsys.readouterr().out == "24 pictures: cat (12), dog (12)\n"


def test_what_programs_leave_behind_changes_nothing(pets: Path) -> None:
    before = data.images(pets, size=16)
    for junk in ("._00.png", ".DS_Store", "Thumbs.db", ".ipynb_checkpoints/00.png", "__MACOSX/._00.png"):
        for folder in (pets, pets / "cat"):
            (folder / junk).parent.mkdir(exist_ok=True)
            (folder / junk).write_bytes(b"no picture")
    after = data.images(pets, size=16)
    assert after.fingerprint == before.fingerprint and after.report == before.report


def test_links_that_lead_back_are_passed_over_and_others_followed(pets: Path, tmp_path: Path) -> None:
    before = data.images(pets, size=16)
    for name in ("cat/again", "cat/again2"):
        (pets / name).symlink_to(pets, target_is_directory=True)
    (pets / "dog" / "me").symlink_to(".", target_is_directory=True)
    task = data.images(pets, size=16)
    assert task.fingerprint == before.fingerprint
    assert f"skipped 3 links that lead back into the folder, such as {os.path.join('cat', 'again')}" in said(task)
    (pets / "dog").rename(tmp_path / "dogs")
    (pets / "dog").symlink_to(tmp_path / "dogs", target_is_directory=True)
    assert data.images(pets, size=16).fingerprint == before.fingerprint


def test_files_that_are_skipped_are_counted_by_kind(pets: Path) -> None:
    for i in range(3):
        noise(i).save(pets / "cat" / f"x{i}.gif")
    noise(9).save(pets / "dog" / "y.AVIF")
    noise(10).save(pets / "beside.png")
    task = data.images(pets, size=16)
    assert "skipped 3 .gif, 1 .avif: pictures end in .jpg, .jpeg, .png" in said(task)
    assert "skipped 1 pictures beside the folders of the classes, such as beside.png" in said(task)
    for file in (pets / "cat").glob("*.png"):
        file.unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no picture in 'cat' \(3 .gif, 1 .avif skipped\)"):
        data.images(pets, size=16)


def test_equal_files_stand_in_one_split(pets: Path) -> None:
    for i in range(12):
        shutil.copy(pets / "cat" / f"{i:02}.png", pets / "cat" / f"copy{i}.png")
    shutil.copy(pets / "dog" / "00.png", pets / "cat" / "dog.png")
    task = data.images(pets, size=16)
    parts = [{part.raw(i).tobytes() for i in range(len(part))} for part in (task.train, task.validation, task.test)]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    assert "13 pictures repeat an earlier one; all copies of one are in the same split" in said(task)
    one, two = os.path.join("cat", "dog.png"), os.path.join("dog", "00.png")
    assert f"1 pictures have another label than an equal one: {one} is 'cat' and {two} is 'dog'" in said(task)


def test_folders_that_differ_by_case(pets: Path) -> None:
    (pets / "Cat ").mkdir()
    for i in range(6):
        noise(50 + i).save(pets / "Cat " / f"{i}.png")
    assert "12 'cat', 6 'Cat ' are 2 classes; merge_labels=True makes them one" in said(data.images(pets, size=16))
    assert data.images(pets, size=16, merge_labels=True).classes == ("cat", "dog")


# -- how a picture is read ---------------------------------------------------------------------------------------------

RAMP = np.linspace(0, 1, 64 * 64).reshape(64, 64)


def first_cat(pets: Path) -> np.ndarray:
    """The one picture called a.* among the cats, as the task has it."""
    task = data.images(pets, size=64, train=24, validation=1, test=1)
    for part in (task.train, task.validation, task.test):
        for i in range(len(part)):
            picture, name = part.example(i)
            if name == "cat" and picture[0, :8].std() < 4 and picture[:, 0].std() > 30:
                return picture
    raise AssertionError("not there")


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_pictures_of_sixteen_bits_keep_their_greys(kind: str, pets: Path) -> None:
    (pets / "cat" / "00.png").unlink()
    Image.fromarray(np.round(RAMP * 65535).astype(np.uint16)).save(pets / "cat" / f"a.{kind}")
    noise(77).save(pets / "cat" / "b.png"), noise(78).save(pets / "dog" / "b.png")
    assert np.abs(first_cat(pets)[..., 0] / 255 - RAMP).max() < 0.01


def test_floats_from_black_to_white_are_read_and_others_refused(pets: Path) -> None:
    noise(77).save(pets / "cat" / "b.png"), noise(78).save(pets / "dog" / "b.png")
    (pets / "cat" / "00.png").unlink()
    Image.fromarray(RAMP.astype(np.float32)).save(pets / "cat" / "a.tiff")
    assert np.abs(first_cat(pets)[..., 0] / 255 - RAMP).max() < 0.01
    for values in (
        (RAMP * 900 - 3).astype(np.float32),
        (RAMP * 65535).astype(np.int32),
        np.full((9, 9), np.nan, np.float32),
    ):
        Image.fromarray(values).save(pets / "cat" / "a.tiff")
        with pytest.raises(ValueError, match=r"a\.tiff holds 32-bit values from .*; save it with 8 or 16 bits$"):
            data.images(pets, size=64, train=24, validation=1, test=1)


def test_a_picture_is_turned_as_the_camera_was(pets: Path) -> None:
    noise(77).save(pets / "cat" / "b.png"), noise(78).save(pets / "dog" / "b.png")
    (pets / "cat" / "00.png").unlink()
    lying = Image.fromarray(np.round(RAMP.T * 255).astype(np.uint8)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by 90 degrees to see it upright
    lying.save(pets / "cat" / "a.png", exif=exif)
    expected = np.rot90(RAMP.T, -1)
    assert np.abs(first_cat(pets)[..., 0] / 255 - expected).max() < 0.01


def test_nearly_blank_pictures_are_said(pets: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 4096, (24, 24), dtype=np.uint16)).save(pets / "cat" / "00.png")
    assert f"1 pictures are nearly of one colour, such as {os.path.join('cat', '00.png')}" in said(
        data.images(pets, size=16)
    )
