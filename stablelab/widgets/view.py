"""How a dashboard is laid out."""

from __future__ import annotations

from pathlib import Path

import ipywidgets as w

_STYLE = Path(__file__).parent / "static" / "dashboard.css"


def stacked(*parts: w.Widget) -> w.Box:
    """The parts below each other, in the dashboard's style."""
    # The style sheet is a widget of its own, for pages where the chart's script, which could bring it, cannot run.
    style = w.HTML(f"<style>{_STYLE.read_text(encoding='utf-8')}</style>", layout=w.Layout(display="none"))
    # A view count that starts at 0 is counted by the page; all it is used for is whether there is a page at all.
    box = w.VBox([style, *parts], _view_count=0)
    box.add_class("stablelab-live")
    return box


def in_a_row(*parts: w.Widget) -> w.Box:
    """The parts beside each other, as long as there is room."""
    row = w.HBox(parts)
    row.add_class("stablelab-top")
    return row


def everything_in(box: w.Widget) -> list[w.Widget]:
    """The box and all that is in it."""
    found = [box]
    for widget in found:  # grows as it goes
        found += getattr(widget, "children", ())
    return found
