from __future__ import annotations

import io
import subprocess
import tarfile
from dataclasses import replace
from importlib import import_module
from pathlib import Path, PurePosixPath

import pytest

from stablelab._files import sha256_of
from stablelab.data import corpora, corpora_folder, fetch_corpora

module = import_module("stablelab.data.reviews")  # in the room this name is the function
NAMES = [PurePosixPath(name).name for name in module.FILES.values()]


def archive(file: Path, members: dict[str, bytes], extra: tarfile.TarInfo | None = None) -> Path:
    with tarfile.open(file, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        if extra is not None:
            tar.addfile(extra)
    return file


def source_distribution(tmp_path: Path) -> Path:
    inner = archive(
        tmp_path / "inner.tar.gz", {name: PurePosixPath(name).name.encode() for name in module.FILES.values()}
    )
    return archive(tmp_path / "outer.tar.gz", {module.CORPORA.inner: inner.read_bytes()})


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STABLELAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "reviews"


def test_fetching_again_is_instant_and_silent(corpora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("nothing is to be downloaded"))
    said: list[str] = []
    assert fetch_corpora(progress=said.append) == corpora == corpora_folder()
    assert said == []


def test_a_download_is_verified_unpacked_and_kept(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sdist = source_distribution(tmp_path)
    monkeypatch.setattr(module, "CORPORA", replace(module.CORPORA, sdist_sha256=sha256_of(sdist)))

    def download(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert command[1:5] == ["-m", "pip", "download", "--no-deps"]
        assert command[-1] == "vaderSentiment==3.3.2"
        Path(command[command.index("--dest") + 1], "vaderSentiment-3.3.2.tar.gz").write_bytes(sdist.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", download)
    said: list[str] = []
    assert fetch_corpora(progress=said.append) == empty_cache == corpora_folder()
    assert sorted(file.name for file in empty_cache.iterdir()) == sorted(NAMES)
    assert (empty_cache / NAMES[0]).read_text() == NAMES[0]
    assert len(said) == 2


def test_without_a_network_one_line_says_what_to_run(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "WARNING: Retrying\n\nERROR: No matching distribution\n")

    monkeypatch.setattr(subprocess, "run", offline)
    with pytest.raises(
        OSError, match=r"could not be fetched \(ERROR: No matching distribution\); .*run: stablelab fetch"
    ) as error:
        fetch_corpora(progress=lambda line: None)
    assert "\n" not in str(error.value)
    assert list(empty_cache.iterdir()) == []


def test_pip_that_hangs_is_given_up(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(command: list[str], timeout: float, **_: object) -> subprocess.CompletedProcess[str]:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(OSError, match=r"pip took longer than 300 seconds"):
        fetch_corpora(progress=lambda line: None)


def test_a_wrong_checksum_leaves_nothing_behind(empty_cache: Path, tmp_path: Path) -> None:
    empty_cache.mkdir(parents=True)
    with pytest.raises(ValueError, match=r"outer\.tar\.gz is damaged or another version .*; nothing was unpacked"):
        module.CORPORA.unpack(source_distribution(tmp_path))
    assert list(empty_cache.iterdir()) == []


def link(kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo("harmless.txt")
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(("members", "extra", "reason"), [
    ({"../escaped.txt": b"x"}, None, "leads out of the folder"),
    ({"a/../../escaped.txt": b"x"}, None, "leads out of the folder"),
    ({"..\\escaped.txt": b"x"}, None, "leads out of the folder"),
    ({"/escaped.txt": b"x"}, None, "leads out of the folder"),
    ({"C:\\escaped.txt": b"x"}, None, "leads out of the folder"),
    ({}, link(tarfile.SYMTYPE, "/etc/passwd"), "is a link or a device"),
    ({}, link(tarfile.LNKTYPE, "wanted.txt"), "is a link or a device"),
    ({}, link(tarfile.FIFOTYPE, ""), "is a link or a device"),
])  # fmt: skip
def test_members_that_do_not_belong_in_a_folder(
    members: dict[str, bytes], extra: tarfile.TarInfo | None, reason: str, tmp_path: Path
) -> None:
    folder = tmp_path / "deep" / "folder"
    folder.mkdir(parents=True)
    bad = archive(tmp_path / "bad.tar.gz", {"wanted.txt": b"wanted", **members}, extra)
    with pytest.raises(ValueError, match=rf"^bad\.tar\.gz is not safe: its member .* {reason}; nothing was unpacked$"):
        corpora.extract(bad, folder, ["wanted.txt"])
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [bad]


def test_archives_that_are_none_or_lack_the_file(tmp_path: Path) -> None:
    good = archive(tmp_path / "good.tar.gz", {"wanted.txt": b"wanted" * 1000})
    with pytest.raises(ValueError, match=r"good\.tar\.gz has no file other\.txt"):
        corpora.extract(good, tmp_path, ["other.txt"])
    for content in (b"no archive at all", good.read_bytes()[:-30], good.read_bytes()[:40] + b"\0" * 100):
        (tmp_path / "bad.tar.gz").write_bytes(content)
        with pytest.raises(ValueError, match=r"^bad\.tar\.gz cannot be unpacked: .+$"):
            corpora.extract(tmp_path / "bad.tar.gz", tmp_path, ["wanted.txt"])


def test_a_failure_half_way_leaves_no_half_of_a_file(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sdist = source_distribution(tmp_path)
    monkeypatch.setattr(module, "CORPORA", replace(module.CORPORA, sdist_sha256=sha256_of(sdist)))
    empty_cache.mkdir(parents=True)

    def full_disk(source: io.BufferedReader, out: io.BufferedWriter) -> None:
        out.write(source.read(3))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(corpora.shutil, "copyfileobj", full_disk)
    with pytest.raises(OSError, match=r"No space left"):
        module.CORPORA.unpack(sdist)
    assert list(empty_cache.iterdir()) == []
