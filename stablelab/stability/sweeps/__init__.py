"""Sweeps: many runs that differ in settings, seeds and training subsets, and a map of many heads at once."""

from .batched_heads import Heads, new_heads, train_heads, why_not_batched
from .execution import Trainable, TrialSetup, run_trial
from .grid import Subsets
from .results import Results
from .stability_map import StabilityMap, stability_map
from .sweep import Sweep
from .trial import Outcome, Trial

__all__ = [
    "Heads",
    "Outcome",
    "Results",
    "StabilityMap",
    "Subsets",
    "Sweep",
    "Trainable",
    "Trial",
    "TrialSetup",
    "new_heads",
    "run_trial",
    "stability_map",
    "train_heads",
    "why_not_batched",
]
