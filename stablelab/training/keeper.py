"""While a run trains, its checkpoints are written to a folder, so that it survives the end of the process."""

from __future__ import annotations

import math
import os
import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import saving as saved
from .records import FINAL

if TYPE_CHECKING:
    from .run import Run

TIMES = 50  # as long as a write took, training is left alone: writing takes at most two per cent of the time
KEPT = 2  # newest checkpoints in the folder: if the last one is damaged, there is one before it
NAME = re.compile(r"checkpoint-(\d+)")


class Keeper:
    """Writes the checkpoints of one run to a folder: each is a saved run of its own, ``checkpoint-<steps done>``.

    The first stays, for it holds the weights that the run began with, and so do the newest two. Nothing that goes wrong
    with the disk stops training.

    Arguments:
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
        self._kept = list(goes_on)
        self._written: tuple[Any, ...] = ()
        self._due = -math.inf  # seconds on the monotonic clock
        _check_free(self.folder, folder)
        if not goes_on:
            _check_over(self.folder, folder)

    def keep(self, run: Run, end: str | None = None) -> None:
        """Write how the run ended; after a step, if it is time to or the run is about to pause."""
        if end is not None or time.monotonic() >= self._due or run.control.paused:
            self._write(run, end or run.state)

    def _write(self, run: Run, state: str) -> None:
        what = (len(run.history), run.control.settings, state in FINAL and state)
        if run.checkpoints.safe() is None or what == self._written:
            return
        began = time.monotonic()
        try:
            target = saved.write(self.folder / f"checkpoint-{len(run.history)}", run, state)
        except Exception as error:  # whatever it is, the learner's training is worth more than its copy
            self.trouble = self._said(error)
        else:
            self.trouble, self._written = "", what
            if self._kept and len(run.history) < _steps(self._kept[-1]):
                self._kept = []  # the run was put back to its start
            self._kept = [*(each for each in self._kept if each != target), target]
            self._tidy()
        self._due = time.monotonic() + TIMES * (time.monotonic() - began)

    def _tidy(self) -> None:
        """Leave the first checkpoint and the newest ones, nothing of an earlier run, no halves."""
        keep = {*self._kept[:1], *self._kept[-KEPT:]}
        self._kept = [each for each in self._kept if each in keep]
        for path in self.folder.iterdir():
            if path not in keep and NAME.match(path.name.removeprefix(".")):
                shutil.rmtree(path, ignore_errors=True)

    def _said(self, error: Exception) -> str:
        there = [each for each in self._kept if each.exists()]
        last = f"the last one there is of step {_steps(there[-1])}" if there else "there is none there yet"
        return f"no checkpoint could be written to {self.folder} ({_reason(error)}); training goes on, {last}"


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the one that was written last first; one whose time is unreadable before all."""

    def written(path: Path) -> tuple[float, int]:
        try:
            return float(saved.header(path)["written"]), _steps(path)
        except (OSError, ValueError, KeyError, TypeError):
            return math.inf, _steps(path)

    found = [path for path in folder.glob("checkpoint-*") if NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=written, reverse=True)


def _check_free(folder: Path, given: str | os.PathLike[str]) -> None:
    """That checkpoints can be written there, and nothing else lies there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        other = sorted(each.name for each in folder.iterdir() if not NAME.match(each.name.removeprefix(".")))
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"folder is {str(given)!r}, which cannot be written to: {_reason(error)}") from error
    visible = [name for name in other if not name.startswith(".")]
    if visible:
        raise ValueError(f"folder is {str(given)!r}, which holds something else ({visible[0]}); give a new one")


def _check_over(folder: Path, given: str | os.PathLike[str]) -> None:
    for path in checkpoints_in(folder)[:1]:
        try:
            about = saved.header(path)
        except (OSError, ValueError):
            return
        if about["state"] not in FINAL:
            raise ValueError(
                f"folder is {str(given)!r}, which holds a run that has not ended (step {about['step']} of "
                f"{about['total_steps']}): reopen it, or give another folder, or delete this one"
            )


def _steps(path: Path) -> int:
    found = NAME.fullmatch(path.name)
    return int(found[1]) if found else -1


def _reason(error: BaseException) -> str:
    """What the system said, without the name and number of the error."""
    text = str(getattr(error, "strerror", None) or error)
    wrapped = re.search(r"I/O error: (.+?) \(os error", text)  # by safetensors
    lines = (wrapped[1] if wrapped else text).strip().splitlines()
    return lines[0].lower() if lines else type(error).__name__
