"""All that has a widget: the dashboard and its live chart, controls, sweeps and maps under way, pictures that move."""

from .dashboard import Dashboard, dashboard
from .growing import live
from .interactive import choice, move, slider
from .landscapes import Quadratic, contours, valley, walk
from .live_chart import Chart
from .map_view import stability_map_view
from .panels import Curve, Heat, Panel, Rule
from .sweep_view import show_sweep

__all__ = [
    "Chart",
    "Curve",
    "Dashboard",
    "Heat",
    "Panel",
    "Quadratic",
    "Rule",
    "choice",
    "contours",
    "dashboard",
    "live",
    "move",
    "show_sweep",
    "slider",
    "stability_map_view",
    "valley",
    "walk",
]
