"""Where a dashboard stands on the page: the live view, and the picture that stays when the kernel is gone."""

from __future__ import annotations

import base64
import sys
from typing import Any

# An output with nothing in it makes JupyterLab drop the place, so the empty one holds an empty text.
_EMPTY = {"text/plain": ""}
_SHOWN_DPI = 100


class Place:
    """Two outputs of the cell that shows a dashboard: the live view and, under it, a place for the picture.

    Arguments:
        view: the widget to show live.
    """

    def __init__(self, view: Any) -> None:
        self._view = view
        self._live: Any = None
        self._still: Any = None
        self._shows: tuple[str, bytes | None] = ("nothing", None)

    def show(self) -> None:
        """Put both outputs into the cell being executed; nothing outside a notebook."""
        if not in_notebook():
            return
        from IPython.display import display

        self._live = display(self._bundle(), raw=True, display_id=True)
        self._still = display(_EMPTY, raw=True, display_id=True)
        self._shows = ("live", None)

    @property
    def shown(self) -> bool:
        """Whether there is a cell to place a picture in."""
        return self._live is not None

    def settle(self, picture: bytes | None, alt: str, on_a_page: bool) -> None:
        """Bring both outputs to where they should be.

        Arguments:
            picture: PNG of the final curves, None while there is more to come.
            alt: what it shows, in words.
            on_a_page: whether somebody looks at the live view. If so it stays, and the picture goes under it (hidden by
                the chart's style sheet as long as the live view is there). If not, the picture takes its place.
        """
        wanted = ("live" if on_a_page or picture is None else "picture", picture)
        if not self.shown or wanted == self._shows:
            return
        if wanted[0] == "picture":
            self._live.update(png(picture, alt), raw=True, metadata=size(picture))
        elif self._shows[0] == "picture":
            self._live.update(self._bundle(), raw=True)
        still = picture if wanted[0] == "live" else None
        before = self._shows[1] if self._shows[0] == "live" else None
        if still != before:
            self._still.update(png(still, alt) if still else _EMPTY, raw=True, metadata=size(still))
        self._shows = wanted

    def _bundle(self) -> dict[str, Any]:
        """The live view; where there is no kernel to show it, a line of text that says so."""
        return {**self._view._repr_mimebundle_(), "text/plain": "This moves only while its kernel runs: run this cell."}


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


def in_notebook() -> bool:
    """Whether there is a cell to show something in."""
    shell = sys.modules.get("IPython.core.interactiveshell")
    if shell is None or not shell.InteractiveShell.initialized():
        return False
    return getattr(shell.InteractiveShell.instance(), "kernel", None) is not None
