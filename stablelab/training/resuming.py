"""A run, again: from a folder on disk, to look at or to go on with, or from the log of what was done by hand."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from ..formulas import cross_entropy
from .checkpoints import Checkpoint, changing_tensors, copied, put_back, trainable_names
from .history import Log
from .param_groups import Layers
from .protocols import Augment, Loss, Task
from .run import Run
from .saving import CheckpointFolder, Snapshot, first_beside, is_checkpoint, newest


def load(
    folder: str | os.PathLike[str],
    model: nn.Module,
    task: Task,
    *,
    loss: Loss = cross_entropy,
    trains: nn.Module | None = None,
    layers: Sequence[Sequence[str]] | None = None,
    augment: Augment | None = None,
    checkpoint_memory: int | None = None,
) -> Run:
    """A saved run, over: its weights in ``model``, its history, settings and interventions.

    Args:
        folder: that ``run.save(...)`` wrote, or that the run was given as ``folder``.
        model: of the same structure as the one that was saved; its weights are replaced.
        task: the data of that run.
        loss: as of ``Run``, for branches of it, as are all that follow; no file can hold them.
        trains: as of ``Run``.
        layers: as of ``Run``.
        augment: as of ``Run``.
        checkpoint_memory: as of ``Run``.

    Raises:
        FileNotFoundError: there is no run.
        ValueError: in one line, where it is damaged, or the data or the model is another.
    """
    place, snapshot, _ = newest(Path(folder).expanduser())
    run = _made(place, snapshot, model, task, loss, trains, layers, augment, checkpoint_memory)
    _look_at(run, place, snapshot)
    return run


def reopen(
    folder: str | os.PathLike[str],
    model: nn.Module,
    task: Task,
    *,
    loss: Loss = cross_entropy,
    trains: nn.Module | None = None,
    layers: Sequence[Sequence[str]] | None = None,
    augment: Augment | None = None,
    checkpoint_memory: int | None = None,
) -> Run:
    """A run that was killed, stopped or saved, ready to go on; a finished one is finished again. Says what it found.

    Trained on, it comes to the numbers of a run that was never interrupted, bit for bit on a CPU. It goes on writing
    checkpoints to the same folder.

    Args:
        folder: what the run was given as ``folder``, or what ``run.save`` wrote.
        model: of the same structure; its weights are replaced.
        task: the data of that run.
        loss: as of ``Run``, and as it was then, as are all that follow; no file can hold them.
        trains: as of ``Run``.
        layers: as of ``Run``.
        augment: as of ``Run``.
        checkpoint_memory: as of ``Run``.

    Raises:
        FileNotFoundError: there is no run.
        ValueError: in one line, where nothing in it can be used, or the data or the model is another.
    """
    place, snapshot, damaged = newest(Path(folder).expanduser())
    run = _made(place, snapshot, model, task, loss, trains, layers, augment, checkpoint_memory)
    for line in damaged:
        print(f"{line}; an older checkpoint is used")
    when = time.strftime("%d %b %Y, %H:%M", time.localtime(snapshot.written))
    of = "" if run.total_steps is None else f" of {run.total_steps}"
    done = f"step {len(snapshot.history)}{of} (checkpoint of {when})"
    if snapshot.state == "finished":
        print(f"finished at {done}")
        _look_at(run, place, snapshot)
        return run
    start = first_beside(place)
    checkpoints, first_weights = _known(run, place, snapshot, start)
    _put_weights(snapshot, model, place)
    writes = None
    if is_checkpoint(place):
        writes = CheckpointFolder(place.parent, [place] if start is None else [start[0], place])
    run.take_up(snapshot, checkpoints, first_weights, over=False, folder=writes)
    print(f"reopened at {done}")
    return run


def replay(
    log: Log,
    model: nn.Module,
    task: Task,
    *,
    loss: Loss = cross_entropy,
    trains: nn.Module | None = None,
    layers: Sequence[Sequence[str]] | None = None,
    augment: Augment | None = None,
    checkpoint_memory: int | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> Run:
    """A run that does again what a log says, change by change; ready to start.

    Args:
        log: of a run, from ``run.log()``.
        model: with the weights that the run of the log began with.
        task: the data of that run.
        loss: as of ``Run``, and as it was then; a log does not hold it.
        trains: as of ``Run``, and as it was then; a log does not hold it.
        layers: as of ``Run``, and as it was then; a log does not hold it.
        augment: as of ``Run``, and as it was then; a log does not hold it.
        checkpoint_memory: as of ``Run``.
        folder: as of ``Run``.

    Raises:
        ValueError: the task is of other data, or another number of parameters would be trained.
    """
    if log.fingerprint != task.fingerprint:
        raise ValueError(f"the log of {log.name!r} is of other data ({log.task}) than {task.name!r} as split here")
    run = Run(
        model,
        task,
        settings=log.settings,
        seed=log.seed,
        steps=log.total_steps,
        epochs=math.inf if log.total_steps is None else None,
        batch_size=log.batch_size,
        evaluate_every=log.evaluate_every,
        loss=loss,
        trains=trains,
        name=f"{log.name}, again",
        layers=layers,
        augment=augment,
        checkpoint_memory=checkpoint_memory,
        folder=folder,
    )
    count = sum(p.numel() for p in run.trained_parameters())
    if count != log.parameters:
        raise ValueError(
            f"the run of this log trained {log.parameters} parameters, this one would train "
            f"{count}; give the same model, and train= as it was then"
        )
    run.do_again(log)
    return run


def _made(
    folder: Path,
    snapshot: Snapshot,
    model: nn.Module,
    task: Task,
    loss: Loss,
    trains: nn.Module | None,
    layers: Sequence[Sequence[str]] | None,
    augment: Augment | None,
    checkpoint_memory: int | None,
) -> Run:
    """A run that is ready, with the saved one's arguments."""
    log = snapshot.log
    if log.fingerprint != task.fingerprint:
        raise ValueError(f"the run in {folder} was trained on other data than {task.name!r} as split here")
    return Run(
        model,
        task,
        settings=log.settings,
        seed=log.seed,
        steps=log.total_steps,
        epochs=math.inf if log.total_steps is None else None,
        batch_size=log.batch_size,
        evaluate_every=log.evaluate_every,
        loss=loss,
        trains=trains,
        name=log.name,
        layers=layers,
        augment=augment,
        checkpoint_memory=checkpoint_memory,
    )


