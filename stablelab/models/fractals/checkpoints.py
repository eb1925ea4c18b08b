"""Files that survive a kill in mid-write: the newest and the one before it, each with a checksum of its own."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

DIGEST_BYTES = 32


def older(file: Path) -> Path:
    """Where the checkpoint before this one lies."""
    return file.with_name(f"{file.name}.older")


def unfinished(file: Path) -> Path:
    """Where the next checkpoint lies until it is whole."""
    return file.with_name(f"{file.name}.new")


def write(file: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values; the checkpoint that was there becomes the older one.

    Raises:
        OSError: the folder cannot be written to, or the disk is full; what was there before is still there.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getbuffer()
    fresh = unfinished(file)
    try:
        with fresh.open("wb") as stream:
            stream.write(content)
            stream.write(hashlib.sha256(content).digest())
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    if file.exists():
        file.replace(older(file))
    fresh.replace(file)


def read(file: Path) -> dict[str, Any] | None:
    """The newest undamaged checkpoint, or None if there is none. Says which one was damaged, in a line."""
    for candidate in (file, older(file)):
        if not candidate.exists():
            continue
        content = candidate.read_bytes()
        if hashlib.sha256(content[:-DIGEST_BYTES]).digest() == content[-DIGEST_BYTES:]:
            return torch.load(io.BytesIO(content[:-DIGEST_BYTES]), map_location="cpu", weights_only=True)
        print(f"the checkpoint {candidate} is damaged; it is not used")
    return None


def remove(file: Path) -> None:
    """Remove all checkpoints, an unfinished one included."""
    for candidate in (file, older(file), unfinished(file)):
        candidate.unlink(missing_ok=True)
