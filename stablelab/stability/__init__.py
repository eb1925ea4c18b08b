"""Stability: what is measured on a model and its runs."""

from .calibration import Reliability, expected_calibration_error, reliability
from .churn import churn, pairwise_churn
from .committees import EnsembleComparison, compare_ensembles, spread_by_size
from .comparing import Comparison, compare_spread
from .contrast import Contrast, contrast
from .corruption_error import corruption_errors, mean_corruption_error
from .course import clipped_share, median_steps_to_loss, sharpness_against, steps_to_loss
from .domains import across
from .ensembles import average, fit_weights, vote
from .estimate import Estimate
from .failing import failed_rate, is_failed
from .heads import Heads, new_heads, train_heads, why_not_batched
from .maps import StabilityMap, stability_map
from .outcome import Outcome
from .points import Point
from .results import Results
from .robustness import Robustness, robustness
from .sensitivity import learning_rate_sensitivity
from .sharpness import hessian_vector_product, sharpness
from .single import Parts, Recipe, run_one
from .soups import Soup, average_weights, greedy_soup
from .spread import mean, median, standard_deviation, value_range
from .stacking import Stack, out_of_fold, stack
from .subsets import Subsets
from .sweep import Sweep
from .variance import VarianceSplit, variance_split

__all__ = [
    "Comparison",
    "Contrast",
    "EnsembleComparison",
    "Estimate",
    "Heads",
    "Outcome",
    "Parts",
    "Point",
    "Recipe",
    "Reliability",
    "Results",
    "Robustness",
    "Soup",
    "StabilityMap",
    "Stack",
    "Subsets",
    "Sweep",
    "VarianceSplit",
    "average",
    "average_weights",
    "churn",
    "clipped_share",
    "compare_ensembles",
    "compare_spread",
    "expected_calibration_error",
    "failed_rate",
    "fit_weights",
    "greedy_soup",
    "hessian_vector_product",
    "is_failed",
    "learning_rate_sensitivity",
    "mean",
    "median",
    "median_steps_to_loss",
    "new_heads",
    "out_of_fold",
    "pairwise_churn",
    "reliability",
    "run_one",
    "sharpness",
    "sharpness_against",
    "spread_by_size",
    "stability_map",
    "stack",
    "standard_deviation",
    "steps_to_loss",
    "train_heads",
    "value_range",
    "variance_split",
    "vote",
    "why_not_batched",
]
