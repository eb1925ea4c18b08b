"""A loop that is not the workbook's, under the dashboard: a plain function, or a trainer of another package."""

# No `from __future__ import annotations` here: Shift-Tab would show every type in quotes.

import contextvars
import sys
import time
import weakref
from collections.abc import Callable
from typing import Any

from ._notebook_cells import before_next_cell, claim, in_notebook, release_earlier, release_memory
from .training.background import BackgroundThread, Driver
from .training.own_loop import OwnLoop
from .training.records import FINAL
from .training.watched import Watched

_LOOK = 0.1  # seconds between two looks of the progress bar


def watch(
    train: Callable[..., object],
    *arguments: Any,
    steps: int | None = None,
    name: str | None = None,
    start: bool = False,
    **knobs: Any,
) -> Watched:
    """Show the dashboard on a training loop that is not the workbook's. It trains in a thread of its own.

    A function is called as ``train(live)``. Each knob is there by name, as ``live.learning_rate``, and is moved while
    it trains. ``live.record(loss=loss, gradient_norm=norm)`` ends each step: it is drawn, and waits while paused::

        def train(live):
            for inputs, targets in loader:
                loss = F.cross_entropy(model(inputs), targets)
                ...
                live.record(loss=loss)

        run = lab.watch(train, learning_rate=1e-3, max_norm=1.0, dropout=lab.slider(0.1, 0, 0.5))

    A Trainer of Hugging Face, or of PyTorch Lightning with what its ``fit`` is given, trains as it is; its learning
    rate (whose schedule keeps its shape), its clip threshold and its weight decay can be moved.

    Nothing trains before the learner presses start, or ``run.start()`` is called. Where there is no notebook, or no
    page that shows it, it trains the same and prints a progress bar.

    Args:
        train: a function, a ``transformers.Trainer`` or a ``lightning.pytorch.Trainer``.
        *arguments: what the function, ``trainer.train`` or ``trainer.fit`` is called with besides.
        steps: how many steps a function will record, if that is known: then the time that is left is known too.
        name: what the run is called; as the function or the model if not given.
        start: whether to start at once.
        **knobs: of a function, by name, where each starts. A number above 0 gets a logarithmic slider, a share such as
            ``dropout`` one from 0 to 1, a whole number a field, True or False a switch; None is a number that is off.
            ``lab.slider(0.1, 0, 0.5)`` and ``lab.choice(["adam", "sgd"])`` say it themselves.

    Returns:
        A ``Watched``: ``await run.finished()`` waits for its end, ``run.history`` is what was recorded. Running a
        notebook cell again first stops the runs that the same cell had made before.

    Raises:
        ValueError: in one line, where it cannot be watched, a knob cannot be, or its name is taken.
    """
    release_earlier()
    run = _run_of(train, arguments, steps, name, knobs)
    show(run)
    claim_run(run)
    return run.start() if start else run


def show(run: Watched) -> None:
    """Put the dashboard into the cell being executed; where nobody looks at one, a progress bar is printed instead."""
    board = None
    if in_notebook():
        from .widgets.dashboard import dashboard

        board = weakref.ref(dashboard(run))  # weakly: once closed it must not live as long as the run
    bar = ProgressBar(run, lambda: board is not None and getattr(board(), "on_a_page", True))
    run.starters.append(bar.start)
    run.watchers.append(bar.wait)


class ProgressBar:
    """A run's progress, printed by a thread of its own, for where no page shows it.

    Args:
        run: whose progress it is.
        seen: whether a page shows it by now.
    """

    def __init__(self, run: Driver, seen: Callable[[], bool]) -> None:
        self._run, self._seen = run, seen
        self._thread: BackgroundThread | None = None
        self._cell = contextvars.copy_context()  # in which a kernel keeps the cell that what is printed belongs to

    def start(self) -> None:
        """Begin; a page has two seconds to report, in a notebook."""
        self._thread = BackgroundThread(
            lambda: self._cell.run(self._print), f"stablelab progress {self._run.name}"
        ).start()

    def wait(self) -> None:
        """Wait until the last of it is printed; at once while the run stands still."""
        if self._thread is not None and self._run.state in FINAL:
            self._thread.join()

    def _print(self) -> None:
        from tqdm import tqdm

        run, delay = self._run, 2.0 if in_notebook() else 0.0
        began = time.monotonic()
        while time.monotonic() - began < delay and run.state not in FINAL:
            time.sleep(_LOOK)
        if self._seen():
            return
        with tqdm(total=run.total_steps, desc=run.name, unit="step", file=sys.stderr, dynamic_ncols=True) as bar:
            while True:
                over = run.state in FINAL  # before the history: what is over by now has nothing to come
                done = len(run.history)
                bar.total = run.total_steps
                if done:
                    last = run.history[done - 1]
                    bar.set_postfix(loss=f"{last.loss:.4g}", refresh=False)
                bar.update(done - bar.n)
                if over:
                    return
                time.sleep(_LOOK)


def _run_of(
    train: Any, arguments: tuple[Any, ...], steps: int | None, name: str | None, knobs: dict[str, Any]
) -> Watched:
    package = _package_of(train)
    if package and (knobs or steps is not None):
        given = next(iter(knobs), "steps")
        raise ValueError(f"{given} is for functions: a Trainer says itself how it trains, and its own knobs are moved")
    if package == "transformers":
        from .training.integrations.transformers import HuggingFaceRun

        return HuggingFaceRun(train, arguments, name=name)
    if package:
        from .training.integrations.lightning import LightningRun

        return LightningRun(train, arguments, name=name)
    if not callable(train):
        raise ValueError(
            f"lab.watch takes a function train(live), a transformers.Trainer or a lightning.pytorch.Trainer; "
            f"this is {type(train).__name__}"
        )
    return OwnLoop(train, arguments, knobs, total_steps=steps, name=name)


def _package_of(train: Any) -> str:
    """Whose Trainer it is, without importing what nobody uses; empty for anything else."""
    for kind in type(train).__mro__:
        package = kind.__module__.split(".")[0]
        if kind.__name__ == "Trainer" and package in ("transformers", "lightning"):
            return package
        if kind.__name__ == "Trainer" and package == "pytorch_lightning":
            raise ValueError("this Trainer is of the package pytorch_lightning; take it from lightning.pytorch instead")
    return ""


def claim_run(run: Driver) -> None:
    """Note that the cell being executed made this run: executed again, it ends the run and all branches of it first."""
    claim(run, _end)


def _end(run: Driver) -> None:
    from .widgets.dashboard import end_family  # only in a notebook, for a cell that is executed again

    end_family(run)
    if in_notebook():
        # A run and its dashboard hold each other in circles, and Python seldom looks for these: gigabytes would wait
        # for it. The cell's variables let go of this run while it is executed again, so it is looked for after that.
        release_memory()
        before_next_cell(release_memory)
