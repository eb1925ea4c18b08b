"""A run on disk: a folder that is whole or not at all, and in which nothing is ever executed.

It has ``run.json``, ``history.jsonl``, ``weights.safetensors`` and, once it has trained, ``state.pt``: the checkpoint
to go on from. ``run.json`` holds the checksums of the others and one of itself, and what is read is checked for types.

A run that is given a folder writes itself there again and again while it trains, each time into a subfolder of its own.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .._files import FormatError, as_declared, reason_of, seal, sha256_of, to_disk, unseal
from .checkpoints import Checkpoint
from .history import History, Log
from .records import FINAL
from .settings import Settings

FORMAT = 4
ABOUT, HISTORY, WEIGHTS, STATE = "run.json", "history.jsonl", "weights.safetensors", "state.pt"
WAIT_FACTOR = 50  # as many times as long as a write took, nothing is written after it: two per cent of the time at most
NEWEST = 2  # so many checkpoints stay in a folder beside the first: if the last is damaged, there is one before it
NAME = re.compile(r"checkpoint-(\d+)")
# What a process that was killed leaves: the save it was writing, or the one before it, which it had just put aside.
LEFTOVER = re.compile(r"\.(.+)-[a-z0-9_]{8}(-old)?")


@dataclass(frozen=True)
class About:
    """What ``run.json`` says.

    Args:
        written: seconds since 1970.
        step: how many steps it has done.
        checkpoint: the step of the checkpoint to go on from; None where there is none.
        interventions: in words.
        sha256: of each other file of the folder.
        state, settings, classes, log, replayed: as of ``Snapshot``.
    """

    state: str
    written: float
    step: int
    checkpoint: int | None
    settings: Settings
    interventions: tuple[str, ...]
    classes: tuple[str, ...]
    log: Log
    replayed: Log | None
    sha256: dict[str, str]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A run at one moment: plain values, tensors and the history.

    Args:
        log: what it is and what was done by hand to it.
        state: how it stands, such as ``running``.
        settings: the latest.
        replayed: the log of the run that it does again, None for a run of its own.
        classes: of its data.
        history: all steps so far.
        weights: of the whole model, by name.
        checkpoint: the state of training to go on from; None for a run that has not begun.
        written: when it was written to disk, in seconds since 1970.
    """

    log: Log
    state: str
    settings: Settings
    replayed: Log | None
    classes: tuple[str, ...]
    history: History
    weights: dict[str, Tensor]
    checkpoint: Checkpoint | None
    written: float = 0.0


