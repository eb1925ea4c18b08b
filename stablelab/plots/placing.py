"""A picture as the cell of a notebook takes it."""

from __future__ import annotations

import base64

from .._notebook_cells import in_notebook as in_notebook

_SHOWN_DPI = 100


def png(picture: bytes | None, alt: str) -> dict[str, str]:
    """A picture and what it shows in words, as a cell takes them."""
    return {"image/png": base64.b64encode(picture or b"").decode("ascii"), "text/plain": alt}


def size(picture: bytes | None) -> dict[str, dict[str, int]]:
    """How large a picture is shown, as a cell's metadata."""
    if not picture:
        return {}
    from .training_curves import DPI

    # A PNG says its size in bytes 16 to 23, big-endian (PNG specification, third edition, section 11.2.1).
    width, height = int.from_bytes(picture[16:20], "big"), int.from_bytes(picture[20:24], "big")
    return {"image/png": {"width": round(width * _SHOWN_DPI / DPI), "height": round(height * _SHOWN_DPI / DPI)}}
