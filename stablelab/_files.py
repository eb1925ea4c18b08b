"""Files that are written whole or not at all, and the digests that tell whether they still are."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from pathlib import Path


def sha256_of(file: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def require_sha256(file: Path, expected: str, cure: str) -> None:
    """Raise a ``ValueError`` that ends in ``cure`` unless ``file`` has the sha256 ``expected``."""
    found = sha256_of(file)
    if found != expected:
        raise ValueError(f"{file} is damaged or another version (sha256 {found[:12]}…, not {expected[:12]}…); {cure}")


def write_atomically(file: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Write a file whole or not at all; what was there before stays until the new one is on the disk.

    Args:
        file: its folder must exist.
        content: text is written as UTF-8.
        mode: the file's permissions.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    handle, draft = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.", suffix=".new")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(draft, mode)
        os.replace(draft, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise


def to_disk(path: Path) -> None:
    """Have the system write out what it still holds in memory of a file or folder: a power cut must not leave half."""
    if os.name == "nt" and path.is_dir():  # folders cannot be opened there
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def reason_of(error: BaseException) -> str:
    """What the system said of a file that could not be read or written, in one line, without the error's number."""
    text = str(getattr(error, "strerror", None) or error)
    wrapped = re.search(r"I/O error: (.+?) \(os error", text)  # by safetensors
    lines = (wrapped[1] if wrapped else text).strip().splitlines()
    return lines[0].lower() if lines else type(error).__name__
