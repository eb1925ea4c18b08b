"""The dashboard as a callback, for whoever calls ``trainer.train()`` by hand."""

from __future__ import annotations

from ._notebook_cells import release_earlier
from .training.integrations.transformers import HuggingFaceRun, SteeringCallback
from .watching import claim_run, show


class DashboardCallback(SteeringCallback):
    """The dashboard on a Hugging Face ``Trainer`` whose ``train`` is called by hand.

    Such as::

        trainer = Trainer(model, args, train_dataset=data, callbacks=[lab.DashboardCallback()])
        trainer.train()

    The cell is busy meanwhile; the sliders act all the same. In a script a progress bar is printed. The numbers are
    those of the Trainer without it. ``lab.watch(trainer)`` does the same in a thread of its own.

    Attributes:
        run: the ``Watched`` run, with its history; None until training begins.
    """

    def __init__(self) -> None:
        super().__init__()

    def shown(self, run: HuggingFaceRun) -> None:
        """Show the dashboard in the cell being executed; print a progress bar where there is none."""
        release_earlier()
        show(run)
        claim_run(run)
