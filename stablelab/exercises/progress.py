"""What the learner has solved, in one small file of their own that goes nowhere."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

VERSION = 1
FILE = "progress.json"


def data_folder() -> Path:
    """Where the file is: the environment variable ``STABLELAB_DATA``, else the user's data folder."""
    chosen = os.environ.get("STABLELAB_DATA")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_data_dir

    return Path(user_data_dir("stablelab"))


def read() -> dict[str, dict[str, Any]]:
    """By exercise: ``tries``, the number of answers judged, and ``right``, the day of the first right one or None.

    A file that cannot be read as progress is put aside under another name, never deleted.

    Raises:
        ValueError: a newer version of the workbook wrote it.
        OSError: it is there but cannot be opened.
    """
    file = data_folder() / FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        version, exercises = content["version"], content["exercises"]
        known = {name: {"tries": int(one["tries"]), "right": one["right"]} for name, one in exercises.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError):
        _put_aside(file)
        return {}
    if version > VERSION:
        raise ValueError(
            f"{file} is of a newer stablelab (format {version}, this one knows {VERSION}): update stablelab"
        )
    return known


def record(name: str, right: bool) -> None:
    """Count an answer; the file is replaced whole, so a crash leaves the old one or the new one.

    Raises:
        ValueError, OSError: as ``read``, or it cannot be written.
    """
    exercises = read()
    one = exercises.setdefault(name, {"tries": 0, "right": None})
    one["tries"] += 1
    if right and one["right"] is None:
        one["right"] = date.today().isoformat()
    folder = data_folder()
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"version": VERSION, "exercises": exercises}, indent=1, ensure_ascii=False)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=FILE, suffix=".new")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, folder / FILE)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _put_aside(file: Path) -> None:
    number = 1
    while (aside := file.with_name(f"progress.damaged-{number}.json")).exists():
        number += 1
    os.replace(file, aside)
