"""Stability: what is measured on a model and its runs."""

from .outcome import Outcome
from .points import Point
from .results import Results
from .sharpness import hessian_vector_product, sharpness
from .single import Parts, Recipe, run_one
from .subsets import Subsets
from .sweep import Sweep

__all__ = [
    "Outcome",
    "Parts",
    "Point",
    "Recipe",
    "Results",
    "Subsets",
    "Sweep",
    "run_one",
    "hessian_vector_product",
    "sharpness",
]
