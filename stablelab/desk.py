"""Where a task, a model and a run are put together."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import Any, cast

import torch
from torch import nn

from .studio.cells import claim, release_earlier
from .training import Run, Settings, Task
from .zoo import Task as ZooTask
from .zoo import cached_features, check_fits, freeze, head_of, unfreeze

_SETTINGS = frozenset(f.name for f in fields(Settings))
_RUN = ("batch_size", "epochs", "evaluate_every", "loss", "name", "seed", "steps")


def fine_tune(model: nn.Module, task: Task, train: str = "all", device: str | None = None, **arguments: Any) -> Run:
    """A run, ready to start, that fine-tunes ``model`` on ``task``.

    Arguments:
        model: any classifier whose head has as many outputs as the task has classes.
        task: from the zoo, or your own.
        train: ``"all"`` trains everything. ``"head"`` freezes the body, its batch-norm statistics and dropout included,
            and computes the body's features once (where it has no single head, its body runs at every step).
        device: ``"cuda"``, ``"cpu"`` …; a GPU if there is one.
        arguments: any field of ``Settings`` (``learning_rate``, ``max_norm`` …) and of ``Run`` (``epochs``, ``seed``).

    Returns:
        A ``Run``. Running a notebook cell again first stops the runs that the same cell had made before.

    Raises:
        ValueError: in one line, for an argument that does not exist or cannot be.
    """
    release_earlier()  # before the weights are copied: the cell's earlier run may be training this very model
    settings, rest = _sorted(arguments)
    check_fits(model, task)
    model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if train == "all":
        unfreeze(model)
        run = Run(model, task, settings=settings, **rest)
    elif train == "head":
        run = _head_run(model, task, settings, rest)
    else:
        raise ValueError(f'train is {train!r}; it must be "all" or "head"')
    claim(run)
    return run


def _head_run(model: nn.Module, task: Task, settings: Settings, rest: dict[str, Any]) -> Run:
    """A run of the head alone, on cached features where the model allows it, else with the frozen body in front."""
    freeze(model)
    rest.setdefault("name", f"{task.name} (head)")
    try:
        features = cached_features(cast(ZooTask, task), model)
    except ValueError as reason:
        print(f"the frozen body runs at every step: {reason}")
        return Run(model, task, settings=settings, **rest)
    return Run(model, features, settings=settings, trains=head_of(model)[1], **rest)


def load(folder: str | os.PathLike[str], model: nn.Module, task: Task) -> Run:
    """A saved run, over: its weights in ``model``, its history and settings."""
    return Run.load(folder, model, task)


def _sorted(arguments: dict[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Settings apart from what belongs to the run."""
    unknown = [name for name in arguments if name not in _SETTINGS and name not in _RUN]
    if unknown:
        there = ", ".join(sorted([*_SETTINGS, *_RUN]))
        raise ValueError(f"fine_tune has no argument {unknown[0]!r}; there are {there}")
    settings = Settings().replace(**{k: v for k, v in arguments.items() if k in _SETTINGS})
    return settings, {k: v for k, v in arguments.items() if k in _RUN}
