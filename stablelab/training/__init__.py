"""Training: settings, control, optimizers, the loop, the history, the run."""

from .checkpoints import Checkpoint, Checkpoints
from .control import Control
from .error_analysis import Diagnosis, diagnose
from .evaluation import evaluate, forward, predict
from .export import export
from .history import History, Log
from .loop import steps
from .lr_range_test import RangeTest, range_test
from .optimizers import Adam, AdamW, GradientDescent, Lamb, Momentum
from .protocols import Batches, Split, Task
from .records import Evaluation, Gesture, Intervention, Step
from .reproducibility import restored, step_randomness
from .resuming import load, reopen, replay
from .run import Run
from .settings import Settings

__all__ = [
    "Adam",
    "AdamW",
    "Batches",
    "Checkpoint",
    "Checkpoints",
    "Control",
    "Diagnosis",
    "Evaluation",
    "Gesture",
    "GradientDescent",
    "History",
    "Intervention",
    "Lamb",
    "Log",
    "Momentum",
    "RangeTest",
    "Run",
    "Settings",
    "Split",
    "Step",
    "Task",
    "diagnose",
    "evaluate",
    "export",
    "forward",
    "load",
    "predict",
    "range_test",
    "reopen",
    "replay",
    "restored",
    "step_randomness",
    "steps",
]
