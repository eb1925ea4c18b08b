"""What the learner has solved, in one small file of their own that goes nowhere: a line of JSON for each exercise."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from .._files import FormatError, as_declared, damaged_name, seal, unseal, write_atomically
from .._validation import whole

VERSION = 2  # 1 was one JSON object without checksums
MOST = 10**9  # tries
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

    Where lines of the file are damaged, it is copied under another name, what can be read stays, and both are said.

    Raises:
        ValueError: a newer version of the workbook wrote it.
        OSError: it is there but cannot be opened, or nothing can be written beside it.
        RuntimeError: ``STABLELAB_DATA`` begins with ``~``, and there is no such home.
    """
    file = data_folder() / FILE
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return {}
    lines = _first_version(content)
    if lines is None:
        lines = [_as_line(line) for line in content.split(b"\n") if line] or [None]
    attempts = {line.exercise: Attempts(line.tries, line.right) for line in lines if line is not None}
    count = max(len(lines), *(line.of for line in lines if line is not None), 1)
    damaged = count - len(attempts)
    if damaged:
        aside = damaged_name(file, file.stem, file.suffix)
        write_atomically(aside, content, mode=0o600)
        if attempts:
            _write(attempts)
        else:
            file.unlink()
        print(f"{damaged} of {count} lines of {file} are damaged and left out; as it was, it is {aside.name} now")
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
    _write(attempts)


@dataclass(frozen=True)
class _Line:
    """A line of the file, sealed by itself: an exercise, its attempts, and how many lines there are."""

    exercise: str
    tries: int
    right: str | None
    of: int

    def __post_init__(self) -> None:
        whole("tries", self.tries, at_most=MOST)
        whole("of", self.of, at_least=1)
        if self.right is not None:
            date.fromisoformat(self.right)


def _as_line(text: bytes) -> _Line | None:
    """What a line says; None where it is damaged."""
    try:
        return as_declared(_Line, unseal(VERSION, text, FILE), FILE)
    except FormatError as error:
        raise ValueError(f"a newer stablelab wrote your progress: {error}; update stablelab") from error
    except ValueError:
        return None


def _first_version(content: bytes) -> list[_Line | None] | None:
    """The lines of a file of the first version, which was one JSON object without checksums; None for another."""
    try:
        values = json.loads(content)
        exercises = dict(values["exercises"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    lines: list[_Line | None] = [] if values.get("version") == 1 else [None]
    for name, each in exercises.items():
        try:
            one = as_declared(Attempts, each, name)
            lines.append(_Line(name, one.tries, one.right, 1))
        except ValueError:
            lines.append(None)
    return lines


def _write(attempts: dict[str, Attempts]) -> None:
    file = data_folder() / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = (_Line(name, each.tries, each.right, len(attempts)) for name, each in attempts.items())
    text = "".join(json.dumps(seal(VERSION, asdict(line))) + "\n" for line in lines)
    write_atomically(file, text, mode=0o600)  # nobody else's business
