"""The exercises, a module per notebook."""

from __future__ import annotations

from . import attention_pretraining as attention
from . import clipping, ensembles, measuring, schedules
from . import gradient_descent as descent
from . import losses_regularization as losses
from . import momentum_adam as adam
from . import robustness_ensembles as robustness

ALL = {
    exercise.name: exercise
    for module in (descent, adam, losses, schedules, clipping, attention, measuring, robustness, ensembles)
    for exercise in module.EXERCISES
}
