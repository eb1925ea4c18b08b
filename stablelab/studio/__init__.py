"""The studio: what is looked at. Live chart, dashboard, still pictures; each is loaded when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# The module of the dashboard is `board`: importing a module `dashboard` would hide the function of that name. So it is
# with `live`, in `growing`.
_WHERE = {
    "Chart": "chart",
    "Dashboard": "board",
    "dashboard": "board",
    "show_attention": "insides",
    "show_attributions": "insides",
    "show_confusion": "diagnoses",
    "show_mistakes": "diagnoses",
    "show_pictures": "gallery",
    "Curve": "panels",
    "Heat": "panels",
    "Panel": "panels",
    "Rule": "panels",
    "choice": "moving",
    "live": "growing",
    "move": "moving",
    "slider": "moving",
    "Quadratic": "landscapes",
    "contours": "landscapes",
    "valley": "landscapes",
    "walk": "landscapes",
}
_MODULES = ("cells", "figures", "ghosts")

__all__ = [
    "Chart",
    "Curve",
    "Dashboard",
    "Heat",
    "Panel",
    "Quadratic",
    "Rule",
    "cells",
    "choice",
    "contours",
    "dashboard",
    "figures",
    "ghosts",
    "live",
    "move",
    "show_attention",
    "show_attributions",
    "show_confusion",
    "show_mistakes",
    "show_pictures",
    "slider",
    "valley",
    "walk",
]

if TYPE_CHECKING:
    from . import cells, figures, ghosts
    from .board import Dashboard, dashboard
    from .chart import Chart
    from .diagnoses import show_confusion, show_mistakes
    from .gallery import show_pictures
    from .growing import live
    from .insides import show_attention, show_attributions
    from .landscapes import Quadratic, contours, valley, walk
    from .moving import choice, move, slider
    from .panels import Curve, Heat, Panel, Rule


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"stablelab.studio has no {name!r}; it has {', '.join(__all__)}")
