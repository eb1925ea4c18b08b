"""A notebook's cell for tests in which there is no notebook."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest


class Cell:
    """Stands for a cell of a notebook: what its two outputs hold, and what is to be called before the next cell."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.outputs: list[dict[str, Any]] = []
        self.next: list[Any] = []
        monkeypatch.setattr("stablelab.widgets.view.in_notebook", lambda: True)
        monkeypatch.setattr("stablelab.widgets.view.before_next_cell", self.next.append)
        monkeypatch.setattr("IPython.display.display", self._display)

    def _display(self, data: dict[str, Any], **_: Any) -> SimpleNamespace:
        index = len(self.outputs)
        self.outputs.append(data)

        def update(data: dict[str, Any], **_: Any) -> None:
            self.outputs[index] = data

        return SimpleNamespace(update=update)

    @property
    def pictures(self) -> list[bool]:
        """Whether the live output and the one under it hold a picture."""
        return ["image/png" in output for output in self.outputs]
