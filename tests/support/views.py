"""A run small enough to be over in a blink, and a clean slate for what a kernel remembers."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stablelab.plots import display, earlier_runs
from stablelab.stability import Outcome, Sweep, Trial
from stablelab.stability.sweeps.grid import trials_of
from stablelab.training import Run, Settings
from stablelab.training.history import History
from stablelab.training.records import Evaluation, Intervention, Step
from support.helpers import threads_of_ours, until


@dataclass
class Dots:
    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        for i in range(0, len(self), batch_size):
            yield self.inputs[i : i + batch_size], self.targets[i : i + batch_size]


class DotBatches:
    def __init__(self, split: Dots, seed: int, batch_size: int, pause: float) -> None:
        self.split, self.seed, self.batch_size, self.pause = split, seed, batch_size, pause
        self.per_epoch = len(split) // batch_size

    def __call__(self, k: int) -> tuple[Tensor, Tensor]:
        time.sleep(self.pause)
        generator = torch.Generator().manual_seed(k + self.seed)
        chosen = torch.randint(len(self.split), (self.batch_size,), generator=generator)
        return self.split.inputs[chosen], self.split.targets[chosen]


class Ring:
    """Inside or outside of a circle."""

    classes = ("in", "out")

    def __init__(self, name: str = "ring", pause: float = 0.0) -> None:
        self.name = self.fingerprint = name
        self.pause = pause
        inputs = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
        targets = (inputs.norm(dim=1) > 1.2).long()
        self.train, self.validation, self.test = (Dots(inputs[i::3], targets[i::3]) for i in range(3))

    def batches(self, seed: int, batch_size: int) -> DotBatches:
        return DotBatches(self.train, seed, batch_size, self.pause)


def small_run(steps: int = 30, pause: float = 0.0, task: str = "ring", seed: int = 0, **settings: object) -> Run:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    return Run(
        model, Ring(task, pause), settings=Settings(**{"learning_rate": 1e-2, **settings}), steps=steps, seed=seed
    )


def invented_history(losses: list[float], **fields: object) -> History:
    """A history with these losses, an evaluation every ten steps, and a change by hand at step 5."""
    history = History()
    for i, loss in enumerate(losses, start=1):
        judged = Evaluation(i, loss + 0.1, 0.5, 0.5, 0.5, 0.5, 0.01) if i % 10 == 0 else None
        changed = (Intervention(5, "learning_rate", 1e-3, 1e-4),) if i == 5 else ()
        values = {
            "max_norm": 1.0,
            "clip": "norm",
            "norm_before": 2.0,
            "norm_after": 1.0,
            "clipped": True,
            "diverged": False,
            "learning_rates": (1e-3,),
            **fields,
        }
        history.append(
            Step(
                step=i,
                epoch=i / 10,
                loss=loss,
                examples_per_second=1.0,
                tokens_per_second=None,
                seconds=0.1,
                optimizer="AdamW · torch fused",
                interventions=changed,
                evaluation=judged,
                **values,
            )
        )
    return history


GRID: dict[str, tuple[Any, ...]] = {"learning_rate": (1e-3, 1e-2, 1.0), "max_norm": (1.0, None)}


def invented_outcome(trial: Trial) -> Outcome:
    """Twenty steps and thirty examples: at η = 1 without clipping every run diverges, with clipping those of an odd
    seed; else the more of the examples are right, the larger η and the seed."""
    settings, targets = trial.settings, np.arange(30) // 5 % 3
    wild = settings.learning_rate == 1.0 and (settings.max_norm is None or trial.init % 2 == 1)
    right = min(30, round(13 + 8 * (3 + np.log10(settings.learning_rate))) + trial.init) - (30 if wild else 0)
    shown = np.where(np.arange(30) < right, targets, (targets + 1) % 3)
    logits = 2.0 * np.eye(3, dtype=np.float32)[shown]
    losses = np.exp(-np.arange(1, 21) / 20 * (1 + trial.init)).astype(np.float32)
    chances = np.exp(logits[np.arange(30), targets]) / np.exp(logits).sum(axis=1)
    return Outcome(
        losses=np.append(losses[:6], np.float32(np.nan)) if wild else losses,
        norms=np.ones(7 if wild else 20, dtype=np.float32),
        clipped=np.arange(7 if wild else 20) % 2 == 0,
        start_loss=1.1,
        validation_loss=np.inf if wild else float(-np.log(chances).mean()),
        logits=np.full_like(logits, np.nan) if wild else logits,
        targets=targets,
        diverged=7 if wild else None,
        sharpness=None if wild else 3.0 + trial.init,
        seconds=0.5,
    )


@dataclass
class InventedTrainable:
    """Says at once what runs come to. ``task`` and ``classes`` are what a user calls them."""

    task: str = "ring"
    model: str = "net"
    classes: tuple[str, ...] = ("a", "b", "c")
    device: str | None = None

    def describe(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "model": self.model,
            "classes": list(self.classes),
            "examples": {"train": 60, "validation": 30},
            "train": "head",
            "steps": 20,
            "batch_size": 16,
            "subsets": None,
        }

    def check(self, trial: Trial) -> None:
        """Anything goes."""

    def prepare(self, trial: Trial) -> Any:
        raise RuntimeError("nothing is trained here")

    def can_batch(self, trials: Sequence[Trial]) -> bool:
        return True

    def run_batch(self, trials: Sequence[Trial]) -> list[Outcome]:
        return [invented_outcome(trial) for trial in trials]


def invented_sweep(
    grid: dict[str, tuple[Any, ...]] = GRID, seeds: int = 3, crossed: bool = False, **trainable: Any
) -> Sweep:
    """A sweep that is over as soon as it is run."""
    pairs = [(i, k) for i in range(seeds) for k in range(seeds) if crossed or i == k]
    return Sweep(InventedTrainable(**trainable), trials_of(grid, Settings(), pairs, [None]))


@pytest.fixture
def make_run() -> Iterator[Callable[..., Run]]:
    """Makes small runs; those that a failing test leaves behind are stopped, so that they disturb no other test."""
    runs: weakref.WeakSet[Run] = weakref.WeakSet()  # held weakly, because tests look whether a run is still held

    def make(*given: object, **settings: object) -> Run:
        run = small_run(*given, **settings)
        runs.add(run)
        return run

    yield make
    for run in list(runs):
        run.stop()


@pytest.fixture
def make_history() -> Callable[..., History]:
    return invented_history


@pytest.fixture
def make_sweep() -> Callable[..., Sweep]:
    return invented_sweep


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """What is put into the cell of a notebook."""
    import IPython.display

    there: list[dict[str, str]] = []
    monkeypatch.setattr(display, "in_notebook", lambda: True)
    monkeypatch.setattr(IPython.display, "display", lambda data, **_: there.append(data))
    return there


@pytest.fixture(autouse=True)
def clean_slate() -> Iterator[None]:
    """No earlier runs from other tests; and no thread may be left behind."""
    earlier_runs.forget()
    yield
    until(lambda: not threads_of_ours())
