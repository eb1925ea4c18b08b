"""Every exercise: right answers pass however they are written, the stub counts as none, wrong ones are refused."""

from __future__ import annotations

import json
import math
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stablelab.exercises import ALL, Exercise, hints, judge
from stablelab.exercises.grading import NOT_ATTEMPTED, NOT_YET, RIGHT
from stablelab.exercises.notebook import NOTEBOOKS

ANSWERS = Path(__file__).parent / "answers"
PAGES = Path(__file__).resolve().parent.parent.parent / "notebooks"
AT_LEAST = {"exercises": 130, "right": 5, "wrong": 8}  # answers to each exercise
PATIENCE = 120.0  # seconds; a busy machine is not what is tested here


def _answers(kind: str) -> dict[str, Any]:
    """What the files of answers have under RIGHT or WRONG, by the name of the exercise."""
    found: dict[str, Any] = {}
    for path in sorted(ANSWERS.glob("*.py")):
        found.update(runpy.run_path(str(path))[kind])
    return found


RIGHT_ANSWERS: dict[str, tuple[Callable, ...]] = _answers("RIGHT")
WRONG_ANSWERS: dict[str, dict[str, Callable]] = _answers("WRONG")


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # a wrong answer takes acos of more than 1
@pytest.mark.slow
def test_every_answer_is_judged_as_it_should_be(record_property: Callable[[str, object], None]) -> None:
    mistakes, counts = [], {"right": 0, "wrong": 0}
    for name, exercise in ALL.items():
        right = [exercise.solution, *RIGHT_ANSWERS[name]]
        wrong = {**{slip.message: slip.answer for slip in exercise.slips}, **WRONG_ANSWERS[name]}
        assert len(right) >= AT_LEAST["right"], name
        assert len(wrong) >= AT_LEAST["wrong"], name
        counts["right"] += len(right)
        counts["wrong"] += len(wrong)
        for answer in right:
            verdict = judge(exercise, answer, PATIENCE)
            if verdict.status != RIGHT:
                mistakes.append(f"right, refused: {name}: {answer.__name__}: {verdict}")
        for mistake, answer in wrong.items():
            verdict = judge(exercise, answer, PATIENCE)
            if verdict.status != NOT_YET:
                mistakes.append(f"wrong, accepted: {name}: {mistake}: {verdict}")
    summary = f"{len(ALL)} exercises: {counts['right']} right and {counts['wrong']} wrong answers judged"
    record_property("in summary", f"{summary}, {len(mistakes)} mistakes")
    assert mistakes == []
    assert len(ALL) >= AT_LEAST["exercises"]


@pytest.mark.parametrize("exercise", ALL.values(), ids=ALL)
def test_each_slip_is_named_and_no_other(exercise: Exercise) -> None:
    for number, slip in enumerate(exercise.slips):
        verdict = judge(exercise, slip.answer, PATIENCE)
        assert (verdict.status, verdict.slip) == (NOT_YET, number), f"{slip.message}: {verdict}"
        assert slip.message in verdict.message


@pytest.mark.parametrize("exercise", ALL.values(), ids=ALL)
def test_the_solution_passes_as_a_learner_would_paste_it_and_its_stub_is_none(exercise: Exercise) -> None:
    scope = {"torch": torch, "math": math}  # all there is around it
    exec(hints(exercise.name).solution, scope)
    assert judge(exercise, scope[exercise.solution.__name__], PATIENCE).status == RIGHT
    for stub in (lambda *_: ..., ...):
        assert judge(exercise, stub).status == NOT_ATTEMPTED


def _in_single_precision(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    return type(value)(map(_in_single_precision, value)) if isinstance(value, tuple | list) else value


def _each(change: Callable[[Tensor], Any]) -> Callable[[Any], Any]:
    """The change of one result, done to all that are numbers."""

    def changed(result: Any) -> Any:
        if isinstance(result, tuple):
            return tuple(map(changed, result))
        return result if isinstance(result, str | bool) else change(torch.as_tensor(result))

    return changed


def _stacked(result: Any) -> Any:
    numbers = isinstance(result, tuple) and not any(isinstance(part, tuple | str | bool) for part in result)
    same = numbers and len({torch.as_tensor(part).shape for part in result}) == 1
    return torch.stack([torch.as_tensor(part) for part in result]) if same else result


HELD = {
    "in numpy": _each(lambda x: x.numpy()),
    "in lists": _each(lambda x: x.tolist()),
    "in single precision": _each(lambda x: x.float() if x.is_floating_point() else x),
    "in numpy and single precision": _each(lambda x: x.numpy().astype(np.float32) if x.is_floating_point() else x),
    "with a gradient": _each(lambda x: x.clone().requires_grad_() if x.is_floating_point() else x),
    "stacked": _stacked,
    "stacked in numpy": lambda result: np.asarray(stacked) if (stacked := _stacked(result)) is not result else result,
}


@pytest.mark.parametrize("exercise", ALL.values(), ids=ALL)
@pytest.mark.parametrize("held", HELD.values(), ids=HELD)
@pytest.mark.slow
def test_what_a_right_result_is_held_in_does_not_matter(exercise: Exercise, held: Callable[[Any], Any]) -> None:
    verdict = judge(exercise, lambda *arguments: held(exercise.solution(*arguments)), PATIENCE)
    assert verdict.status == RIGHT, verdict


@pytest.mark.parametrize("exercise", ALL.values(), ids=ALL)
def test_the_solution_passes_in_single_precision(exercise: Exercise) -> None:
    verdict = judge(
        exercise,
        lambda *arguments: _each(lambda x: x.float() if x.is_floating_point() else x)(
            exercise.solution(*map(_in_single_precision, arguments))
        ),
        PATIENCE,
    )
    assert verdict.status == RIGHT, verdict


@pytest.mark.parametrize("exercise", ALL.values(), ids=ALL)
def test_an_exercise_has_all_its_parts(exercise: Exercise) -> None:
    assert len(exercise.slips) >= 3
    assert len(exercise.cases) >= 2
    assert len(exercise.hints) >= 2


@pytest.mark.parametrize("exercise", ALL.values(), ids=ALL)
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda *_: 1 / 0, "ZeroDivisionError"),
        (lambda *_: None, "returned nothing"),
        (lambda *_: "seven", "seven"),
        (lambda *_: torch.full((7, 11, 13), 0.5), "expected"),
        (lambda *_: float("nan"), "expected|nan"),
        (lambda *_: object(), "expected"),
    ],
    ids=["raises", "nothing", "text", "shape", "nan", "object"],
)
def test_no_answer_goes_through_by_chance(exercise: Exercise, answer: Callable, says: str) -> None:
    verdict = judge(exercise, answer, PATIENCE)
    assert verdict.status == NOT_YET
    assert re.search(says, verdict.message)


def test_every_exercise_is_in_its_notebook_and_every_check_has_its_exercise() -> None:
    asked: dict[str, list[str]] = {}
    for path in sorted(PAGES.glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "code":
                for name in re.findall(r'^check\("([\w.]+)"', source, re.MULTILINE):
                    asked.setdefault(path.stem, []).append(name)
    # In reading order.
    assert asked == {notebook: [one.name for one in exercises] for notebook, exercises in NOTEBOOKS.items()}
