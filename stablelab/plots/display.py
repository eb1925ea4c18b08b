"""A still picture or a table in the cell that asks for it, with its words under it: for all who cannot see it."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence

from matplotlib.colors import to_rgb
from matplotlib.typing import ColorType

from . import placing
from .training_curves import GRID, INK

_WIDTH = 110  # characters of a line of words
# JupyterLab gives tables the colours of its theme; a white ground of their own keeps them legible in each, as pictures.
CELL = f"background:#FFFFFF;color:{INK};border:1px solid {GRID};padding:3px 8px;text-align:left;vertical-align:top"
HEADER = f"{CELL};font-weight:bold;white-space:nowrap"


def show(words: str, *, png: bytes = b"", markup: str = "") -> None:
    """Put a picture or a piece of HTML into the cell being executed, and print its words; only these in a script.

    Args:
        words: what the picture shows, numbers included.
        png: the bytes of a PNG file.
        markup: HTML, instead of a picture.
    """
    if placing.in_notebook():
        from IPython.display import display

        data = {"text/html": markup, "text/plain": words} if markup else placing.png(png, words)
        display(data, raw=True, metadata=placing.size(png))
    print(textwrap.fill(words, _WIDTH, break_long_words=False, break_on_hyphens=False))


def ink_on(ground: ColorType) -> str:
    """Black or white, whichever is easier to read on this colour: a contrast of at least 4.5 to 1 on any.

    Source:
        W3C 2018, "Web Content Accessibility Guidelines 2.1", relative luminance and contrast ratio.
    """
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(ground)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "white"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table of texts, which are escaped here."""
    head = "".join(f'<th scope="col" style="{HEADER}">{html.escape(name)}</th>' for name in columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="{CELL}">{html.escape(text)}</td>' for text in row) + "</tr>" for row in rows
    )
    return f'<table style="border-collapse:collapse"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
