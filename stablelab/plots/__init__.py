"""Figures in matplotlib, one a function, and tables as HTML.

matplotlib itself is imported when something is drawn: a live chart and the first cell of a notebook do without.
"""

from .attributions import show_attention, show_attributions
from .display import show_pictures
from .ensembles import show_ensembles
from .errors import show_confusion, show_mistakes
from .heatmaps import heatmap
from .robustness import show_corrupted, show_robustness
from .sweeps import seed_curves, show_strip, strip

__all__ = [
    "heatmap",
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
    "strip",
]
