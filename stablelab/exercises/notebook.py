"""What a notebook calls: ``check``, ``hints`` and ``progress``."""

from __future__ import annotations

import html
import inspect
import textwrap
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ._all import ALL
from .exercise import Exercise
from .grading import NOT_ATTEMPTED, RIGHT, judge
from .progress import read, record

WIDTH = 100  # characters of a line; a page breaks longer ones in the middle of a word


def check(name: str, answer: Any) -> None:
    """Judge an answer and say one of *right*, *not yet* or *not attempted yet*; never raises.

    Arguments:
        name: of the exercise, such as ``"adam.update"``.
        answer: your function, without brackets.
    """
    exercise = ALL.get(name)
    if exercise is None:
        print(_unknown(name))
        return
    verdict = judge(exercise, answer)
    print(textwrap.fill(str(verdict), WIDTH))
    if verdict.status == NOT_ATTEMPTED:
        return
    try:
        record(name, verdict.status == RIGHT)
    except (OSError, ValueError) as reason:
        print(f"(your progress was not written down: {reason})")


@dataclass(frozen=True)
class Folded:
    """Hints and solution of an exercise; a page shows each folded away, to be opened one by one."""

    exercise: Exercise

    @property
    def solution(self) -> str:
        """Source of the solution: the code that the check compares with."""
        return textwrap.dedent(inspect.getsource(self.exercise.solution)).strip()

    def _repr_html_(self) -> str:
        hints = [
            f"<details><summary>Hint {i}</summary><p>{html.escape(hint)}</p></details>"
            for i, hint in enumerate(self.exercise.hints, 1)
        ]
        code = f"<details><summary>Solution</summary><pre><code>{html.escape(self.solution)}</code></pre></details>"
        return "".join([*hints, code])

    def __repr__(self) -> str:
        return f"{len(self.exercise.hints)} hints and a solution for {self.exercise.name}: open them on the page"


def hints(name: str) -> Folded:
    """The hints, one by one, and the solution of an exercise, each folded away.

    Raises:
        ValueError: no such exercise.
    """
    if name not in ALL:
        raise ValueError(_unknown(name))
    return Folded(ALL[name])


@dataclass(frozen=True)
class Table:
    """How far the learner is: rows of (exercise, state, tries)."""

    rows: tuple[tuple[str, str, int], ...]

    def __repr__(self) -> str:
        solved = sum(state.startswith(RIGHT) for _, state, _ in self.rows)
        lines = [f"{name:32} {state:22} {tries:3d} tries" for name, state, tries in self.rows]
        return "\n".join([*lines, f"{solved} of {len(self.rows)} exercises right"])


def progress() -> Table:
    """Every exercise and how it stands, in reading order; read from a file in your data folder, sent nowhere.

    Raises:
        ValueError, OSError: the file is of a newer version, or cannot be opened.
    """
    known = read()
    rows = []
    for name in ALL:
        one = known.get(name, {"tries": 0, "right": None})
        state = f"{RIGHT} since {one['right']}" if one["right"] else "not yet" if one["tries"] else "–"
        rows.append((name, state, one["tries"]))
    return Table(tuple(rows))


def _unknown(name: object) -> str:
    near = get_close_matches(str(name), list(ALL), n=2, cutoff=0.4)
    return f"there is no exercise {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else "")
