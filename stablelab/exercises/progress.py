"""What the learner has solved, in one small file of their own that goes nowhere."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from .._files import write_atomically

VERSION = 1
FILE = "progress.json"


@dataclass
class Attempts:
    """The answers to one exercise.

    Attributes:
        tries: how many were judged.
        right: the day of the first right one, such as ``2025-01-31``, or None.
    """

    tries: int = 0
    right: str | None = None


def data_folder() -> Path:
    """Where the file is: the environment variable ``STABLELAB_DATA``, else the user's data folder."""
    chosen = os.environ.get("STABLELAB_DATA")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_data_dir

    return Path(user_data_dir("stablelab"))


def read_progress() -> dict[str, Attempts]:
    """The attempts so far, by the name of the exercise.

    A file that cannot be read as progress is put aside under another name, never deleted.

    Raises:
        ValueError: a newer version of the workbook wrote it.
        OSError: it is there but cannot be opened.
        RuntimeError: ``STABLELAB_DATA`` begins with ``~``, and there is no such home.
    """
    file = data_folder() / FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        version = int(content["version"])
        attempts = {name: Attempts(int(one["tries"]), one["right"]) for name, one in content["exercises"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        _put_aside(file)
        return {}
    if version > VERSION:
        raise ValueError(
            f"{file} is of a newer stablelab (format {version}, this one knows {VERSION}): update stablelab"
        )
    return attempts


def record_attempt(name: str, right: bool) -> None:
    """Count an answer; the file is replaced whole, so a crash leaves the old one or the new one.

    Args:
        name: of the exercise.
        right: whether the answer was.

    Raises:
        ValueError, OSError, RuntimeError: as ``read_progress``, or the file cannot be written.
    """
    attempts = read_progress()
    one = attempts.setdefault(name, Attempts())
    one.tries += 1
    if right and one.right is None:
        one.right = date.today().isoformat()
    file = data_folder() / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    exercises = {known: asdict(each) for known, each in attempts.items()}
    text = json.dumps({"version": VERSION, "exercises": exercises}, indent=1, ensure_ascii=False)
    write_atomically(file, text, mode=0o600)  # nobody else's business


def _put_aside(file: Path) -> None:
    number = 1
    while (aside := file.with_name(f"progress.damaged-{number}.json")).exists():
        number += 1
    os.replace(file, aside)
