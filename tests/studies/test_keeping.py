"""What all studies share: a study that is stopped goes on as if it had not been, and what is kept is read again."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stablelab.studies.keeping import KEPT, Done, parser_of, provenance_of, read_column, read_table, write_columns

ROWS: dict[Any, Any] = {
    "first": {"loss": math.nan, "seeds": (0, 1), "by rate": {0.1: math.inf}, "text": "λ = 1\n"},
    ("arm", 0.1, 3, None): [0.1 + 0.2, -math.inf, True, None],
    ("arm", 1): [],
    ("arm", "1"): 5e-324,
}


def study(file: Path, begun: list[Any], stop_at: int | None = None) -> list[Any]:
    """Do all of ``ROWS``, the last by a generator; ``begun`` is told of each, and at the stop it is as if by Ctrl-C."""
    done = Done(file)

    def do(key: Any) -> Any:
        begun.append(key)
        if len(begun) == stop_at:
            raise KeyboardInterrupt
        return ROWS[key]

    def rows(key: Any, n: int) -> Iterator[Any]:
        for _ in range(n):
            yield do(key)

    made = [done.once(key, do, key) for key in ROWS] + [done.once("rows", rows, "first", 2)]
    assert repr(made) == repr([*done.values()])
    return made


@pytest.mark.parametrize("stop_at", range(1, 7))
def test_a_study_that_is_stopped_goes_on_and_comes_to_the_same_as_in_one_go(tmp_path: Path, stop_at: int) -> None:
    in_a_go, stopped, begun = tmp_path / "in a go.jsonl", tmp_path / "stopped.jsonl", list[Any]()
    whole = study(in_a_go, [])
    with pytest.raises(KeyboardInterrupt):
        study(stopped, begun, stop_at)
    assert repr(study(stopped, begun)) == repr(whole)  # which tells nan from nan as == does not
    assert stopped.read_bytes() == in_a_go.read_bytes()
    assert len(begun) == len(ROWS) + 2 + (1 if stop_at < 6 else 2)  # only what was stopped was begun twice
    assert repr(study(stopped, never := [])) == repr(whole) and never == []


@pytest.mark.parametrize("left", [0, 1, 40, -1])
def test_a_line_that_was_cut_off_is_done_again(tmp_path: Path, left: int) -> None:
    file = tmp_path / "study.part.jsonl"
    study(file, [])
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:1]) + lines[1][:left])
    assert list(Done(file)) == ["first"]
    study(file, begun := [])
    assert begun[0] == ("arm", 0.1, 3, None) and file.read_text().splitlines(keepends=True) == lines


def test_keys_come_back_as_they_were_and_are_told_apart_as_json_does(tmp_path: Path) -> None:
    file = tmp_path / "study.part.jsonl"
    study(file, [])
    done = Done(file)
    assert list(done) == [*ROWS, "rows"] and len(done) == 5
    assert ["arm", 1] in done and ("arm", 1.0) not in done and ("arm", True) not in done and "arm" not in done
    done.add("more", 1)
    assert Done(file)["more"] == 1
    with pytest.raises(KeyError):
        done["nothing"]


def test_columns_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "study.npz"
    arrays = {"run_seed": np.arange(3, dtype=np.int8), "run_losses": np.ones((3, 2)), "name": np.array(["a", "b"])}
    write_columns(file, "a test", **arrays)
    assert provenance_of(file) == "a test"
    assert all(np.array_equal(read_column(file, name), array) for name, array in arrays.items())
    runs = read_table(file, prefix="run_")
    assert list(runs) == ["seed"] and runs.seed.tolist() == [0, 1, 2] and runs.seed.dtype == np.int8
    assert list(read_table(file, "name")) == ["name"]
    with pytest.raises(KeyError, match="loss is not a file"):
        read_table(file, "loss")


STUDIES = [file for file in sorted(KEPT.parent.glob("*.py")) if "def main" in file.read_text()]


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_every_study_says_where_its_results_go_and_that_it_may_be_stopped(file: Path) -> None:
    source = file.read_text()
    assert f'parser_of("{file.stem}", __doc__)' in source
    parser = parser_of(file.stem, ast.get_docstring(ast.parse(source)))
    assert parser.parse_args([]).out == Path() and parser.parse_args(["--out", "there"]).out == Path("there")
    said = " ".join(parser.format_help().split())
    assert said.startswith(f"usage: python -m stablelab.studies.{file.stem} ") and "stopped at any time" in said
