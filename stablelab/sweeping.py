"""Where a sweep is put together: a task, a model for each seed, and a grid of settings."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from . import __version__
from .acting import check_acting
from .desk import ready
from .formulas.checks import whole
from .stability import Outcome, Parts, Point, Subsets, Sweep
from .stability.points import checked_grid, checked_seeds, points_of
from .training import Settings, Task
from .training.run import length
from .zoo import Task as ZooTask
from .zoo import head_of, quietly, subset

Model = Callable[..., nn.Module]
DECIDES = ("formulas", "training", "zoo", "stability/single.py")  # the code behind the numbers


def sweep(
    model: Model,
    task: Task,
    grid: Mapping[str, Sequence[Any]] | None = None,
    *,
    seeds: Iterable[int] | None = None,
    inits: Iterable[int] | None = None,
    orders: Iterable[int] | None = None,
    subsets: Subsets | tuple[str, int] | None = None,
    train: str = "all",
    device: str | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    batch_size: int = 16,
    evaluate_every: int = 0,
    sharpness: int = 0,
    file: str | os.PathLike[str] | None = None,
    **settings: Any,
) -> Sweep:
    """Every combination of settings, seeds and training subsets, ready to run.

    Arguments:
        model: makes a fresh model, called as ``model(task, seed=...)``: ``lab.resnet``, ``lab.bert``, or your own.
        task: the data; runs are judged on its validation split, its test split is never looked at here.
        grid: name of a setting -> the values it takes, such as ``{"learning_rate": [1e-4, 1e-3]}``.
        seeds: each is both the seed of the new weights and that of the order of the data; 0, 1, 2 if not given.
        inits, orders: instead of ``seeds``: all pairs of one seed of the new weights and one of the order of the data.
        subsets: ``("bootstrap", 5)`` or ``("disjoint", 4)``: all the above on each of so many training subsets.
        train: ``"all"``, or ``"head"`` on the features of a frozen body, which are computed once. The body is the one
            of seed 0; all heads are then trained in one computation where their settings allow it.
        device: ``"cuda"``, ``"cpu"`` …; a GPU if there is one.
        epochs or steps: length of each run (one epoch if neither is given).
        batch_size: examples per step.
        evaluate_every: steps between validations, which plateau and early stopping look at; 0 for none.
        sharpness: on how many training examples λ_max is measured at the end of each run; 0 for not at all.
        file: where results are kept, run by run (SQLite); the same sweep finds there what is already done.
        settings: all that is no part of the grid.

    Returns:
        A ``Sweep``: ``run()`` it, ``lab.show_sweep`` shows it, ``results()`` are the runs that are done.

    Raises:
        ValueError: in one line, for a setting that does not exist, cannot be, or would change nothing; a seed given
            twice; or a file that is no sweep of this version.
    """
    base = Settings().replace(**settings)
    checked = checked_grid(grid or {}, base)
    if seeds is not None and (inits is not None or orders is not None):
        raise ValueError("give seeds, or inits and orders, not both")
    if inits is None and orders is None:
        pairs = [(seed, seed) for seed in checked_seeds("seeds", range(3) if seeds is None else seeds)]
    else:
        first = checked_seeds("inits", [0] if inits is None else inits)
        second = checked_seeds("orders", [0] if orders is None else orders)
        pairs = [(init, order) for init in first for order in second]
    chosen = Subsets.of(subsets)
    numbers: Sequence[int | None] = [None] if chosen is None else range(chosen.count)
    per_epoch = _subset(task, chosen, numbers[0]).batches(0, batch_size).per_epoch
    recipe = FineTuning(
        model=model,
        task=task,
        train=train,
        device=device,
        steps=length(epochs, steps, per_epoch),
        batch_size=batch_size,
        evaluate_every=whole("evaluate_every", evaluate_every, of=" of steps"),
        sharpness=whole("sharpness", sharpness, of=" of examples"),
        subsets=chosen,
    )
    return Sweep(recipe, points_of(checked, base, pairs, numbers), file)


@dataclass(frozen=True, eq=False)
class FineTuning:
    """What a sweep hands to its workers; the arguments are those of ``sweep``."""

    model: Model
    task: Task
    train: str
    device: str | None
    steps: int
    batch_size: int
    evaluate_every: int
    sharpness: int
    subsets: Subsets | None
    _kept: dict[Any, Any] = field(default_factory=dict, repr=False)  # of this process alone: a model, its features

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": {}}

    @property
    def classes(self) -> tuple[str, ...]:
        return self.task.classes

    def describe(self) -> dict[str, Any]:
        model = self._first()[0]
        return {
            "task": self.task.name,
            "data": self.task.fingerprint,
            "classes": list(self.classes),
            "examples": {"train": len(self.task.train), "validation": len(self.task.validation)},
            "model": getattr(model, "stablelab_source", type(model).__name__),
            "weights": _digest_of(model),
            "train": self.train,
            "steps": self.steps,
            "batch_size": self.batch_size,
            "evaluate_every": self.evaluate_every,
            "sharpness": self.sharpness,
            "subsets": None if self.subsets is None else vars(self.subsets),
            "stablelab": __version__,
            "code": code_version(),
            "torch": torch.__version__,
        }

    def check(self, point: Point) -> None:
        check_acting(point.settings, self._first()[1], self.evaluate_every, self.task)
        if point.settings.schedule == "plateau" and not self.evaluate_every:
            raise ValueError('schedule is "plateau", which looks at validations; give evaluate_every=, such as 10')
        _subset(self.task, self.subsets, point.subset).batches(0, self.batch_size)

    def prepare(self, point: Point) -> Parts:
        parts = dict(self._first()[1])
        if "trains" in parts:
            parts["model"] = deepcopy(self._head(point.init))
            del parts["trains"]
        else:
            parts |= self._ready(point.init)[1]
        return Parts(
            model=parts["model"],
            task=_subset(parts["task"], self.subsets, point.subset),
            total_steps=self.steps,
            batch_size=self.batch_size,
            evaluate_every=self.evaluate_every,
            sharpness=self.sharpness,
            layers=parts.get("layers"),
            augment=parts.get("augment"),
        )

    def runs_together(self, points: Sequence[Point]) -> bool:
        return False

    def run_together(self, points: Sequence[Point]) -> list[Outcome]:
        raise NotImplementedError

    def _first(self) -> tuple[nn.Module, dict[str, Any]]:
        """The model of seed 0, and what a run of it is made of; for heads, the body whose features all share."""
        if "first" not in self._kept:
            self._kept["first"] = self._ready(0)
        return self._kept["first"]

    def _ready(self, seed: int) -> tuple[nn.Module, dict[str, Any]]:
        with quietly():
            model = self.model(self.task, seed=seed)
            parts = ready(model, self.task, self.train, self.device)
        return model, {"model": model} | parts

    def _head(self, seed: int) -> nn.Module:
        """The new head of this seed, as it begins."""
        if seed not in self._kept:
            with quietly():
                where = next(self._first()[0].parameters()).device
                self._kept[seed] = head_of(self.model(self.task, seed=seed))[1].to(where)
        return self._kept[seed]


def _subset(task: Task, subsets: Subsets | None, number: int | None) -> Task:
    """The task that learns from subset ``number``, or from all."""
    if subsets is None or number is None:
        return task
    if not isinstance(task, ZooTask):
        raise ValueError(f"subsets need a task of the zoo (digits, images, reviews, texts); {task.name} is none")
    return cast(Task, subset(task, subsets.positions(len(task.train), number)))


def _digest_of(model: nn.Module) -> str:
    """A digest of all weights."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


@cache
def code_version() -> str:
    """A digest of the source files that decide what numbers a run comes to."""
    here = Path(__file__).parent
    found = [here / each for each in DECIDES]
    files = sorted(file for each in found for file in (each.rglob("*.py") if each.is_dir() else [each]))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
