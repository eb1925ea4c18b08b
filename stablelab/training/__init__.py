"""Training: settings, control, optimizers, the loop, the history, the run."""

from .control import Control
from .evaluation import evaluate, forward, predict
from .history import History
from .loop import steps
from .optimizers import Adam, AdamW, GradientDescent, Momentum
from .record import Evaluation, Intervention, Step
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
    "Momentum",
    "Run",
    "Settings",
    "Split",
    "Step",
    "Task",
    "evaluate",
    "forward",
    "predict",
    "steps",
]
