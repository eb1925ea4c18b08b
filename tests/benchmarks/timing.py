"""Fair timing on a noisy machine: the rivals take turns, and the medians are compared."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

REPEATS = 7


@dataclass(frozen=True)
class Row:
    """One line of the table: how long ours takes against a named peer, and the ratio promised.

    Attributes:
        alone: seconds that the products in it would take by themselves, at this machine's peak; None where it is not
            arithmetic that takes the time.
    """

    what: str
    ours: list[float]  # seconds
    peer: str
    theirs: list[float]  # seconds
    at_most: float
    alone: float | None = None

    @property
    def ratio(self) -> float:
        """Median of the ratios of neighbouring runs: a machine that slows down for a while slows both."""
        return statistics.median(a / b for a, b in zip(self.ours, self.theirs, strict=True))

    def __str__(self) -> str:
        verdict = "met" if self.ratio <= self.at_most else "MISSED"
        ours, theirs = (_called(statistics.median(each)) for each in (self.ours, self.theirs))
        limit = ""
        if self.alone is not None:
            limit = f"{_called(self.alone)}, {100 * self.alone / statistics.median(self.ours):.3g} %"
        cells = (self.what, ours, limit, self.peer, theirs, f"{self.ratio:.3f}", f"{self.at_most:.3f}", verdict)
        return f"| {' | '.join(cells)} |"


def _called(spent: float) -> str:
    return f"{spent:.3f} s" if spent >= 0.1 else f"{1000 * spent:.2f} ms"


# The third column: how long the products alone would take at the peak measured here, and what share of ours that is.
HEADER = (
    "| ours | median | products alone | peer | median | ours / peer | at most | |\n|---|---|---|---|---|---|---|---|"
)


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def alternate(
    ours: Callable[[], float], theirs: Callable[[], float], repeats: int = REPEATS
) -> tuple[list[float], list[float]]:
    """Both once to warm up, then in turns; each call returns its own seconds. Who goes first changes every round."""
    ours(), theirs()
    a, b = [], []
    for i in range(repeats):
        if i % 2:
            b.append(theirs())
            a.append(ours())
        else:
            a.append(ours())
            b.append(theirs())
    return a, b


def in_kernel(*cells: str) -> dict[str, Any]:
    """Run cells in a real Jupyter kernel; returns the JSON that they printed, by the word in front of it."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3")
    text: list[str] = []

    def listen(message: dict) -> None:
        if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":  # not a progress bar
            text.append(message["content"]["text"])

    try:
        for cell in cells:
            reply = client.execute_interactive(cell, timeout=1800, output_hook=listen)
            if reply["content"]["status"] != "ok":
                raise RuntimeError("the kernel reported: " + "\n".join(reply["content"]["traceback"]))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    pairs = (line.partition(" ") for line in "".join(text).splitlines())
    return {word: json.loads(said) for word, _, said in pairs if word.isupper() and said.startswith(("[", "{"))}
