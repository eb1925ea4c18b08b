"""Training: settings, control, optimizers, the loop, the history, the run."""

from .branches import replay
from .checkpoints import Checkpoint, Checkpoints
from .control import Control
from .diagnosis import Diagnosis, diagnose
from .evaluation import evaluate, forward, predict
from .export import export
from .history import History
from .layerwise import Lamb
from .log import Log
from .loop import steps
from .optimizers import Adam, AdamW, GradientDescent, Momentum
from .randomness import step_randomness
from .rangetest import RangeTest, range_test
from .record import Evaluation, Intervention, Step
from .reopening import reopen
from .restored import restored
from .run import Run
from .settings import Settings
from .task import Batches, Split, Task

__all__ = [
    "Adam",
    "AdamW",
    "Batches",
    "Checkpoint",
    "Checkpoints",
    "Control",
    "Diagnosis",
    "Evaluation",
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
    "predict",
    "range_test",
    "reopen",
    "replay",
    "restored",
    "step_randomness",
    "steps",
]
