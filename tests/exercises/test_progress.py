"""``check`` writes down what was judged, crash-safe and versioned; ``progress`` and ``hints`` show it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from stablelab._files import seal
from stablelab.exercises import ALL, answer_or_solution, check, hints, progress
from stablelab.exercises.notebook import NOTEBOOKS
from stablelab.exercises.progress import read_progress, record_attempt

NAME = next(iter(ALL))


def wrong(*_: object) -> float:
    return 1e9


def test_tries_and_the_first_right_answer_are_kept(data_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(NAME, wrong)
    check(NAME, ALL[NAME].solution)
    check(NAME, wrong)
    said = re.findall(r"^(\w[\w ]+) · ", capsys.readouterr().out, re.MULTILINE)
    assert said == ["not yet", "right", "not yet"]
    kept = json.loads((data_folder / "progress.json").read_text())
    assert (kept["format"], kept["exercise"], kept["tries"]) == (2, NAME, 3)
    assert kept["right"]
    assert [path.name for path in data_folder.iterdir()] == ["progress.json"]


def test_the_table_has_every_exercise(capsys: pytest.CaptureFixture[str]) -> None:
    second, third = list(ALL)[1:3]
    check(NAME, ALL[NAME].solution)
    check(second, wrong)
    check(second, wrong)
    lines = repr(progress()).splitlines()
    assert len(lines) == len(ALL) + len(NOTEBOOKS) + 2
    assert lines[0] == "01_gradient_descent · 1 of 12 right"
    assert re.fullmatch(rf"  {NAME} +right since \d{{4}}-\d\d-\d\d 1 try", lines[1])
    assert re.fullmatch(rf"  {second} +not yet +2 tries", lines[2])
    assert re.fullmatch(rf"  {third} +–", lines[3])
    assert lines[-2:] == [f"all · 1 of {len(ALL)} right", f"next: {second} in 01_gradient_descent.ipynb"]


def test_the_table_of_a_page_links_to_the_notebooks_and_to_the_next_exercise() -> None:
    page = progress()._repr_html_()
    assert page.count("<tr>") == len(ALL) + len(NOTEBOOKS)
    assert page.endswith(
        f"<p>0 of {len(ALL)} right. Next: <code>{NAME}</code> in "
        '<a href="01_gradient_descent.ipynb">01_gradient_descent</a></p>'
    )
    assert all(f'<a href="{notebook}.ipynb">' in page for notebook in NOTEBOOKS)


@pytest.mark.slow
def test_after_the_last_exercise_none_is_next() -> None:
    for name in ALL:
        record_attempt(name, right=True)
    assert progress().next is None
    assert repr(progress()).splitlines()[-1] == f"all · {len(ALL)} of {len(ALL)} right"


@pytest.mark.slow
def test_no_line_is_so_long_that_a_page_would_break_it(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ALL:
        check(name, lambda *_: ...)
        check(name, wrong)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_a_stub_leaves_no_trace(data_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(NAME, lambda *_: ...)
    assert capsys.readouterr().out == f"not attempted yet · return {ALL[NAME].returns}\n"
    assert not data_folder.exists()


@pytest.mark.parametrize(
    "damage",
    [
        *("", "{", "[]", '{"version": 1}', '{"version": 1, "exercises": {"a": 1}}', "\x00\xff", "[" * 100_000),
        *('{"version": [], "exercises": {}}', '{"version": 1, "exercises": {"a": {"tries": Infinity, "right": null}}}'),
        *(
            '{"version": "1", "exercises": {}}',
            '{"version": null, "exercises": {}}',
            '{"version": 1, "exercises": null}',
        ),
        '{"version": 1, "exercises": {"a": {"tries": 1' + "0" * 4290 + ', "right": null}}}',
        '{"version": 1, "exercises": {"a": {"tries": 1' + "0" * 5000 + ', "right": null}}}',
        '{"version": 1, "exercises": {"a": {"tries": 1, "right": "yesterday"}}}',
        '{"version": 1, "exercises": {"a": {"tries": 1, "right": ' + "[" * 900 + "]" * 900 + "}}}",
    ],
    ids=range(16),
)
def test_a_damaged_file_is_put_aside(data_folder: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    data_folder.mkdir()
    (data_folder / "progress.json").write_text(damage)
    assert f"all · 0 of {len(ALL)} right" in repr(progress())
    assert capsys.readouterr().out.endswith("as it was, it is progress.damaged-1.json now\n")
    check(NAME, ALL[NAME].solution)
    assert (data_folder / "progress.damaged-1.json").read_text() == damage
    assert read_progress()[NAME].tries == 1
    assert not (data_folder / "progress.damaged-2.json").exists()


def test_a_damaged_line_hides_no_other(data_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = list(ALL)[:3]
    for name in names:
        record_attempt(name, right=True)
    file = data_folder / "progress.json"
    file.write_text(file.read_text().replace('"tries": 1', '"tries": 7', 1))
    assert list(read_progress()) == names[1:]
    said = f"1 of 3 lines of {file} are damaged and left out; as it was, it is progress.damaged-1.json now\n"
    assert capsys.readouterr().out == said
    assert list(read_progress()) == names[1:] and capsys.readouterr().out == ""
    file.write_text(file.read_text().splitlines()[0] + "\n")  # cut where a line ends
    assert list(read_progress()) == names[1:2] and "1 of 2 lines" in capsys.readouterr().out


def test_a_file_of_the_first_version_is_read_on(data_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data_folder.mkdir()
    kept = {NAME: {"tries": 3, "right": "2025-01-31"}, "of before": {"tries": 1, "right": None}}
    (data_folder / "progress.json").write_text(json.dumps({"version": 1, "exercises": kept}, indent=1))
    record_attempt(NAME, right=True)
    assert {name: vars(each) for name, each in read_progress().items()} == {
        **kept,
        NAME: {"tries": 4, "right": "2025-01-31"},
    }
    assert capsys.readouterr().out == "" and len((data_folder / "progress.json").read_text().splitlines()) == 2


def test_a_file_of_a_newer_version_is_left_alone(data_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data_folder.mkdir()
    newer = json.dumps(seal(3, {"exercise": NAME, "tries": 2, "right": None, "seconds": 7})) + "\n"
    (data_folder / "progress.json").write_text(newer)
    check(NAME, ALL[NAME].solution)
    verdict, *_, reason = capsys.readouterr().out.splitlines()
    assert verdict.startswith("right")
    assert "newer stablelab" in reason
    assert (data_folder / "progress.json").read_text() == newer


def test_a_crash_while_writing_leaves_the_old_file(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record_attempt(NAME, right=True)

    def crash(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(OSError, match="no space"):
        record_attempt(NAME, right=False)
    assert read_progress()[NAME].tries == 1
    assert [path.name for path in data_folder.iterdir()] == ["progress.json"]


def test_a_folder_that_cannot_be_written_costs_a_line_and_nothing_else(
    data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data_folder.write_text("a file where the folder should be")
    check(NAME, ALL[NAME].solution)
    verdict, *_, reason = capsys.readouterr().out.splitlines()
    assert verdict.startswith("right")
    assert "was not written down" in reason


def test_a_home_that_is_none_costs_a_line_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STABLELAB_DATA", "~nobody-of-this-name/progress")
    check(NAME, ALL[NAME].solution)
    assert "was not written down" in capsys.readouterr().out


def test_an_unknown_exercise_gets_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    check(NAME + "x", wrong)
    assert capsys.readouterr().out.startswith(f"there is no exercise '{NAME}x'; did you mean {NAME}")
    with pytest.raises(ValueError, match="there is no exercise 'nothing like it'"):
        hints("nothing like it")


@pytest.mark.parametrize("name", [["descent.step"], {}, None, ..., 3, check])
def test_a_name_that_is_none_gets_a_line(name: object, capsys: pytest.CaptureFixture[str]) -> None:
    check(name, wrong)
    reason = f'the name of an exercise comes first, in quotes: "{NAME}"; this is a {type(name).__name__}'
    assert capsys.readouterr().out == reason + "\n"
    with pytest.raises(ValueError, match=re.escape(reason)):
        hints(name)


def test_a_page_goes_on_with_the_answer_once_it_is_right(capsys: pytest.CaptureFixture[str], data_folder: Path) -> None:
    solution = ALL[NAME].solution
    for answer in (lambda *_: ..., ..., wrong):
        assert answer_or_solution(NAME, answer) is solution
        assert capsys.readouterr().out == f"{NAME}: the solution, until your answer is right\n"

    def mine(*arguments: object) -> object:
        return solution(*arguments)

    assert answer_or_solution(NAME, mine) is mine
    assert capsys.readouterr().out == f"{NAME}: your answer\n"
    assert read_progress() == {}, "only a check is a try"
    with pytest.raises(ValueError, match="there is no exercise 'nothing like it'"):
        answer_or_solution("nothing like it", mine)


def test_hints_stand_under_a_check_in_a_notebook_and_only_there(
    shown: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    check(NAME, ...)
    assert shown == []
    monkeypatch.setattr("stablelab.exercises.notebook.in_notebook", lambda: True)
    check(NAME, ...)
    assert [hint.exercise.name for hint in shown] == [NAME]


def test_half_a_character_in_an_error_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    def answer(*_: object) -> None:
        raise ValueError("\ud83d")

    check(NAME, answer)
    assert "it raised ValueError: \\ud83d" in capsys.readouterr().out


def test_hints_and_solution_are_folded_away_one_by_one() -> None:
    page = hints(NAME)._repr_html_()
    assert page.count("<details>") == len(ALL[NAME].hints) + 1
    assert "def " in hints(NAME).solution
    assert " open" not in page.split("<pre>")[0]
