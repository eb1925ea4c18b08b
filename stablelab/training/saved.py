"""A run on disk: a folder with ``run.json``, ``history.jsonl`` and ``weights.safetensors``, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from .history import History
from .record import FINAL

if TYPE_CHECKING:
    from .run import Run

FORMAT = 1


@dataclass(frozen=True)
class SavedRun:
    """What a folder holds: ``about`` (settings, seed, task, state; JSON values) and the history; weights on demand."""

    folder: Path
    about: dict[str, Any]
    history: History

    def restore(self, model: nn.Module) -> None:
        """Put the saved weights into a model of the same structure; raises ValueError if they do not fit."""
        try:
            missing, unexpected = load_model(model, self.folder / "weights.safetensors", strict=False)
        except (SafetensorError, RuntimeError, OSError) as error:
            raise ValueError(f"the weights in {self.folder} do not fit this model: {_first_line(error)}") from error
        if missing or unexpected:
            odd = sorted(missing or unexpected)[0]
            raise ValueError(f"the weights in {self.folder} are of another model: {odd!r} is not in both")


def about(run: Run) -> dict[str, Any]:
    """What ``run.json`` says of a run, beside its format and checksums."""
    return {
        "name": run.name,
        "state": run.state if run.state in FINAL else "stopped",
        "seed": run.seed,
        "batch_size": run.batch_size,
        "total_steps": run.total_steps,
        "evaluate_every": run.evaluate_every,
        "initial_settings": run.settings.to_dict(),
        "settings": run.control.settings.to_dict(),
        "interventions": [str(each) for each in run.history.interventions()],
        "task": {"name": run.task.name, "fingerprint": run.task.fingerprint, "classes": list(run.task.classes)},
    }


def write(folder: str | os.PathLike[str], about: dict[str, Any], history: History, model: nn.Module) -> Path:
    """Save a run. An earlier save in the same folder is replaced only once the new one is complete."""
    target = Path(folder).expanduser()
    if target.exists() and not (target / "run.json").is_file():
        raise ValueError(f"{target} exists and is not a saved run; give a folder that is new or holds an earlier save")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        history.write(draft / "history.jsonl")
        save_model(model, str(draft / "weights.safetensors"))
        sums = {name: _sha256(draft / name) for name in ("history.jsonl", "weights.safetensors")}
        text = json.dumps({"format": FORMAT, **about, "sha256": sums}, indent=1)
        (draft / "run.json").write_text(text, encoding="utf-8")
        _swap(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def read(folder: str | os.PathLike[str]) -> SavedRun:
    """Open a saved run; raises FileNotFoundError if there is none, ValueError in one line if it is damaged."""
    source = Path(folder).expanduser()
    if not (source / "run.json").is_file():
        raise FileNotFoundError(
            f"no saved run in {source}: there is no run.json; give the folder that run.save(...) wrote"
        )
    try:
        about = json.loads((source / "run.json").read_text(encoding="utf-8"))
        version = about["format"]
        sums = dict(about["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"the saved run in {source} is damaged: run.json cannot be read") from error
    if version != FORMAT:
        raise ValueError(f"the saved run in {source} has format {version!r}; this version of stablelab reads {FORMAT}")
    for name, expected in sums.items():
        if not (source / name).is_file() or _sha256(source / name) != expected:
            raise ValueError(f"the saved run in {source} is damaged: {name} is missing or not what was written")
    return SavedRun(source, about, History.read(source / "history.jsonl"))


def _swap(draft: Path, target: Path) -> None:
    """Put the draft in the target's place; a crash in between leaves one of the two whole."""
    aside = draft.with_name(draft.name + "-old")
    if target.exists():
        os.replace(target, aside)
    os.replace(draft, target)
    shutil.rmtree(aside, ignore_errors=True)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
