"""Stability: what is measured on a model and its runs."""

from .calibration import Reliability, expected_calibration_error, reliability
from .churn import churn, pairwise_churn
from .contrast_sets import Contrast, contrast
from .domain_shift import across
from .ensembles import EnsembleComparison, average, compare_ensembles, fit_weights, spread_by_size, vote
from .estimates import Estimate
from .gradient_noise import gradient_noise_scale
from .hessian import hessian_vector_product, sharpness
from .lr_sensitivity import learning_rate_sensitivity
from .membership import lira_scores, memberships, true_positive_rates
from .memorization import codes, secret_exposure, text_losses
from .model_soups import Soup, average_weights, greedy_soup
from .private_heads import private_epsilon, train_private_heads
from .robustness import Robustness, corruption_errors, mean_corruption_error, robustness
from .spread import (
    Comparison,
    compare_spread,
    failed_rate,
    is_failed,
    mean,
    median,
    standard_deviation,
    value_range,
)
from .stacking import Stack, out_of_fold, stack
from .sweeps import (
    Heads,
    Outcome,
    Results,
    StabilityMap,
    Subsets,
    Sweep,
    Trainable,
    Trial,
    TrialSetup,
    new_heads,
    run_trial,
    stability_map,
    train_heads,
    why_not_batched,
)
from .training_curves import clipped_share, median_steps_to_loss, sharpness_against, steps_to_loss
from .variance_components import VarianceSplit, variance_split

__all__ = [
    "Comparison",
    "Contrast",
    "EnsembleComparison",
    "Estimate",
    "Heads",
    "Outcome",
    "Reliability",
    "Results",
    "Robustness",
    "Soup",
    "StabilityMap",
    "Stack",
    "Subsets",
    "Sweep",
    "Trainable",
    "Trial",
    "TrialSetup",
    "VarianceSplit",
    "across",
    "average",
    "average_weights",
    "churn",
    "clipped_share",
    "codes",
    "compare_ensembles",
    "compare_spread",
    "contrast",
    "corruption_errors",
    "expected_calibration_error",
    "failed_rate",
    "fit_weights",
    "gradient_noise_scale",
    "greedy_soup",
    "hessian_vector_product",
    "is_failed",
    "learning_rate_sensitivity",
    "lira_scores",
    "mean",
    "mean_corruption_error",
    "median",
    "median_steps_to_loss",
    "memberships",
    "new_heads",
    "out_of_fold",
    "pairwise_churn",
    "private_epsilon",
    "reliability",
    "robustness",
    "run_trial",
    "secret_exposure",
    "sharpness",
    "sharpness_against",
    "spread_by_size",
    "stability_map",
    "stack",
    "standard_deviation",
    "steps_to_loss",
    "text_losses",
    "train_heads",
    "train_private_heads",
    "true_positive_rates",
    "value_range",
    "variance_split",
    "vote",
    "why_not_batched",
]