def _look_at(run: Run, folder: Path, snapshot: Snapshot) -> None:
    """Give a run that is ready the past of the saved one; it is over."""
    _put_weights(snapshot, run.model, folder)  # refuses weights of another model
    known: tuple[list[Checkpoint], dict[str, Tensor] | None]
    try:
        known = _known(run, folder, snapshot, first_beside(folder))
    except ValueError:  # here another part of the model would be trained: it is to be looked at, not to go back in
        known = [], None
    _put_weights(snapshot, run.model, folder)
    run.take_up(snapshot, *known, over=True)


def _known(
    run: Run, folder: Path, snapshot: Snapshot, start: tuple[Path, Snapshot] | None
) -> tuple[list[Checkpoint], dict[str, Tensor] | None]:
    """The checkpoints that are there, oldest first; and the weights that the run began with, where they are known."""
    last = snapshot.checkpoint
    if last is None:
        return [], None if len(snapshot.history) else snapshot.weights
    _check_same(run, last, folder)
    at_start = snapshot if start is None else start[1]
    first = at_start.checkpoint
    if first is None or first.step != 0:
        return [last], None
    _put_weights(at_start, run.model, folder)
    put_back(first.weights, changing_tensors(run.trains, trainable_names(run.trains)))
    return [first, last] if last.step else [first], copied(run.model.state_dict())


def _put_weights(snapshot: Snapshot, model: nn.Module, folder: Path) -> None:
    """The saved weights into a model of the same structure; raises ValueError in one line if they do not fit."""
    there = model.state_dict()
    odd = sorted(there.keys() ^ snapshot.weights.keys())
    if odd:
        raise ValueError(f"the weights in {folder} are of another model: {odd[0]!r} is not in both")
    odd = [name for name, tensor in there.items() if tensor.shape != snapshot.weights[name].shape]
    if odd:
        shapes = f"{tuple(snapshot.weights[odd[0]].shape)}, here {tuple(there[odd[0]].shape)}"
        raise ValueError(f"the weights in {folder} do not fit this model: {odd[0]!r} is {shapes}")
    model.load_state_dict(snapshot.weights)


def _check_same(run: Run, checkpoint: Checkpoint, folder: Path) -> None:
    """That the checkpoint is of a run that trained the same parameters in the same groups."""
    there = changing_tensors(run.trains, trainable_names(run.trains))
    saved = checkpoint.weights
    odd = sorted(there.keys() ^ saved.keys()) or [name for name in there if there[name].shape != saved[name].shape]
    if odd:
        raise ValueError(f"the run in {folder} trained other weights than this one would: {odd[0]!r} is not the same")
    if checkpoint.optimizer is not None:
        groups = [len(group["params"]) for group in checkpoint.optimizer["param_groups"]]
        if groups != [len(group["params"]) for group in Layers(run.trains, run.layers).groups()]:
            raise ValueError(f"the run in {folder} had its weights in other layers; give the same layers=")
