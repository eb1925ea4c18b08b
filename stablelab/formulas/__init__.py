"""The mathematics of the workbook as pure functions, in the symbols of the papers."""

from __future__ import annotations

from .clipping import CLIPS, clip_, clip_by_global_norm, clip_by_tensor_norm, clip_by_value, global_norm
from .descent import adam, adamw, gradient_descent, momentum
from .losses import cross_entropy, log_softmax, mean_squared_error
from .penalties import l1, l2
from .schedules import SCHEDULES, constant, cosine, exponential, multiplier, plateau, warmup

__all__ = [
    "CLIPS",
    "SCHEDULES",
    "adam",
    "adamw",
    "clip_",
    "clip_by_global_norm",
    "clip_by_tensor_norm",
    "clip_by_value",
    "constant",
    "cosine",
    "cross_entropy",
    "exponential",
    "global_norm",
    "gradient_descent",
    "l1",
    "l2",
    "log_softmax",
    "mean_squared_error",
    "momentum",
    "multiplier",
    "plateau",
    "warmup",
]
