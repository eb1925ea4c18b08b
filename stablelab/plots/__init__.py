"""Figures in matplotlib, one a function, and tables as HTML."""

from .attributions import show_attention, show_attributions
from .ensembles import show_ensembles
from .errors import show_confusion, show_mistakes
from .gallery import show_pictures
from .robustness import show_corrupted, show_robustness
from .strips import show_strip
from .sweeps import heatmap, seed_curves, strip

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
