"""Training: settings, control, optimizers, the loop, the history, the run."""

from .control import Control
from .evaluation import evaluate, forward, predict
from .history import History
from .layerwise import Lamb
from .loop import steps
from .optimizers import Adam, AdamW, GradientDescent, Momentum
from .rangetest import RangeTest, range_test
from .record import Evaluation, Intervention, Step
from .restored import restored
from .run import Run
from .settings import Settings
from .task import Batches, Split, Task

__all__ = [
    "Adam",
    "AdamW",
    "Batches",
    "Control",
    "Evaluation",
    "GradientDescent",
    "History",
    "Intervention",
    "Lamb",
    "Momentum",
    "RangeTest",
    "Run",
    "Settings",
    "Split",
    "Step",
    "Task",
    "evaluate",
    "forward",
    "predict",
    "range_test",
    "restored",
    "steps",
]
