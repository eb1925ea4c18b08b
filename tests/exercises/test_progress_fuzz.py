"""A damaged file of the learner's progress: what can be read stands, the rest is put aside, nothing is made up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import strategies as st
from support.damage import Damage, damaged, damages
from support.fuzz import refused, search

from stablelab.exercises import ALL, progress
from stablelab.exercises.progress import Attempts, read_progress, record_attempt

NAMES = list(ALL)[:4]
Report = Callable[[str, object], None]


@pytest.mark.slow
def test_damaged_progress_is_what_it_was_or_left_out(data_folder: Path, record_property: Report) -> None:
    for number, name in enumerate(NAMES):
        for tries in range(number + 1):
            record_attempt(name, right=tries == 1)
    file = data_folder / "progress.json"
    whole, right = file.read_bytes(), read_progress()
    first = {"version": 1, "exercises": {name: vars(each) for name, each in right.items()}}
    formats = {2: whole, 1: json.dumps(first, indent=1).encode()}

    def attempt(given: tuple[int, list[Damage]]) -> bool:
        version, what = given
        content = damaged(formats[version], what)
        for each in data_folder.iterdir():
            each.unlink()
        file.write_bytes(content)
        found: list[dict[str, Attempts]] = []
        assert not refused(lambda: found.append(read_progress()))
        asides = [each.read_bytes() for each in data_folder.glob("progress.damaged-*")]
        if version == 2:
            assert all(right[name] == each for name, each in found[0].items())
            assert found[0] == right or asides == [content]
        assert asides in ([], [content])
        repr(progress())
        record_attempt(NAMES[0], right=True)
        return bool(asides)

    search("progress", st.tuples(st.sampled_from([2, 2, 1]), damages), attempt, 400, record_property)
