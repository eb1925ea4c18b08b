"""Where the page cannot run the live chart's script: pictures instead, drawn by matplotlib at most once a second."""

from __future__ import annotations

import time
from collections.abc import Callable

import ipywidgets as w

SECONDS = 1.0  # between two pictures; one costs the kernel a few tenths of a second


class Picture:
    """A picture that takes the chart's place, and the button that asks for it.

    Arguments:
        wake: called when the learner has asked.
        on: whether to start with pictures.
    """

    def __init__(self, wake: Callable[[], object], on: bool = False) -> None:
        self._wake = wake
        self.on = on
        self._drawn: tuple[int, bool] | None = None
        self._next = 0.0
        self.image = w.Image(format="png", layout=w.Layout(max_width="100%", width="800px"))
        self.button = w.Button(description="show pictures instead", icon="image", layout=w.Layout(width="auto"))
        self.button.tooltip = "the live chart does not answer; draw a picture once a second"
        self.button.layout.display = "none"
        self.button.on_click(self._clicked)
        self._frame = w.VBox()

    @property
    def widgets(self) -> tuple[w.Widget, ...]:
        """Those that the page sends messages to."""
        return (self.button,)

    def box(self, chart: w.Widget) -> w.Box:
        """The chart or the picture, whichever is on, and the button."""
        self._chart = chart
        self._frame.children = (self.image,) if self.on else (chart,)
        return w.VBox([self._frame, self.button])

    def offer(self, wanted: bool) -> None:
        """Show the button while the chart does not answer. Ticker only, as ``refresh``."""
        self.button.layout.display = None if wanted and not self.on else "none"

    def renew(self) -> None:
        """The next picture is of another run."""
        self._drawn = None

    def refresh(self, draw: Callable[[], bytes], points: int, over: bool) -> None:
        """Draw anew if pictures are on, there is something new, and the last one is a second old or this is the end."""
        now = time.monotonic()
        if not self.on or self._drawn == (points, over) or (now < self._next and not over):
            return
        if self._frame.children != (self.image,):
            self._frame.children = (self.image,)
        self.image.value = draw()
        self._drawn, self._next = (points, over), time.monotonic() + SECONDS

    def _clicked(self, _button: w.Button) -> None:
        self.on = True
        self._wake()
