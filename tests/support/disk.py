"""Disks that refuse: a limit on the size of files, and a folder that cannot be written to, for root neither."""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    """No file of this process may grow over so many bytes: as on a full disk, the system refuses in the middle."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def nobody() -> Iterator[None]:
    """Root, who may write everywhere, has no more rights than anybody else; for others nothing changes."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@contextmanager
def read_only_folder(fill: Callable[[Path], object] = lambda folder: None) -> Iterator[Path]:
    """A new folder that can be read, but not written to, and neither can the files that ``fill`` puts in it before."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder)
        for file in folder.iterdir():
            file.chmod(0o444)
        folder.chmod(0o555)
        try:
            with nobody():
                yield folder
        finally:
            folder.chmod(0o755)
