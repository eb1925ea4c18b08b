"""A run that was written to disk, again: to look at, or to go on with."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from .branches import Past
from .checkpoints import Checkpoint, Checkpoints, live, put_back, trainable_names
from .history import Log
from .keeper import NAME, Keeper, checkpoints_in
from .param_groups import Layers
from .protocols import Task
from .records import FINAL
from .saving import SavedRun, header, read
from .settings import Settings

if TYPE_CHECKING:
    from .run import Run


def load(folder: str | os.PathLike[str], model: nn.Module, task: Task, **arguments: Any) -> Run:
    """See ``Run.load``."""
    record, _ = _newest(folder)
    return _over(_made(record, model, task, arguments), record)


def reopen(folder: str | os.PathLike[str], model: nn.Module, task: Task, **arguments: Any) -> Run:
    """A run that was killed, stopped or saved, ready to go on; a finished one is finished again. Says what it found.

    Trained on, it comes to the numbers of a run that was never interrupted, bit for bit on a CPU. It goes on writing
    checkpoints to the same folder.

    Arguments:
        folder: what the run was given as ``folder``, or what ``run.save`` wrote.
        model: of the same structure; its weights are replaced.
        task: the data of that run.
        arguments: of ``Run`` that no file can hold, such as ``layers``, ``augment`` and ``loss``.

    Raises:
        FileNotFoundError: there is no run.
        ValueError: in one line, where nothing in it can be used, or the data or the model is another.
    """
    record, damaged = _newest(folder)
    run = _made(record, model, task, arguments)
    for line in damaged:
        print(f"{line}; an older checkpoint is used")
    when = time.strftime("%d %b %Y, %H:%M", time.localtime(record.about["written"]))
    done = f"step {len(record.history)} of {run.total_steps} (checkpoint of {when})"
    if record.about["state"] == "finished":
        print(f"finished at {done}")
        return _over(run, record)
    _go_on(run, record)
    print(f"reopened at {done}")
    return run


def _newest(folder: str | os.PathLike[str]) -> tuple[SavedRun, list[str]]:
    """The newest saved run in a folder that is whole, and a line on each newer one that is not."""
    source = Path(folder).expanduser()
    found = checkpoints_in(source)
    if not found:
        return read(source), []
    damaged: list[str] = []
    for each in found:
        try:
            return read(each), damaged
        except (OSError, ValueError, KeyError, TypeError) as error:
            damaged.append(str(error))
    raise ValueError(f"no checkpoint in {source} can be used: {'; '.join(damaged)}")


def _made(record: SavedRun, model: nn.Module, task: Task, arguments: dict[str, Any]) -> Run:
    """A run that is ready, with the saved one's arguments."""
    from .run import Run

    about = record.about
    if about["task"]["fingerprint"] != task.fingerprint:
        raise ValueError(f"the run in {record.folder} was trained on other data than {task.name!r} as split here")
    given = {key: about[key] for key in ("seed", "batch_size", "evaluate_every", "name")}
    settings = Settings.from_dict(about["initial_settings"])
    return Run(model, task, settings=settings, steps=about["total_steps"], **given, **arguments)


def _over(run: Run, record: SavedRun) -> Run:
    record.restore(run.model)  # refuses weights of another model
    try:
        run.checkpoints = Checkpoints(run.checkpoints.memory, _known(run, record, _start(record)))
    except ValueError:
        run._first_known = False  # here another part of the model would be trained: to be looked at, not to go back in
    record.restore(run.model)
    run.history = record.history
    run.control.publish(Settings.from_dict(record.about["settings"]))
    state = record.about["state"]
    run._end(state if state in FINAL else "stopped")
    return run


def _go_on(run: Run, record: SavedRun) -> None:
    """Give a run that is ready the past of the saved one."""
    about, start = record.about, _start(record)
    known = _known(run, record, start)
    record.restore(run.model)
    run._script = None if about["script"] is None else Log.from_dict(about["script"])
    settings = Settings.from_dict(about["settings"])
    run._past = Past(Checkpoints(run.checkpoints.memory, known), record.history.since(0), settings)
    run._begin()
    if _is_kept(record):
        goes_on = [record.folder] if start is None else [start.folder, record.folder]
        run._keeper = Keeper(record.folder.parent, goes_on)


def _known(run: Run, record: SavedRun, start: SavedRun | None) -> list[Checkpoint]:
    """The checkpoints that are there, oldest first; and the run remembers its first weights, if they are among them."""
    last = record.checkpoint()
    if last is None:
        record.restore(run.model)
        run._remember()
        run._first_known = not len(record.history)
        return []
    _check_same(run, last, record.folder)
    first = last if start is None else start.checkpoint()
    run._first_known = first is not None and first.step == 0
    if first is None or not run._first_known:
        return [last]
    (start or record).restore(run.model)
    put_back(first.weights, live(run.trains, trainable_names(run.trains)))
    run._remember()
    return [first, last] if last.step else [first]


def _is_kept(record: SavedRun) -> bool:
    """Whether it is one of the checkpoints in a run's folder."""
    return NAME.fullmatch(record.folder.name) is not None


def _start(record: SavedRun) -> SavedRun | None:
    """The checkpoint beside this one that holds the weights the run began with; None where it is gone or damaged."""
    if not _is_kept(record):
        return None
    for folder in reversed(checkpoints_in(record.folder.parent)):
        try:
            about = header(folder)["checkpoint"]
            if folder != record.folder and about["step"] == 0:
                return read(folder)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def _check_same(run: Run, checkpoint: Checkpoint, folder: Path) -> None:
    """That the checkpoint is of a run that trained the same parameters in the same groups."""
    there = live(run.trains, trainable_names(run.trains))
    saved = checkpoint.weights
    odd = sorted(there.keys() ^ saved.keys()) or [name for name in there if there[name].shape != saved[name].shape]
    if odd:
        raise ValueError(f"the run in {folder} trained other weights than this one would: {odd[0]!r} is not the same")
    if checkpoint.optimizer is not None:
        groups = [len(group["params"]) for group in checkpoint.optimizer["param_groups"]]
        if groups != [len(group["params"]) for group in Layers(run.trains, run.layers).groups()]:
            raise ValueError(f"the run in {folder} had its weights in other layers; give the same layers=")
