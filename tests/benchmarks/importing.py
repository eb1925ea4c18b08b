"""Import time of the package against torch's, each in a fresh process."""

from __future__ import annotations

import subprocess
import sys

from timing import Row, alternate, seconds


def _import(code: str) -> float:
    return seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True))


def rows() -> list[Row]:
    """The package alone, and the package with its training room, which does need torch."""
    result = []
    for code in ("import stablelab", "import stablelab; stablelab.Run"):
        ours, theirs = alternate(lambda code=code: _import(code), lambda: _import("import torch"))
        result.append(Row(f"`{code}`", ours, "`import torch`", theirs, 1.10))
    return result
