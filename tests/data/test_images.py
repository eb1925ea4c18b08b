from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from stablelab import data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve pictures: red ones, wider than high, and blue ones, of different content in formats of several kinds."""
    for colour, name, size in (((255, 0, 0), "red", (40, 20)), ((0, 0, 255), "blue", (20, 40))):
        (tmp_path / name).mkdir()
        for i in range(6):
            kind = ("png", "jpg", "bmp")[i % 3]
            picture = Image.new("RGB", size, colour)
            picture.paste((0, 40 * i, 0), (0, 0, 10, 10))
            picture.save(tmp_path / name / f"{i}.{kind}", quality=95)
    return tmp_path


def test_a_folder_of_images(folder: Path) -> None:
    task = data.images(folder, size=16, validation=2, test=2)
    assert task.classes == ("blue", "red")
    assert [len(split) for split in (task.train, task.validation, task.test)] == [8, 2, 2]
    assert task.collate(torch.arange(3))[0].shape == (3, 3, 16, 16)
    for i in range(8):
        picture, name = task.example(i)
        assert picture.mean((0, 1)).argmax() == {"red": 0, "blue": 2}[name]


def test_unreadable_images_are_counted_and_the_first_is_named(folder: Path) -> None:
    (folder / "red" / "0.png").write_bytes(b"no picture")
    whole = (folder / "blue" / "1.jpg").read_bytes()
    (folder / "blue" / "1.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"^2 of 12 images cannot be read, the first is .*(0\.png|1\.jpg)$"):
        data.images(folder, size=16, validation=2, test=2)


def test_folders_that_are_none_of_images(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere$"):
        data.images(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"is not one sub-folder of images per class"):
        data.images(folder / "red")
    (folder / "green").mkdir()
    with pytest.raises(FileNotFoundError, match=r"is not one sub-folder of images per class: .*green"):
        data.images(folder)


def test_one_class_only_and_splits_taken_for_classes(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    lonely = tmp_path_factory.mktemp("lonely")
    (folder / "red").rename(lonely / "red")
    with pytest.raises(ValueError, match=r"all 6 examples are of one class, 'red'"):
        data.images(lonely)
    (lonely / "red").rename(lonely / "train")
    (folder / "blue").rename(lonely / "val")
    with pytest.raises(ValueError, match=r"has train and val in it, not classes; give the folder of one of them$"):
        data.images(lonely)
