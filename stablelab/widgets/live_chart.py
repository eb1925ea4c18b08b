"""The live chart: a canvas in the browser that is sent new points only."""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from ..plots.curve_data import CurveData, chart_layout, decimate
from ..plots.earlier_runs import EarlierRun

_SCRIPT = Path(__file__).parent / "static"
# anywidget takes one script; these pieces share its scope, and the last one exports the widget.
_PIECES = ("format", "store", "scale", "theme", "paint", "marks", "panels", "pointer", "view")


class Chart(anywidget.AnyWidget):
    """Loss, gradient norm and learning rate of one run.

    Only one thread may call ``push`` and ``freeze``. The script in the page asks for everything when it starts (also
    after a reload) and when it misses a message; until it has asked once, nothing is sent at all.

    Arguments:
        asked: called, in whatever thread the message arrives, when there is something to do for ``push``.

    Attributes:
        picked: the step that the learner has picked on the curve, None where there is none.
        heard: whether a script ever reported, that is, whether there is a page with a working chart.
        snapshot: the final curves as bytes, so that the chart lives on wherever widget state is saved.
    """

    _esm = "\n".join((_SCRIPT / f"{piece}.js").read_text(encoding="utf-8") for piece in _PIECES)
    _css = (_SCRIPT / "chart.css").read_text(encoding="utf-8")
    snapshot = traitlets.Bytes(b"").tag(sync=True)

    def __init__(self, asked: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.heard = False
        self.picked: int | None = None
        self._asked = asked
        self._wanted = False
        self._sent: tuple[int, int] | None = None  # (points, evaluations) the page has been sent of this feed
        self._marked: int | None = None  # the step that the page has been told is picked
        self.on_msg(self._on_message)

    def push(self, feed: CurveData, ghosts: Sequence[EarlierRun] = ()) -> None:
        """Send what the page has not got; everything where it asked for that, or where the feed is a new one."""
        picked = self.picked
        if self._wanted or (self.heard and self._sent is None):
            self._wanted = False
            self._send_pair(everything(feed, ghosts, picked))
        else:
            if self._sent is not None and self._sent[0] < len(feed):
                self._send_pair(news(feed, *self._sent))
            if self.heard and picked != self._marked:
                self.send({"type": "pick", "step": picked}, buffers=[])
        if self.heard:
            self._sent, self._marked = (len(feed), len(feed.evaluations)), picked

    def renew(self) -> None:
        """The next push is of another feed: of another run, or of one that was reset."""
        self.picked = None
        self.repeat()

    def repeat(self) -> None:
        """The next push is of everything: there are other ghosts."""
        self._sent = None
        if self.snapshot:
            self.snapshot = b""

    def freeze(self, feed: CurveData, ghosts: Sequence[EarlierRun] = ()) -> None:
        """Keep the final curves in the widget's state; without a page nobody could show them, so nothing is kept."""
        if self.heard:
            self.snapshot = pack(*everything(feed, ghosts))

    def _send_pair(self, message: tuple[dict[str, Any], list[bytes]]) -> None:
        self.send(message[0], buffers=message[1])

    def _on_message(self, _widget: Any, content: Any, _buffers: Any) -> None:
        said = content if isinstance(content, dict) else {}
        if said.get("type") == "resync":
            self.heard = True
            self._wanted = True
            self._asked()
        elif said.get("type") == "pick" and (said.get("step") is None or type(said["step"]) is int):
            self.picked = said["step"]
            self._asked()


def news(feed: CurveData, points: int, evaluations: int) -> tuple[dict[str, Any], list[bytes]]:
    """The message with what came after the first ``points`` points, and its buffers.

    ``first`` is the index of its first point and ``next`` that of the first point of the next message, so that a page
    that misses one notices. Marks are few and go along in full.
    """
    rows = feed.rows[points:]
    chosen = decimate(rows)
    content = {"type": "points", "first": points, "next": len(feed), **_summary(feed)}
    return content, [_bytes(rows[chosen]), _bytes(feed.evaluations[evaluations:])]


def everything(
    feed: CurveData, ghosts: Sequence[EarlierRun] = (), picked: int | None = None
) -> tuple[dict[str, Any], list[bytes]]:
    """The message with all points (thinned out where there are many), and the ghosts, two buffers each."""
    content = {
        "type": "all",
        "first": 0,
        "next": len(feed),
        "born": feed.branched_at,
        "picked": picked,
        "layout": chart_layout(),
        "ghosts": [{"id": ghost.id, "label": ghost.label, "parent": ghost.parent} for ghost in ghosts],
        **_summary(feed),
    }
    buffers = [_bytes(feed.rows[decimate(feed.rows)]), _bytes(feed.evaluations)]
    for ghost in ghosts:
        buffers += [_bytes(ghost.rows), _bytes(ghost.evaluations)]
    return content, buffers


def pack(content: dict[str, Any], buffers: Sequence[bytes]) -> bytes:
    """A message as one string of bytes: length of the header, header (JSON), buffers; each at a multiple of 4."""
    header = json.dumps({**content, "sizes": [len(buffer) for buffer in buffers]}).encode()
    header += b" " * (-len(header) % 4)
    return struct.pack("<I", len(header)) + header + b"".join(buffers)


def unpack(data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """The message that ``pack`` packed."""
    (length,) = struct.unpack("<I", data[:4])
    content = json.loads(data[4 : 4 + length])
    ends = np.cumsum([4 + length, *content.pop("sizes")]).tolist()
    return content, [data[a:b] for a, b in itertools.pairwise(ends)]


def _summary(feed: CurveData) -> dict[str, Any]:
    return {"total": feed.total_steps, "clipped": feed.clipped, "last": feed.last, "marks": feed.marks}


def _bytes(rows: np.ndarray) -> bytes:
    return np.ascontiguousarray(rows, dtype="<f4").tobytes()
