"""What a notebook calls, ``check``, ``hints`` and ``progress``, and ``ALL`` exercises that they know."""

from __future__ import annotations

import html
import inspect
import textwrap
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from .exercise import Exercise
from .grading import NOT_ATTEMPTED, NOT_YET, RIGHT, judge
from .kernel_state import known_state
from .progress import Attempts, read_progress, record_attempt

with known_state():  # the inputs that these modules make must not depend on what the page has set before
    from . import (
        attention_pretraining,
        clipping,
        gradient_descent,
        losses_regularization,
        measuring,
        momentum_adam,
        robustness_ensembles,
        schedules,
    )

LINE_WIDTH = 100  # characters of a line; a page breaks longer ones in the middle of a word

ALL: dict[str, Exercise] = {  # in reading order
    exercise.name: exercise
    for module in (
        gradient_descent,
        momentum_adam,
        losses_regularization,
        schedules,
        clipping,
        attention_pretraining,
        measuring,
        robustness_ensembles,
    )
    for exercise in module.EXERCISES
}


def check(name: str, answer: Any) -> None:
    """Judge an answer and say one of *right*, *not yet* or *not attempted yet*; never raises.

    Args:
        name: of the exercise, such as ``"adam.update"``.
        answer: your function, without brackets.
    """
    if not isinstance(name, str) or name not in ALL:
        print(_unknown(name))
        return
    verdict = judge(ALL[name], answer)
    # An error's text may hold half a character, which cannot be printed.
    print(textwrap.fill(str(verdict), LINE_WIDTH).encode(errors="backslashreplace").decode())
    if verdict.status == NOT_ATTEMPTED:
        return
    try:
        record_attempt(name, verdict.status == RIGHT)
    except (OSError, ValueError, RuntimeError) as reason:
        print(f"(your progress was not written down: {reason})")


@dataclass(frozen=True)
class Hints:
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


def hints(name: str) -> Hints:
    """The hints, one by one, and the solution of an exercise, each folded away.

    Args:
        name: of the exercise, such as ``"adam.update"``.

    Raises:
        ValueError: no such exercise.
    """
    if not isinstance(name, str) or name not in ALL:
        raise ValueError(_unknown(name))
    return Hints(ALL[name])


@dataclass(frozen=True)
class ProgressTable:
    """How far the learner is: rows of (exercise, state, tries)."""

    rows: tuple[tuple[str, str, int], ...]

    def __repr__(self) -> str:
        solved = sum(state.startswith(RIGHT) for _, state, _ in self.rows)
        lines = [f"{name:32} {state:22} {tries:3d} tries" for name, state, tries in self.rows]
        return "\n".join([*lines, f"{solved} of {len(self.rows)} exercises right"])


def progress() -> ProgressTable:
    """Every exercise and how it stands, in reading order; read from a file in your data folder, sent nowhere.

    Raises:
        ValueError, OSError, RuntimeError: the file is of a newer version, or cannot be opened.
    """
    known = read_progress()
    rows = []
    for name in ALL:
        attempts = known.get(name, Attempts())
        state = f"{RIGHT} since {attempts.right}" if attempts.right else NOT_YET if attempts.tries else "–"
        rows.append((name, state, attempts.tries))
    return ProgressTable(tuple(rows))


def _unknown(name: object) -> str:
    if not isinstance(name, str):
        return f'the name of an exercise comes first, in quotes: "{next(iter(ALL))}"; this is a {type(name).__name__}'
    near = get_close_matches(name, list(ALL), n=2, cutoff=0.4)
    return f"there is no exercise {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else "")
