"""Saved runs with damaged files: each is read as it was written, or refused in one line that names it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import strategies as st
from support.clouds import Clouds, network
from support.damage import Damage, damaged, damages
from support.fuzz import refused, search

from stablelab._files import seal, sha256_of
from stablelab.training import Run, Settings
from stablelab.training.saving import ABOUT, FORMAT, Snapshot, read

NAMES = ("run.json", "history.jsonl", "weights.safetensors", "state.pt")
Report = Callable[[str, object], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = Run(network(), Clouds(), settings=Settings(learning_rate=0.02), steps=6, batch_size=20, evaluate_every=3)
    return Path(run.start().wait(60).save(tmp_path / "run"))


def said(snapshot: Snapshot) -> bytes:
    """All that a saved run says, bit for bit."""
    checkpoint, weights = snapshot.checkpoint, snapshot.weights
    assert checkpoint is not None
    tensors = [*weights.items(), *checkpoint.weights.items()]
    plain = [snapshot.log, snapshot.state, snapshot.settings, snapshot.classes, list(snapshot.history)]
    return repr((plain, snapshot.written, checkpoint.step, checkpoint.settings, checkpoint.optimizer)).encode() + (
        pickle.dumps([(name, tensor.numpy().tobytes()) for name, tensor in tensors])
    )


@pytest.mark.slow
def test_a_damaged_file_of_a_saved_run_is_never_read_as_something_else(folder: Path, record_property: Report) -> None:
    whole = {name: (folder / name).read_bytes() for name in NAMES}
    right = said(read(folder))

    def attempt(given: tuple[str, list[Damage]]) -> bool:
        name, what = given
        for each, content in whole.items():
            (folder / each).write_bytes(damaged(content, what) if each == name else content)
        found: list[Snapshot] = []
        if refused(lambda: found.append(read(folder))):
            with pytest.raises(ValueError, match=name):
                read(folder)
            return True
        assert said(found[0]) == right
        return False

    search("saved runs", st.tuples(st.sampled_from(NAMES), damages), attempt, 400, record_property)


@pytest.mark.slow
def test_a_saved_run_whose_checksums_were_made_to_fit_is_read_or_refused(folder: Path, record_property: Report) -> None:
    """No accident does that; what is read may say anything then, but it has the right types."""
    whole = {name: (folder / name).read_bytes() for name in NAMES}

    def attempt(given: tuple[str, list[Damage]]) -> bool:
        name, what = given
        for each, content in whole.items():
            (folder / each).write_bytes(damaged(content, what) if each == name else content)
        try:
            about = dict(json.loads((folder / ABOUT).read_bytes()))
        except (ValueError, TypeError):
            about = {}
        about = {key: value for key, value in about.items() if key not in ("format", "checksum")}
        about["sha256"] = {each: sha256_of(folder / each) for each in NAMES[1:]}
        (folder / ABOUT).write_text(json.dumps(seal(FORMAT, about)))
        return refused(lambda: read(folder))

    search("saved runs, sealed anew", st.tuples(st.sampled_from(NAMES), damages), attempt, 400, record_property)
