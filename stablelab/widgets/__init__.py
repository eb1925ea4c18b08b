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
    "show_corrupted": "robustness_figures",
    "show_ensembles": "ensemble_figures",
    "show_mistakes": "diagnoses",
    "show_pictures": "gallery",
    "show_robustness": "robustness_figures",
    "show_strip": "strips",
    "show_sweep": "sweeping",
    "stability_map_view": "map_view",
    "stability_report": "reporting",
    "heatmap": "sweep_figures",
    "seed_curves": "sweep_figures",
    "strip": "sweep_figures",
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
    "heatmap",
    "live",
    "move",
    "seed_curves",
    "show_attention",
    "show_attributions",
    "show_confusion",
    "show_corrupted",
    "show_ensembles",
    "show_mistakes",
    "show_pictures",
    "show_robustness",
    "show_strip",
    "show_sweep",
    "slider",
    "stability_map_view",
    "stability_report",
    "strip",
    "valley",
    "walk",
]

if TYPE_CHECKING:
    from . import cells, figures, ghosts
    from .board import Dashboard, dashboard
    from .chart import Chart
    from .diagnoses import show_confusion, show_mistakes
    from .ensemble_figures import show_ensembles
    from .gallery import show_pictures
    from .growing import live
    from .insides import show_attention, show_attributions
    from .landscapes import Quadratic, contours, valley, walk
    from .map_view import stability_map_view
    from .moving import choice, move, slider
    from .panels import Curve, Heat, Panel, Rule
    from .reporting import stability_report
    from .robustness_figures import show_corrupted, show_robustness
    from .strips import show_strip
    from .sweep_figures import heatmap, seed_curves, strip
    from .sweeping import show_sweep


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"stablelab.studio has no {name!r}; it has {', '.join(__all__)}")
