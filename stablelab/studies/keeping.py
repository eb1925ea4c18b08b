"""What the studies share: a line of JSON for each thing done, so that a stopped study goes on, and what is kept."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from .._files import write_atomically

KEPT = Path(__file__).parent / "kept"


def read_lines(part: Path) -> list[Any]:
    """What ``add_line`` has written there so far; nothing where there is no such file."""
    return [json.loads(line) for line in part.read_text().splitlines()] if part.exists() else []


def add_line(part: Path, value: Any) -> None:
    """Write one more line of JSON, at once."""
    with part.open("a") as file:
        file.write(json.dumps(value) + "\n")


def write_columns(file: Path, by: str, **columns: Any) -> None:
    """Keep arrays by name, compressed; ``by`` says what computed them."""
    content = io.BytesIO()
    np.savez_compressed(content, by=np.array(by), **columns)
    write_atomically(file, content.getvalue())