def write(target: Path, snapshot: Snapshot) -> Path:
    """Save a run. An earlier save in the same folder is replaced only once the new one is complete and on the disk.

    Args:
        target: the folder, new or with an earlier save.
        snapshot: what is written.

    Returns:
        The folder.

    Raises:
        ValueError: the folder is something else.
        OSError: in one line, where it cannot be written; nothing is left behind.
    """
    if target.exists() and not (target / ABOUT).is_file():
        raise ValueError(f"{target} exists and is not a saved run; give a folder that is new or holds an earlier save")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            _write_files(draft, snapshot)
            _swap(draft, target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except (OSError, SafetensorError, RuntimeError) as error:  # the last is what torch makes of a disk that is full
        raise OSError(f"the run cannot be saved to {target}: {reason_of(error)}") from error
    return target


def _write_files(folder: Path, snapshot: Snapshot) -> None:
    snapshot.history.write(folder / HISTORY)
    save_file({name: tensor.contiguous() for name, tensor in snapshot.weights.items()}, folder / WEIGHTS)
    if snapshot.checkpoint is not None:
        with (folder / STATE).open("wb") as stream:  # torch keeps the order in memory, which optimizers walk along
            torch.save(_as_plain(snapshot.checkpoint), stream)
    digests = {file.name: sha256_of(file) for file in sorted(folder.iterdir())}
    about = seal(FORMAT, {**_about(snapshot), "sha256": digests})
    (folder / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
    for file in (*folder.iterdir(), folder):
        to_disk(file)


def read(folder: Path) -> Snapshot:
    """Open a saved run.

    Raises:
        FileNotFoundError: there is none.
        ValueError: in one line, where it is damaged.
    """
    about = header(folder)
    for name in sorted({HISTORY, WEIGHTS, *about.sha256}):
        if not (folder / name).is_file() or sha256_of(folder / name) != about.sha256.get(name):
            raise ValueError(f"the saved run in {folder} is damaged: {name} is missing or not what was written")
    checkpoint, name = None, HISTORY
    try:
        history = History.read(folder / HISTORY)
        name = WEIGHTS
        weights = load_file(folder / WEIGHTS)
        name = STATE
        if STATE in about.sha256:
            kept = torch.load(folder / STATE, map_location="cpu", weights_only=True)
            checkpoint = as_declared(Checkpoint, kept, "checkpoint")
    except Exception as error:  # of many kinds, as many as there are ways of being damaged
        raise ValueError(f"the saved run in {folder} is damaged: {name} cannot be read") from error
    return Snapshot(
        log=about.log,
        state=about.state,
        settings=about.settings,
        replayed=about.replayed,
        classes=about.classes,
        history=history,
        weights=weights,
        checkpoint=checkpoint,
        written=about.written,
    )


def header(folder: Path) -> About:
    """What ``run.json`` says; raises as ``read`` does. The other files are not looked at."""
    if not (folder / ABOUT).is_file():
        raise FileNotFoundError(
            f"no saved run in {folder}: there is no {ABOUT}; give the folder that run.save(...) wrote"
        )
    try:
        return as_declared(About, unseal(FORMAT, (folder / ABOUT).read_bytes(), ABOUT), ABOUT)
    except OSError as error:
        raise ValueError(f"the saved run in {folder} cannot be read: {ABOUT}: {reason_of(error)}") from error
    except FormatError as error:
        raise ValueError(f"the saved run in {folder} is of another version: {error}") from error
    except ValueError as error:
        raise ValueError(f"the saved run in {folder} is damaged: {error}") from error


def newest(folder: Path) -> tuple[Path, Snapshot, list[str]]:
    """The newest saved run that is whole: of the checkpoints in a run's folder, or what ``run.save`` wrote there.

    Where a process was killed between putting the earlier save aside and putting the new one in its place, that is done
    now.

    Returns:
        Where it lies, the run, and one line on each newer checkpoint that is damaged.

    Raises:
        FileNotFoundError: there is none.
        ValueError: in one line, where none can be used.
    """
    _finish_swaps(folder.parent, folder.name)
    _finish_swaps(folder)
    found = checkpoints_in(folder)
    if not found:
        return folder, read(folder), []
    damaged: list[str] = []
    for each in found:
        try:
            return each, read(each), damaged
        except (OSError, ValueError) as error:
            damaged.append(str(error))
    raise ValueError(f"no checkpoint in {folder} can be used: {'; '.join(damaged)}")


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the one that was written last first; one whose time is unreadable before all."""

    def written(path: Path) -> tuple[float, int]:
        try:
            return header(path).written, _steps(path)
        except (OSError, ValueError):
            return math.inf, _steps(path)

    found = [path for path in folder.glob("checkpoint-*") if is_checkpoint(path) and path.is_dir()]
    return sorted(found, key=written, reverse=True)


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder is, by its name, one of the checkpoints that a run wrote while it trained."""
    return NAME.fullmatch(folder.name) is not None


def first_beside(folder: Path) -> tuple[Path, Snapshot] | None:
    """The checkpoint beside this one that holds the weights the run began with; None where it is gone or damaged."""
    for each in reversed(checkpoints_in(folder.parent)) if is_checkpoint(folder) else ():
        try:
            if each != folder and header(each).checkpoint == 0:
                return each, read(each)
        except (OSError, ValueError):
            continue
    return None


class CheckpointFolder:
    """Where a run writes itself while it trains: each time a saved run of its own, ``checkpoint-<steps done>``.

    The first stays, for it holds the weights that the run began with, and so do the newest two. Nothing that goes wrong
    with the disk stops training.

    Args:
        folder: new, empty, or with the checkpoints of an earlier run that is over; these are replaced.
        goes_on: the checkpoints (folders in ``folder``) of the run that goes on here, oldest first.

    Attributes:
        trouble: one line on what kept the last checkpoint from being written; empty where nothing did.

    Raises:
        ValueError: in one line, where the folder cannot be made or written to, holds something else, or holds a run
            that has not ended.
    """

    def __init__(self, folder: str | os.PathLike[str], goes_on: Sequence[Path] = ()) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self.trouble = ""
        self._written = list(goes_on)
        self._last: tuple[Any, ...] = ()  # what tells whether there is anything new to write
        self._next = -math.inf  # seconds on the monotonic clock
        _check_free(self.folder, folder)
        if not goes_on:
            _finish_swaps(self.folder)
            _check_over(self.folder, folder)

    @property
    def due(self) -> bool:
        """Whether it is time to write again."""
        return time.monotonic() >= self._next

    def add(self, take: Callable[[], Snapshot]) -> None:
        """Write a snapshot, unless nothing has happened since the last."""
        began = time.monotonic()
        try:
            snapshot = take()
            what = (len(snapshot.history), snapshot.settings, snapshot.state in FINAL and snapshot.state)
            if snapshot.checkpoint is None or what == self._last:
                return
            target = write(self.folder / f"checkpoint-{len(snapshot.history)}", snapshot)
            written = [] if self._written and len(snapshot.history) < _steps(self._written[-1]) else self._written
            self._written = [*(each for each in written if each != target), target]  # none of before a reset
            self.trouble, self._last = "", what
            self._clear()
        except Exception as error:  # whatever it is, the learner's training is worth more than its copy
            there = [each for each in self._written if os.path.exists(each)]  # False, too, where nobody may look
            last = f"the last one there is of step {_steps(there[-1])}" if there else "there is none there yet"
            why = f"no checkpoint could be written to {self.folder} ({reason_of(error.__cause__ or error)})"
            self.trouble = f"{why}; training goes on, {last}"
        self._next = time.monotonic() + WAIT_FACTOR * (time.monotonic() - began)

    def _clear(self) -> None:
        """Leave the first checkpoint and the newest ones, nothing of an earlier run, no halves."""
        stay = {*self._written[:1], *self._written[-NEWEST:]}
        self._written = [each for each in self._written if each in stay]
        for path in self.folder.iterdir():
            if path not in stay and NAME.match(path.name.removeprefix(".")):
                shutil.rmtree(path, ignore_errors=True)


def _about(snapshot: Snapshot) -> dict[str, Any]:
    """What ``run.json`` says, beside its format and the checksums."""
    return {
        "state": snapshot.state,
        "written": time.time(),
        "step": len(snapshot.history),
        "checkpoint": None if snapshot.checkpoint is None else snapshot.checkpoint.step,
        "settings": snapshot.settings.to_dict(),
        "interventions": [str(each) for each in snapshot.history.gestures()],
        "classes": list(snapshot.classes),
        "log": snapshot.log.to_dict(),
        "replayed": None if snapshot.replayed is None else snapshot.replayed.to_dict(),
    }


def _as_plain(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint as tensors and plain values, which is all that ``torch.load(weights_only=True)`` lets in."""
    best, settings = checkpoint.best, checkpoint.settings
    return {
        "step": checkpoint.step,
        "safe_step": checkpoint.safe_step,
        "settings": None if settings is None else settings.to_dict(),
        "loss_scale": asdict(checkpoint.loss_scale),
        "weights": checkpoint.weights,
        "optimizer": checkpoint.optimizer,
        "validation_losses": checkpoint.validation_losses,
        "best": None if best is None else {"step": best.step, "loss": best.loss, "weights": best.weights},
    }


def _swap(draft: Path, target: Path) -> None:
    """Put the draft in the target's place. Killed in between, both are whole; ``_finish_swaps`` finds them."""
    aside = draft.with_name(draft.name + "-old")
    if target.exists():
        os.replace(target, aside)
    try:
        os.replace(draft, target)
    except OSError:
        if aside.exists():
            os.replace(aside, target)
        raise
    to_disk(target.parent)
    shutil.rmtree(aside, ignore_errors=True)
    for path, name in _leftovers(target.parent):
        if name == target.name:
            shutil.rmtree(path, ignore_errors=True)


def _finish_swaps(folder: Path, only: str | None = None) -> None:
    """Where a kill left a save neither here nor there, put the newest that is whole in its place; says so.

    Args:
        folder: in which the saves are.
        only: the name of the save; all of them if not given.
    """
    whole: dict[str, list[tuple[float, Path]]] = {}
    leftovers = _leftovers(folder)
    aside = {name for path, name in leftovers if path.name.endswith("-old")}  # else the first is being written
    for path, name in leftovers:
        if name == (only or name) and name in aside and not (folder / name).exists():
            with contextlib.suppress(OSError, ValueError):
                whole.setdefault(name, []).append((read(path).written, path))
    for name, found in whole.items():
        with contextlib.suppress(OSError):
            os.replace(max(found)[1], folder / name)
            print(f"the process that saved {folder / name} was killed while it did; what it had written is in place")


def _leftovers(folder: Path) -> list[tuple[Path, str]]:
    """What processes that were killed left in a folder, and the name of the save that each was to be, or had been."""
    try:
        found = [(path, LEFTOVER.fullmatch(path.name)) for path in folder.iterdir()]
    except OSError:
        return []
    return [(path, name[1]) for path, name in found if name and path.is_dir() and _holds_nothing_else(path)]


def _holds_nothing_else(folder: Path) -> bool:
    try:
        return {each.name for each in folder.iterdir()} <= {ABOUT, HISTORY, WEIGHTS, STATE}
    except OSError:
        return False


def _check_free(folder: Path, given: str | os.PathLike[str]) -> None:
    """That checkpoints can be written there, and nothing else lies there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        other = sorted(each.name for each in folder.iterdir() if not NAME.match(each.name.removeprefix(".")))
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"folder is {str(given)!r}, which cannot be written to: {reason_of(error)}") from error
    visible = [name for name in other if not name.startswith(".")]
    if visible:
        raise ValueError(f"folder is {str(given)!r}, which holds something else ({visible[0]}); give a new one")


def _check_over(folder: Path, given: str | os.PathLike[str]) -> None:
    """That no run that could go on lies there."""
    damaged: list[str] = []
    for path in checkpoints_in(folder):
        try:
            there = read(path)
        except (OSError, ValueError) as error:
            damaged.append(str(error))
            continue
        if there.state in FINAL:
            return
        total = there.log.total_steps
        at = f"step {len(there.history)}" + ("" if total is None else f" of {total}")
        at += f", newer ones are damaged ({damaged[0]})" if damaged else ""
        raise ValueError(
            f"folder is {str(given)!r}, which holds a run that has not ended ({at}): "
            "reopen it, or give another folder, or delete this one"
        )
    if damaged:
        raise ValueError(
            f"folder is {str(given)!r}, which holds nothing whole ({damaged[0]}); give another, or delete it"
        )


def _steps(path: Path) -> int:
    found = NAME.fullmatch(path.name)
    return int(found[1]) if found else -1
