"""A run on disk: a folder with ``run.json``, ``history.jsonl``, ``weights.safetensors`` and, once it has trained,
``state.safetensors`` (the checkpoint to go on from); whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import nn

from .checkpoints import Checkpoint
from .history import History
from .reproducibility import one_step_at_a_time
from .stored import put_together, taken_apart

if TYPE_CHECKING:
    from .run import Run

FORMAT = 2
STATE = "state.safetensors"


@dataclass(frozen=True)
class SavedRun:
    """What a folder holds: ``about`` (settings, seed, task, state; JSON values) and the history; the rest on demand."""

    folder: Path
    about: dict[str, Any]
    history: History

    def restore(self, model: nn.Module) -> None:
        """Put the saved weights into a model of the same structure; raises ValueError if they do not fit."""
        try:
            missing, unexpected = load_model(model, self.folder / "weights.safetensors", strict=False)
        except (SafetensorError, RuntimeError, OSError) as error:
            raise ValueError(f"the weights in {self.folder} do not fit this model: {_last_line(error)}") from error
        if missing or unexpected:
            odd = sorted(missing or unexpected)[0]
            raise ValueError(f"the weights in {self.folder} are of another model: {odd!r} is not in both")

    def checkpoint(self) -> Checkpoint | None:
        """The state of training to go on from; None for a run that had not begun. Raises ValueError if damaged."""
        if self.about["checkpoint"] is None:
            return None
        try:
            return put_together(load_file(self.folder / STATE), self.about["checkpoint"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the saved run in {self.folder} is damaged: {STATE} cannot be read") from error


def about(run: Run, history: History, state: str) -> dict[str, Any]:
    """What ``run.json`` says of a run with this history, beside its format, its checkpoint and checksums."""
    return {
        "name": run.name,
        "state": state,
        "written": time.time(),
        "step": len(history),
        "seed": run.seed,
        "batch_size": run.batch_size,
        "total_steps": run.total_steps,
        "evaluate_every": run.evaluate_every,
        "initial_settings": run.settings.to_dict(),
        "settings": run.control.settings.to_dict(),
        "interventions": [str(each) for each in history.interventions()],
        "script": None if run._script is None else run._script.to_dict(),
        "task": {"name": run.task.name, "fingerprint": run.task.fingerprint, "classes": list(run.task.classes)},
    }


def write(target: Path, run: Run, state: str) -> Path:
    """Save a run. An earlier save in the same folder is replaced only once the new one is complete and on the disk.

    Raises:
        ValueError: the folder is something else.
        OSError, SafetensorError: it cannot be written; nothing is left behind.
    """
    if target.exists() and not (target / "run.json").is_file():
        raise ValueError(f"{target} exists and is not a saved run; give a folder that is new or holds an earlier save")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    # In this order: a run that trains on meanwhile gets a checkpoint that is no younger than its history, and settings
    # that are no older. A safe one, which needs no other to do again what came after it.
    checkpoint, history = run.checkpoints.safe(), History(run.history.since(0))
    text = about(run, history, state)
    try:
        history.write(draft / "history.jsonl")
        with one_step_at_a_time:  # no update, and no probe that moves weights, may fall between two tensors
            save_model(run.model, str(draft / "weights.safetensors"))
        tensors, text["checkpoint"] = ({}, None) if checkpoint is None else taken_apart(checkpoint)
        if checkpoint is not None:
            save_file(tensors, draft / STATE)
        text = {"format": FORMAT, **text, "sha256": {file.name: _sha256(file) for file in sorted(draft.iterdir())}}
        (draft / "run.json").write_text(json.dumps(text, indent=1), encoding="utf-8")
        for file in (*draft.iterdir(), draft):
            _on_disk(file)
        _swap(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def read(folder: str | os.PathLike[str]) -> SavedRun:
    """Open a saved run; raises FileNotFoundError if there is none, ValueError in one line if it is damaged."""
    source = Path(folder).expanduser()
    about = header(source)
    for name, expected in about["sha256"].items():
        if not (source / name).is_file() or _sha256(source / name) != expected:
            raise ValueError(f"the saved run in {source} is damaged: {name} is missing or not what was written")
    return SavedRun(source, about, History.read(source / "history.jsonl"))


def header(source: Path) -> dict[str, Any]:
    """What ``run.json`` says; raises as ``read`` does. The other files are not looked at."""
    if not (source / "run.json").is_file():
        raise FileNotFoundError(
            f"no saved run in {source}: there is no run.json; give the folder that run.save(...) wrote"
        )
    try:
        about = json.loads((source / "run.json").read_text(encoding="utf-8"))
        version, _ = about["format"], dict(about["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"the saved run in {source} is damaged: run.json cannot be read") from error
    if version != FORMAT:
        raise ValueError(f"the saved run in {source} has format {version!r}; this version of stablelab reads {FORMAT}")
    return about


def _swap(draft: Path, target: Path) -> None:
    """Put the draft in the target's place; a crash in between leaves one of the two whole."""
    aside = draft.with_name(draft.name + "-old")
    if target.exists():
        os.replace(target, aside)
    os.replace(draft, target)
    _on_disk(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _on_disk(path: Path) -> None:
    """Have the system write out what it still holds in memory: a power cut must not leave half of it."""
    if os.name == "nt" and path.is_dir():  # folders cannot be opened there
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
