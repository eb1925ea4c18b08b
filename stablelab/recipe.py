"""What a sweep hands to its workers: how a run is made of a task, a model for each seed, and a point."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from . import __version__
from ._logging import log_level
from .acting import check_acting
from .data import Task as ZooTask
from .data import subset
from .fine_tuning import ready
from .models import head_of
from .models.rng import seeded_rng
from .stability import Outcome, Parts, Point, Subsets
from .stability.sweeps.batched_heads import why_not_batched
from .stability.sweeps.head_runs import run_heads
from .training import Task

Model = Callable[..., nn.Module]
DECIDES = (  # the code behind the numbers
    "formulas",
    "training",
    "data",
    "models",
    "stability/sweeps",
    "stability/hessian.py",
    "stability/lanczos.py",
    "recipe.py",
    "fine_tuning.py",
)  # the code behind the numbers


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
            "structure": hashlib.sha256(repr(model).encode()).hexdigest()[:16],
            "device": next(model.parameters()).device.type,
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
        self._task(self.task, point.subset).batches(0, self.batch_size)

    def prepare(self, point: Point) -> Parts:
        parts = dict(self._first()[1])
        if "trains" in parts:
            parts["model"] = deepcopy(self._head(point.init))
            del parts["trains"]
        else:
            parts |= self._ready(point.init)[1]
        return Parts(
            model=parts["model"],
            task=self._task(parts["task"], point.subset),
            total_steps=self.steps,
            batch_size=self.batch_size,
            evaluate_every=self.evaluate_every,
            sharpness=self.sharpness,
            layers=parts.get("layers"),
            augment=parts.get("augment"),
        )

    def runs_together(self, points: Sequence[Point]) -> bool:
        parts = self._first()[1]
        linear = type(parts.get("trains")) is nn.Linear and parts["trains"].bias is not None
        return linear and not self.sharpness and not any(why_not_batched(point.settings) for point in points)

    def run_together(self, points: Sequence[Point]) -> list[Outcome]:
        whole = self._first()[1]["task"]
        numbers = {point.subset for point in points}
        parts = {number: (self._positions(number), self._task(whole, number)) for number in numbers}
        positions, tasks = zip(*(parts[point.subset] for point in points), strict=True)
        heads = [cast(nn.Linear, self._head(point.init)) for point in points]
        return run_heads(points, tasks, positions, heads, whole, self.steps, self.batch_size)

    def _positions(self, number: int | None) -> Tensor | None:
        if self.subsets is None or number is None:
            return None
        return self.subsets.positions(len(self.task.train), number)

    def _task(self, task: Task, number: int | None) -> Task:
        if (id(task), number) not in self._kept:
            self._kept[id(task), number] = part_of(task, self.subsets, number)
        return cast(Task, self._kept[id(task), number])

    def _first(self) -> tuple[nn.Module, dict[str, Any]]:
        """The model of seed 0, and what a run of it is made of; for heads, the body whose features all share."""
        if "first" not in self._kept:
            self._kept["first"] = self._ready(0)
        return self._kept["first"]

    def _ready(self, seed: int) -> tuple[nn.Module, dict[str, Any]]:
        with log_level(logging.WARNING), seeded_rng(seed):  # so that a model that forgets its seed is the same one, too
            model = self.model(self.task, seed=seed)
            if "first" in self._kept and model is self._kept["first"][0]:
                raise ValueError("model gave the same model again; it must make a fresh one each time")
            parts = ready(model, self.task, self.train, self.device)
        return model, {"model": model} | parts

    def _head(self, seed: int) -> nn.Module:
        """The new head of this seed, as it begins."""
        if seed not in self._kept:
            with log_level(logging.WARNING), seeded_rng(seed):
                where = next(self._first()[0].parameters()).device
                self._kept[seed] = head_of(self.model(self.task, seed=seed))[1].to(where)
        return self._kept[seed]


def part_of(task: Task, subsets: Subsets | None, number: int | None) -> Task:
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
