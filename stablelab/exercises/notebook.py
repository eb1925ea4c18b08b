"""What a notebook calls, ``check``, ``hints``, ``answer_or_solution`` and ``progress``, and ``ALL`` they know."""

from __future__ import annotations

import html
import inspect
import textwrap
from collections.abc import Callable, Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from .._notebook_cells import in_notebook
from .exercise import Exercise
from .grading import NOT_ATTEMPTED, NOT_YET, RIGHT, Verdict, judge
from .kernel_state import known_state
from .progress import Attempts, read_progress, record_attempt

with known_state():  # the inputs that these modules make must not depend on what the page has set before
    from . import (
        attention_pretraining,
        choosing_rates,
        clipping,
        comparing,
        explanations,
        fine_tuning_bert,
        fine_tuning_resnet,
        gradient_descent,
        large_batches,
        learning_from_sound,
        losses_regularization,
        measuring,
        momentum_adam,
        pictures_with_words,
        privacy,
        robustness_ensembles,
        robustness_ensembles_loops,
        schedules,
        small_machines,
        smaller_models,
        stabilizing,
        troubleshooting,
        what_the_data_say,
    )

LINE_WIDTH = 100  # characters of a line; a page breaks longer ones in the middle of a word

NOTEBOOKS: dict[str, tuple[Exercise, ...]] = {  # in reading order
    "01_gradient_descent": gradient_descent.EXERCISES,
    "02_momentum_and_adam": momentum_adam.EXERCISES,
    "03_losses_and_regularization": losses_regularization.EXERCISES,
    "04_learning_rate_schedules": schedules.EXERCISES + choosing_rates.EXERCISES,
    "05_gradient_clipping": clipping.EXERCISES,
    "06_attention_and_pre_training": attention_pretraining.EXERCISES,
    "07_fine_tune_resnet": fine_tuning_resnet.EXERCISES,
    "08_fine_tune_bert": fine_tuning_bert.EXERCISES,
    "09_measuring_stability": measuring.EXERCISES + comparing.EXERCISES,
    "09b_what_stabilizes_fine_tuning": stabilizing.EXERCISES,
    "10_robustness_and_ensembles": robustness_ensembles.EXERCISES + robustness_ensembles_loops.EXERCISES,
    "11_when_training_goes_wrong": troubleshooting.EXERCISES,
    "12_small_machines_big_batches": (
        small_machines.BEFORE_LARGE_BATCHES + large_batches.EXERCISES + small_machines.AFTER_LARGE_BATCHES
    ),
    "12b_smaller_models": smaller_models.EXERCISES,
    "13_pictures_with_words": pictures_with_words.EXERCISES,
    "13b_learning_from_sound": learning_from_sound.EXERCISES,
    "14_what_the_data_say": what_the_data_say.EXERCISES,
    "14b_what_a_model_shows": explanations.EXERCISES,
    "14c_what_a_model_gives_away": privacy.EXERCISES,
}

ALL: dict[str, Exercise] = {exercise.name: exercise for group in NOTEBOOKS.values() for exercise in group}


def check(name: str, answer: Any) -> None:
    """Judge an answer and say one of *right*, *not yet* or *not attempted yet*; never raises.

    Under it, in a notebook, stand the hints and the solution, each folded away.

    Args:
        name: of the exercise, such as ``"adam.update"``.
        answer: your function, without brackets.
    """
    if not isinstance(name, str) or name not in ALL:
        print(_unknown(name))
        return
    verdict = _judged(name, answer)
    # An error's text may hold half a character, which cannot be printed.
    print(textwrap.fill(str(verdict), LINE_WIDTH).encode(errors="backslashreplace").decode())
    if in_notebook():
        from IPython.display import display

        display(Hints(ALL[name]))
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


def answer_or_solution(name: str, answer: Any) -> Callable[..., Any]:
    """Your answer to an exercise once it is right, and its solution until then, for what a page does with it next.

    Which of the two it is stands in one line under the cell.

    Args:
        name: of the exercise, such as ``"adam.update"``.
        answer: your function, without brackets.

    Raises:
        ValueError: no such exercise.
    """
    if not isinstance(name, str) or name not in ALL:
        raise ValueError(_unknown(name))
    right = _judged(name, answer).status == RIGHT
    print(f"{name}: {'your answer' if right else 'the solution, until your answer is right'}")
    return answer if right else ALL[name].solution


@dataclass(frozen=True)
class ProgressTable:
    """How far the learner is: what was tried of each exercise, by notebook, and what comes next.

    Attributes:
        attempts: by the name of the exercise; of those never tried there may be none.
    """

    attempts: dict[str, Attempts]

    @property
    def next(self) -> str | None:
        """The first exercise that is not right yet; None if all are."""
        return next((name for name in ALL if not self._of(name).right), None)

    def __repr__(self) -> str:
        lines = []
        for notebook, exercises in NOTEBOOKS.items():
            lines.append(f"{notebook} · {self._share(exercises)}")
            lines += [
                f"  {one.name:30} {self._state(one.name):22} {self._tries(one.name)}".rstrip() for one in exercises
            ]
        lines.append(f"all · {self._share(ALL.values())}")
        if self.next:
            lines.append(f"next: {self.next} in {_notebook_of(self.next)}.ipynb")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = []
        for notebook, exercises in NOTEBOOKS.items():
            rows.append(f"<tr><th colspan=2>{_link(notebook)}</th><th>{self._share(exercises)}</th></tr>")
            rows += [
                f"<tr><td><code>{one.name}</code></td><td>{html.escape(self._state(one.name))}</td>"
                f"<td>{self._tries(one.name)}</td></tr>"
                for one in exercises
            ]
        end = f"<p>{self._share(ALL.values())}."
        if self.next:
            end += f" Next: <code>{self.next}</code> in {_link(_notebook_of(self.next))}"
        return f"<table>{''.join(rows)}</table>{end}</p>"

    def _of(self, name: str) -> Attempts:
        return self.attempts.get(name, Attempts())

    def _state(self, name: str) -> str:
        one = self._of(name)
        return f"{RIGHT} since {one.right}" if one.right else NOT_YET if one.tries else "–"

    def _tries(self, name: str) -> str:
        tries = self._of(name).tries
        return f"{tries} {'try' if tries == 1 else 'tries'}" if tries else ""

    def _share(self, exercises: Collection[Exercise]) -> str:
        return f"{sum(bool(self._of(one.name).right) for one in exercises)} of {len(exercises)} right"


def progress() -> ProgressTable:
    """Every exercise and how it stands, by notebook; read from a file in your data folder, sent nowhere.

    Raises:
        ValueError, OSError, RuntimeError: the file is of a newer version, or cannot be opened.
    """
    return ProgressTable(read_progress())


def _judged(name: str, answer: Any) -> Verdict:
    try:
        return judge(ALL[name], answer)
    except Exception as error:  # an answer so odd that not even looking at it goes well
        return Verdict(NOT_YET, f"your answer could not be judged: looking at it raised {type(error).__name__}")


def _notebook_of(name: str) -> str:
    return next(notebook for notebook, exercises in NOTEBOOKS.items() if ALL[name] in exercises)


def _link(notebook: str) -> str:
    return f'<a href="{notebook}.ipynb">{notebook}</a>'


def _unknown(name: object) -> str:
    if not isinstance(name, str):
        return f'the name of an exercise comes first, in quotes: "{next(iter(ALL))}"; this is a {type(name).__name__}'
    near = get_close_matches(name, list(ALL), n=2, cutoff=0.4)
    return f"there is no exercise {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else "")
