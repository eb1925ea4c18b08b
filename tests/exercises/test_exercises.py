"""Every exercise: its solution and other right answers pass, its stub counts as none, its wrong ones are named."""

from __future__ import annotations

import json
import math
import re
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stablelab.exercises import ALL, Exercise, hints, judge
from stablelab.exercises.grading import NOT_ATTEMPTED, NOT_YET, RIGHT

VARIANTS = Path(__file__).parent / "variants"
NOTEBOOKS = Path(__file__).resolve().parent.parent.parent / "notebooks"
AT_LEAST = {"exercises": 54, "right": 240, "wrong": 262}
PATIENCE = 120.0  # seconds; a busy machine is not what is tested here


def _variants() -> dict[str, tuple[Callable, ...]]:
    found: dict[str, tuple[Callable, ...]] = {}
    for path in sorted(VARIANTS.glob("*.py")):
        found.update(runpy.run_path(str(path))["VARIANTS"])
    return found


def _as_shown(exercise: Exercise) -> Callable:
    """The solution as a learner would paste it: its source, with nothing but torch and math around it."""
    scope = {"torch": torch, "math": math}
    exec(hints(exercise.name).solution, scope)
    return scope[exercise.solution.__name__]


def _right_answers(exercise: Exercise) -> list[Callable]:
    return [exercise.solution, _as_shown(exercise), *_variants().get(exercise.name, ())]


def _judge_all(exercise: Exercise) -> tuple[int, int]:
    """How many right and how many wrong answers were judged as they should be."""
    right = _right_answers(exercise)
    for answer in right:
        verdict = judge(exercise, answer, PATIENCE)
        assert verdict.status == RIGHT, f"{exercise.name}: {answer.__name__}: {verdict}"
    for stub in (lambda *_: ..., ...):
        assert judge(exercise, stub).status == NOT_ATTEMPTED, exercise.name
    for number, slip in enumerate(exercise.slips):
        verdict = judge(exercise, slip.answer, PATIENCE)
        assert (verdict.status, verdict.slip) == (NOT_YET, number), f"{exercise.name}: {slip.message}: {verdict}"
        assert slip.message in verdict.message
    return len(right), len(exercise.slips)


def test_every_answer_is_judged_as_it_should_be(record_property: Callable[[str, object], None]) -> None:
    counts = [_judge_all(exercise) for exercise in ALL.values()]
    right, wrong = (sum(column) for column in zip(*counts, strict=True))
    record_property("in summary", f"{len(counts)} exercises: {right} right and {wrong} wrong answers judged")
    assert len(counts) >= AT_LEAST["exercises"]
    assert right >= AT_LEAST["right"]
    assert wrong >= AT_LEAST["wrong"]


@pytest.mark.parametrize("exercise", ALL.values(), ids=ALL)
def test_an_exercise_has_all_its_parts(exercise: Exercise) -> None:
    assert len(exercise.slips) >= 3
    assert len(exercise.cases) >= 2
    assert len(exercise.hints) >= 2
    assert len(_variants()[exercise.name]) >= 2


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


def test_every_exercise_is_in_a_notebook_and_every_check_has_its_exercise() -> None:
    asked, helped, stubs = [], [], 0
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "code":
                asked += re.findall(r'^check\("([\w.]+)"', source, re.MULTILINE)
                helped += re.findall(r'^hints\("([\w.]+)"', source, re.MULTILINE)
                stubs += len(re.findall(r"return \.\.\.", source))
    assert asked == helped == list(ALL)  # in reading order
    assert stubs == len(ALL)
