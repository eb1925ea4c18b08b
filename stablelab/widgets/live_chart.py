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

from ..plots.curve_data import CurveData, chart_layout
from ..plots.earlier_runs import EarlierRun, bands

_SCRIPT = Path(__file__).parent / "static"
# anywidget takes one script; these pieces share its scope, and the last one exports the widget.
_PIECES = ("data", "scales", "strokes", "drawing", "marks", "readout", "gestures", "kernel", "chart")


class Chart(anywidget.AnyWidget):
    """Loss, gradient norm, learning rate and further scalars of one run, on a canvas of the page.

    Only one thread may call ``push`` and ``freeze``. The script in the page asks for everything when it starts (also
    after a reload) and when it misses a message; until it has asked once, nothing is sent at all. Where it has heard
    nothing for a while it asks whether the kernel is still there, and is answered at once.

    Args:
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
        self._wanted = self._pinged = False
        self._sent: tuple[int, int] | None = None  # (points, evaluations) the page has been sent of these data
        self._layout = 0  # of the data, as the page has been sent it
        self._marked: int | None = None  # the step that the page has been told is picked
        self.on_msg(self._on_message)

    def push(self, data: CurveData, earlier_runs: Sequence[EarlierRun] = ()) -> None:
        """Send what the page has not got; everything where it asked, of another run, and where panels are new."""
        picked = self.picked
        if self._pinged:  # answered here and not where it is asked: a widget has one writer
            self._pinged = False
            self.send({"type": "pong"}, buffers=[])
        if self._wanted or (self.heard and (self._sent is None or self._layout != data.layout)):
            self._wanted = False
            self._send_pair(everything(data, earlier_runs, picked))
        else:
            if self._sent is not None and self._sent != (len(data), len(data.evaluations)):
                self._send_pair(news(data, *self._sent))
            if self.heard and picked != self._marked:
                self.send({"type": "pick", "step": picked}, buffers=[])
        if self.heard:
            self._sent, self._marked = (len(data), len(data.evaluations)), picked
            self._layout = data.layout

    def renew(self) -> None:
        """The next push is of another run, or of one that was reset."""
        self.picked = None
        self.repeat()

    def repeat(self) -> None:
        """The next push is of everything: there are other earlier runs."""
        self._sent = None
        if self.snapshot:
            self.snapshot = b""

    def freeze(self, data: CurveData, earlier_runs: Sequence[EarlierRun] = ()) -> None:
        """Keep the final curves in the widget's state; without a page nobody could show them, so nothing is kept."""
        if self.heard:
            self.snapshot = pack(*everything(data, earlier_runs))

    def _send_pair(self, message: tuple[dict[str, Any], list[bytes]]) -> None:
        self.send(message[0], buffers=message[1])

    def _on_message(self, _widget: Any, content: Any, _buffers: Any) -> None:
        message = content if isinstance(content, dict) else {}
        if message.get("type") == "resync":
            self.heard = True
            self._wanted = True
            self._asked()
        elif message.get("type") == "ping":
            self._pinged = True
            self._asked()
        elif message.get("type") == "pick" and (message.get("step") is None or type(message["step"]) is int):
            self.picked = message["step"]
            self._asked()


def news(data: CurveData, points: int, evaluations: int) -> tuple[dict[str, Any], list[bytes]]:
    """The message with what came after the first ``points`` points, and its buffers.

    ``first`` is the index of its first point and ``next`` that of the first point of the next message, so that a page
    that misses one notices. Marks are few and go along in full.
    """
    rows = data.rows[points:]
    chosen = data.thinned_out(first=points)
    content = {"type": "points", "first": points, "next": len(data), **_summary(data)}
    return content, [_bytes(rows[chosen]), _bytes(data.evaluations[evaluations:])]


def everything(
    data: CurveData, earlier_runs: Sequence[EarlierRun] = (), picked: int | None = None
) -> tuple[dict[str, Any], list[bytes]]:
    """The message with all points (thinned out where there are many), and the earlier runs, two buffers each.

    ``layout`` says which columns the rows have, and which of them are drawn in which panel.
    """
    content = {
        "type": "all",
        "first": 0,
        "next": len(data),
        "born": data.branched_at,
        "picked": picked,
        "layout": chart_layout(data),
        "earlier_runs": [_about(each) for each in earlier_runs],
        "bands": [
            {"ids": [each.id for each in band.runs], "label": band.label, "short": band.short, "look": band.look}
            for band in bands(earlier_runs)
        ],
        **_summary(data),
    }
    buffers = [_bytes(data.rows[data.thinned_out()]), _bytes(data.evaluations)]
    for each in earlier_runs:
        buffers += [_bytes(each.rows), _bytes(each.evaluations)]
    return content, buffers


def _about(earlier: EarlierRun) -> dict[str, Any]:
    names = ("id", "label", "short", "look", "columns", "parent")
    return {name: getattr(earlier, name) for name in names}


def pack(content: dict[str, Any], buffers: Sequence[bytes]) -> bytes:
    """A message as one string of bytes: length of the header, header (JSON), buffers; each at a multiple of 4."""
    header = json.dumps({**content, "sizes": [len(buffer) for buffer in buffers]}).encode()
    header += b" " * (-len(header) % 4)
    return struct.pack("<I", len(header)) + header + b"".join(buffers)


def unpack(packed: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """The message that ``pack`` packed."""
    (length,) = struct.unpack("<I", packed[:4])
    content = json.loads(packed[4 : 4 + length])
    ends = np.cumsum([4 + length, *content.pop("sizes")]).tolist()
    return content, [packed[a:b] for a, b in itertools.pairwise(ends)]


def _summary(data: CurveData) -> dict[str, Any]:
    return {"total": data.total_steps, "clipped": data.clipped, "last": data.last, "marks": data.marks}


def _bytes(rows: np.ndarray) -> bytes:
    return np.ascontiguousarray(rows, dtype="<f4").tobytes()
