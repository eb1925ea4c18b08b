"""Where a task, a model and a run are put together."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import Any, cast

import torch
from torch import nn

from . import training
from .acting import check_acting
from .data import Task as ZooTask
from .data import augment
from .models import cached_features, check_fits, freeze, head_of, layer_names, layers_of, unfreeze
from .training import Log, Run, Settings, Task
from .widgets.notebook_cells import claim, release_earlier

_SETTINGS = frozenset(f.name for f in fields(Settings))
_RUN = ("batch_size", "checkpoint_memory", "epochs", "evaluate_every", "folder", "loss", "name", "seed", "steps")


class NamedLayers(tuple[tuple[str, ...], ...]):
    """The layers of a model, from the head down: of each the dotted names of its modules.

    Attributes:
        names: what to call each of them.
    """

    names: tuple[str, ...]

    @classmethod
    def of(cls, model: nn.Module) -> NamedLayers:
        """Those of this model."""
        layers = cls(layers_of(model))
        layers.names = layer_names(model)
        return layers


def fine_tune(model: nn.Module, task: Task, train: str = "all", device: str | None = None, **arguments: Any) -> Run:
    """A run, ready to start, that fine-tunes ``model`` on ``task``.

    Arguments:
        model: any classifier whose head has as many outputs as the task has classes.
        task: from the zoo, or your own; one whose ``kind`` is ``"image"`` can be augmented.
        train: ``"all"`` trains everything, or with ``unfrozen=`` the uppermost layers. ``"head"`` freezes the body, its
            batch-norm statistics and dropout included, and computes the body's features once (where it has no single
            head, its body runs at every step).
        device: ``"cuda"``, ``"cpu"`` …; a GPU if there is one.
        arguments: any field of ``Settings`` (``learning_rate``, ``max_norm`` …) and of ``Run`` (``epochs``, ``seed``).

    Returns:
        A ``Run``. Running a notebook cell again first stops the runs that the same cell had made before.

    Raises:
        ValueError: in one line, for an argument that does not exist, cannot be, or would change nothing in this run.
    """
    release_earlier()  # before the weights are copied: the cell's earlier run may be training this very model
    settings, rest = _sorted(arguments)
    parts = ready(model, task, train, device, settings, rest.get("evaluate_every"))
    if train == "head":
        rest.setdefault("name", f"{task.name} (head)")
    run = Run(model, settings=settings, **parts, **rest)
    return _claimed(run)


def replay(
    log: Log, model: nn.Module, task: Task, train: str = "all", device: str | None = None, **arguments: Any
) -> Run:
    """A run, ready to start, that does again what a log says, change by change, and comes to the same numbers.

    Arguments:
        log: of a run, from ``run.log()``.
        model: with the weights that the run of the log began with.
        task: the data of that run.
        train, device: as for ``fine_tune``, and as they were then.
        arguments: ``loss`` and ``checkpoint_memory``, as for ``fine_tune``.

    Raises:
        ValueError: in one line, where the task is of other data or does not fit the model.
    """
    release_earlier()
    run = training.replay(log, model, **ready(model, task, train, device), **arguments)
    return _claimed(run)


def load(
    folder: str | os.PathLike[str], model: nn.Module, task: Task, train: str = "all", device: str | None = None
) -> Run:
    """A saved run: its weights in ``model``, its history and settings.

    Arguments:
        folder: that ``run.save(...)`` wrote, or that the run was given as ``folder``.
        model: of the same structure as the one that was saved.
        task: the data of that run.
        train, device: as for ``fine_tune``; of interest only if the run is trained again.

    Raises:
        FileNotFoundError, ValueError: in one line, where there is none, it is damaged, or it is of another task.
    """
    run = training.load(folder, model, **ready(model, task, train, device))
    run.branched = claim
    return run


def reopen(
    folder: str | os.PathLike[str], model: nn.Module, task: Task, train: str = "all", device: str | None = None
) -> Run:
    """A run that was killed or stopped, ready to go on from its last checkpoint; says which one that is.

    Trained on, it comes to the numbers of a run that was never interrupted, bit for bit on a CPU.

    Arguments:
        folder: what the run was given as ``folder``, or what ``run.save(...)`` wrote.
        model, task, train, device: as for ``load``.

    Raises:
        FileNotFoundError, ValueError: in one line, where there is none, none can be used, or it is of another task.
    """
    release_earlier()
    run = training.reopen(folder, model, **ready(model, task, train, device))
    return _claimed(run)


def _claimed(run: Run) -> Run:
    """The run, noted as made by the cell being executed; and so will be its branches, by the cells that make them."""
    claim(run)
    run.branched = claim
    return run


def ready(
    model: nn.Module,
    task: Task,
    train: str,
    device: str | None,
    settings: Settings | None = None,
    evaluate_every: int | None = None,
) -> dict[str, Any]:
    """What a run trains on what, and what its settings can act on; the model is frozen or released for it."""
    if train not in ("all", "head"):
        raise ValueError(f'train is {train!r}; it must be "all" or "head"')
    check_fits(model, task)
    model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    parts = _parts(model, task, train)
    if settings is not None:
        check_acting(settings, parts, evaluate_every, task)
    if train == "head":
        freeze(model)
    else:
        unfreeze(model)
    return parts


def _parts(model: nn.Module, task: Task, train: str) -> dict[str, Any]:
    pictures = augment if getattr(task, "kind", None) == "image" else None
    if train == "all":
        return {"task": task, "layers": NamedLayers.of(model), "augment": pictures}
    try:
        return {"task": cached_features(cast(ZooTask, task), model), "trains": head_of(model)[1]}
    except ValueError as reason:
        print(f"the frozen body runs at every step: {reason}")
        return {"task": task, "augment": pictures}


def _sorted(arguments: dict[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Settings apart from what belongs to the run."""
    unknown = [name for name in arguments if name not in _SETTINGS and name not in _RUN]
    if unknown:
        there = ", ".join(sorted([*_SETTINGS, *_RUN]))
        raise ValueError(f"fine_tune has no argument {unknown[0]!r}; there are {there}")
    settings = Settings().replace(**{k: v for k, v in arguments.items() if k in _SETTINGS})
    return settings, {k: v for k, v in arguments.items() if k in _RUN}
