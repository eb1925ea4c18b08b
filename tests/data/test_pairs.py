"""Tables of pictures and captions."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from PIL import Image

from stablelab import data


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Twelve pictures with a caption each; two rows show one picture, two have one caption but for case."""
    rows = []
    for i in range(12):
        picture = Image.new("RGB", (20 + i, 16), (20 * i, 250 - 20 * i, 100))
        picture.paste((0, 0, 0), (6, 2, 14, 12))
        picture.save(tmp_path / f"{i}.png")
        rows.append([f"{i}.png", f"picture {i}"])
    rows += [["0.png", "the same picture"], ["3.png", "PICTURE 5"]]
    file = tmp_path / "captions.csv"
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows([["image", "caption"], *rows])
    return file


def test_a_table_becomes_three_splits_whose_classes_are_the_captions(table: Path) -> None:
    found = data.pairs(table, text="caption", size=16, validation=3, test=3)
    assert sum(len(split) for split in (found.train, found.validation, found.test)) == 14
    picture, caption = found.train.example(0)
    assert picture.shape == (16, 16, 3) and caption == found.train.classes[0]
    inputs, targets = found.test.collate(torch.arange(2))
    assert inputs.shape == (2, 3, 16, 16) and targets.tolist() == [0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_rows_of_one_picture_or_one_caption_stand_in_one_split(table: Path, seed: int) -> None:
    found = data.pairs(table, text="caption", size=16, seed=seed)
    for ties in ({"picture 0", "the same picture"}, {"picture 3", "PICTURE 5", "picture 5"}):
        homes = [name for name in ("train", "validation", "test") if ties & set(getattr(found, name).classes)]
        assert len(homes) == 1
    again = data.pairs(table, text="caption", size=16, seed=seed)
    assert again.test.classes == found.test.classes and "14 train" not in repr(found)


def test_what_is_not_whole_is_left_out_named_and_counted_in_a_line(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (table.parent / "4.png").write_bytes(b"no picture")
    table.write_text(table.read_text().replace("picture 7", "").replace("9.png", "gone.png"))
    found = data.pairs(table, text="caption", size=16)
    assert found.report is not None
    (remark,) = found.report.remarks
    assert remark == (
        "left out: 2 pictures that cannot be read, the first is 4.png; "
        "1 row without a picture or a caption, the first is row 8"
    )
    assert remark in capsys.readouterr().out


def test_bad_tables_are_one_line(table: Path) -> None:
    with pytest.raises(ValueError, match=r"^captions.csv has no column 'text'; it has image, caption$"):
        data.pairs(table)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        data.pairs(table.parent / "none.csv")
    nowhere = r"^captions.csv has 0 of 14 pairs to learn from \(14 pictures that cannot be read, .*\); 6 are needed$"
    with pytest.raises(ValueError, match=nowhere):
        data.pairs(table, text="caption", folder=table.parent / "elsewhere")
    with pytest.raises(ValueError, match="size is 4"):
        data.pairs(table, text="caption", size=4)


def test_one_group_cannot_be_split(table: Path) -> None:
    lines = ["image,caption", *(f"{i}.png,all alike" for i in range(8))]
    table.write_text("\n".join(lines))
    with pytest.raises(ValueError, match="none is left for validation"):
        data.pairs(table, text="caption", size=16)
