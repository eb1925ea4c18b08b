"""All that has a widget: the dashboard and its live chart, controls, sweeps and maps under way, pictures that move."""

from ..training.knobs import choice, slider
from .dashboard import Dashboard, dashboard
from .interactive import live, move
from .live_chart import Chart
from .map_view import stability_map_view
from .sweep_view import show_sweep

__all__ = [
    "Chart",
    "Dashboard",
    "choice",
    "dashboard",
    "live",
    "move",
    "show_sweep",
    "slider",
    "stability_map_view",
]
